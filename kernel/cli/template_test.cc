#include "kernel/cli/template.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "kernel/base/file.h"

namespace pintle::cli {
namespace {

namespace fs = std::filesystem;

class TemplateTest : public ::testing::Test {
 protected:
  TemplateTest() {
    std::string path = (fs::temp_directory_path() / "pintle-cli-XXXXXX").string();
    root_ = mkdtemp(path.data());
  }
  ~TemplateTest() override { fs::remove_all(root_); }
  std::string root_;
};

TEST_F(TemplateTest, ANameGivesTheOtherWords) {
  auto words = template_words("my-fast-runtime", "0.1.0");
  ASSERT_TRUE(words);
  EXPECT_EQ((*words)["Class"], "MyFastRuntime");
  EXPECT_EQ((*words)["file"], "my_fast_runtime");
  EXPECT_EQ((*words)["short"], "my-fast");
  EXPECT_EQ((*words)["version"], "0.1.0");
  EXPECT_EQ((*template_words("scheduler-best", ""))["short"], "best");
  EXPECT_EQ((*template_words("runtime", ""))["short"], "runtime");
}

TEST_F(TemplateTest, NamesThatCannotBeAPluginsAreRefused) {
  for (const char* bad : {"", "My", "9lives", "-a", "a-", "a--b", "a_b", "a/b", "..", "a b"}) EXPECT_FALSE(template_words(bad, "")) << bad;
  EXPECT_FALSE(template_words(std::string(51, 'a'), ""));
  EXPECT_TRUE(template_words(std::string(50, 'a'), ""));
}

TEST_F(TemplateTest, OnlyKnownWordsBetweenAtSignsAreReplaced) {
  const std::map<std::string, std::string> words = {{"name", "x"}};
  EXPECT_EQ(fill_template("a@name@b@other@c@name@ me@example", words), "axb@other@cx me@example");
  EXPECT_EQ(fill_template("@@name@", words), "@x");
  EXPECT_EQ(fill_template("", words), "");
}

TEST_F(TemplateTest, FilesAreCopiedWithTheirNamesFilledIn) {
  fs::create_directories(root_ + "/from/sub");
  ASSERT_TRUE(kernel::write_file(root_ + "/from/@file@.cc", "class @Class@;\n"));
  ASSERT_TRUE(kernel::write_file(root_ + "/from/sub/plain", "@name@"));
  auto made = instantiate_template(root_ + "/from", root_ + "/to", *template_words("my-thing", "1"));
  ASSERT_TRUE(made) << made.error().text;
  EXPECT_EQ(*made, (std::vector<std::string>{root_ + "/to/my_thing.cc", root_ + "/to/sub/plain"}));
  EXPECT_EQ(*kernel::read_file(root_ + "/to/my_thing.cc"), "class MyThing;\n");
  EXPECT_EQ(*kernel::read_file(root_ + "/to/sub/plain"), "my-thing");
  auto again = instantiate_template(root_ + "/from", root_ + "/to", *template_words("my-thing", "1"));
  EXPECT_EQ(again.error().code, PINTLE_ALREADY_EXISTS);
}

}  // namespace
}  // namespace pintle::cli

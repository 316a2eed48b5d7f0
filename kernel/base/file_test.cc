#include "kernel/base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

namespace pintle::kernel {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "pintle-file-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string folder_;
};

TEST_F(FileTest, AWrittenFileReadsBackPrivateAndLeavesNoTemporaryBehind) {
  const std::string path = folder_ + "/a";
  ASSERT_TRUE(write_file(path, "one"));
  ASSERT_TRUE(write_file(path, std::string("t\0wo", 4)));
  EXPECT_EQ(*read_file(path), std::string("t\0wo", 4));
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_)) ++files;
  EXPECT_EQ(files, 1u);
}

TEST_F(FileTest, ErrorsNameThePathAndTheReason) {
  const auto missing = read_file(folder_ + "/none");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, PINTLE_NOT_FOUND);
  EXPECT_EQ(missing.error().text, "cannot open " + folder_ + "/none: No such file or directory");
  ASSERT_TRUE(write_file(folder_ + "/a", ""));
  EXPECT_FALSE(make_directory(folder_ + "/a/b"));
}

TEST_F(FileTest, FoldersAreMadeWithTheirParents) {
  ASSERT_TRUE(make_directory(folder_ + "/x/y/z"));
  ASSERT_TRUE(make_directory(folder_ + "/x/y/z"));
  EXPECT_TRUE(std::filesystem::is_directory(folder_ + "/x/y/z"));
}

TEST_F(FileTest, ALockIsHeldOnceAndNamesItsHolder) {
  const std::string path = folder_ + "/lock";
  {
    const auto first = LockFile::take(path);
    ASSERT_TRUE(first);
    const auto second = LockFile::take(path);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, PINTLE_CONFLICT);
    EXPECT_NE(second.error().text.find("process " + std::to_string(getpid())), std::string::npos) << second.error().text;
  }
  EXPECT_TRUE(LockFile::take(path));
}

}  // namespace
}  // namespace pintle::kernel

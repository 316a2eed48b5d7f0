#include "kernel/cli/arguments.h"

#include <gtest/gtest.h>

#include "kernel/cli/commands.h"
#include "kernel/cli/completion.h"

namespace pintle::cli {
namespace {

Result<Arguments> parsed(const char* command, const std::vector<std::string>& words) {
  for (const Command& c : commands())
    if (std::string(c.name) == command) return parse_arguments(c, words);
  return Error(PINTLE_NOT_FOUND, command);
}

TEST(ArgumentsTest, OptionsAreTakenWithEqualsSignOrAsTheNextWord) {
  auto a = parsed("up", {"--data=/d", "--without", "dns", "--without=gc", "--detach"});
  ASSERT_TRUE(a) << a.error().text;
  EXPECT_EQ(a->value("--data"), "/d");
  EXPECT_EQ(a->values("--without"), (std::vector<std::string>{"dns", "gc"}));
  EXPECT_TRUE(a->has("--detach"));
  EXPECT_FALSE(a->has("--wait"));
}

TEST(ArgumentsTest, WhatIsWrongIsNamedTogetherWithTheHelp) {
  EXPECT_EQ(parsed("up", {"--detatch"}).error().text, "unknown option \"--detatch\"; did you mean \"--detach\"?; see pintle up --help");
  EXPECT_EQ(parsed("up", {"--colour"}).error().text, "unknown option \"--colour\"; see pintle up --help");
  EXPECT_EQ(parsed("up", {"--data"}).error().text, "--data needs a value: --data DIR; see pintle up --help");
  EXPECT_EQ(parsed("up", {"--data="}).error().text, "--data needs a value that is not empty; see pintle up --help");
  EXPECT_EQ(parsed("up", {"--detach=yes"}).error().text, "--detach has no value; see pintle up --help");
  EXPECT_EQ(parsed("up", {"now"}).error().text, "unexpected \"now\"; see pintle up --help");
  EXPECT_EQ(parsed("explain", {}).error().text, "usage: pintle explain pod/NAME; see pintle explain --help");
}

TEST(ArgumentsTest, TheShortFormOfNamespaceIsKnown) {
  auto a = parsed("explain", {"-n", "shop", "pod/x"});
  ASSERT_TRUE(a) << a.error().text;
  EXPECT_EQ(a->value("--namespace"), "shop");
  EXPECT_EQ(a->operands(), std::vector<std::string>{"pod/x"});
}

TEST(ArgumentsTest, CommandsOfTwoWordsAreFound) {
  size_t used = 0;
  const Command* c = find_command(commands(), {"plugin", "new", "x"}, used);
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(std::string(c->name), "plugin new");
  EXPECT_EQ(used, 2u);
  EXPECT_EQ(find_command(commands(), {"plugin"}, used), nullptr);
}

TEST(ArgumentsTest, AnUnknownCommandListsWhatThereIs) {
  const std::string text = unknown_command(commands(), {"join"});
  EXPECT_EQ(text.rfind("unknown command \"join\"; there are: up, down, status", 0), 0u) << text;
  EXPECT_EQ(unknown_command(commands(), {"statsu"}).rfind("unknown command \"statsu\"; did you mean \"status\"?; there are: ", 0), 0u);
  EXPECT_EQ(unknown_command(commands(), {"config", "show"}), "unknown command \"config show\"; there are: config check, config diff");
}

TEST(ArgumentsTest, EveryCommandHasAHelpThatNamesItsOptions) {
  for (const Command& c : commands()) {
    const std::string help = help_of(c);
    EXPECT_EQ(help.rfind("usage: pintle " + std::string(c.name), 0), 0u);
    for (const Option& o : c.options) EXPECT_NE(help.find(o.name), std::string::npos) << c.name;
  }
}

TEST(CompletionTest, EveryShellIsOfferedEveryCommandAndOption) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    auto script = completion_script(commands(), shell);
    ASSERT_TRUE(script);
    EXPECT_NE(script->find("preflight"), std::string::npos);
    EXPECT_NE(script->find("tls-san"), std::string::npos);
  }
  EXPECT_FALSE(completion_script(commands(), "csh"));
}

}  // namespace
}  // namespace pintle::cli

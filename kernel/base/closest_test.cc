#include "kernel/base/closest.h"

#include <gtest/gtest.h>

namespace pintle::kernel {
namespace {

const std::vector<std::string>& known_options() {
  static const auto* all = new std::vector<std::string>{"--data", "--detach", "--listen", "--wait", "--without"};
  return *all;
}

TEST(ClosestTest, EachKindOfTypingErrorIsSeenThrough) {
  EXPECT_EQ(closest("--detatch", known_options()), "--detach");
  EXPECT_EQ(closest("--listn", known_options()), "--listen");
  EXPECT_EQ(closest("--lisxen", known_options()), "--listen");
  EXPECT_EQ(closest("--lsiten", known_options()), "--listen");
  EXPECT_EQ(did_you_mean("--wiat", known_options()), "; did you mean \"--wait\"?");
}

TEST(ClosestTest, AWordThatIsNearToNothingGetsNoGuess) {
  EXPECT_EQ(closest("--verbose", known_options()), "");
  EXPECT_EQ(closest("--x", known_options()), "");
  EXPECT_EQ(closest("", known_options()), "");
  EXPECT_EQ(closest(std::string(100000, 'a'), known_options()), "");
  EXPECT_EQ(did_you_mean("--verbose", known_options()), "");
}

}  // namespace
}  // namespace pintle::kernel

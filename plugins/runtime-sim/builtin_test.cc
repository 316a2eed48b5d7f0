#include "builtin.h"

#include <gtest/gtest.h>

namespace pintle::runtime_sim {
namespace {

TEST(Builtin, EchoJoinsItsArguments) {
  EXPECT_EQ(builtin({"echo", "a", "b"})->output, "a b\n");
  EXPECT_EQ(builtin({"/bin/echo", "-n", "a"})->output, "a");
}

TEST(Builtin, ExitAndFalseSetTheCode) {
  EXPECT_EQ(builtin({"exit", "7"})->exit_code, 7);
  EXPECT_EQ(builtin({"false"})->exit_code, 1);
  EXPECT_EQ(builtin({"sh", "-c", "exit 3"})->exit_code, 3);
}

TEST(Builtin, AShellLineRunsItsStepsInOrder) {
  const auto b = builtin({"sh", "-c", "echo 'a  b'; sleep 2 && false && echo never; exit 4"});
  ASSERT_TRUE(b);
  EXPECT_EQ(b->output, "a  b\n");
  EXPECT_EQ(b->run_ns, 2'000'000'000u);
  EXPECT_EQ(b->exit_code, 1);
}

TEST(Builtin, AnUnknownCommandIsNone) {
  EXPECT_FALSE(builtin({"nginx"}));
  EXPECT_FALSE(builtin({"sh", "-c", "nginx -g x"}));
  EXPECT_FALSE(builtin({}));
}

TEST(Builtin, DurationsAreReadAsPeopleWriteThem) {
  EXPECT_EQ(duration_ns("1m30s"), 90'000'000'000u);
  EXPECT_EQ(duration_ns("250ms"), 250'000'000u);
  EXPECT_EQ(duration_ns("2"), 2'000'000'000u);
  EXPECT_FALSE(duration_ns("soon"));
  EXPECT_FALSE(duration_ns(""));
}

}  // namespace
}  // namespace pintle::runtime_sim

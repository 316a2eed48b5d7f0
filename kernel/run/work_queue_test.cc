#include "kernel/run/work_queue.h"

#include <gtest/gtest.h>

#include "kernel/run/simulated_executor.h"
#include "kernel/run/executor.h"

namespace pintle::kernel {
namespace {

using Keys = std::vector<std::string>;
constexpr uint64_t kMs = 1000000;

class WorkQueueTest : public ::testing::Test {
 protected:
  SimulatedExecutor executor_{3};
  int wakes_ = 0;
  WorkQueue queue_{executor_, [this] { ++wakes_; }};
};

TEST_F(WorkQueueTest, AKeyIsInTheQueueOnceAndInOrderOfItsFirstAddition) {
  queue_.add_all({"a", "b", "a"});
  queue_.add("b");
  EXPECT_EQ(queue_.take(10), (Keys{"a", "b"}));
  EXPECT_TRUE(queue_.take(10).empty());
}

TEST_F(WorkQueueTest, AKeyIsNeverOutTwiceAndComesAgainWhenItWasAddedMeanwhile) {
  queue_.add("a");
  EXPECT_EQ(queue_.take(1), Keys{"a"});
  queue_.add("a");
  queue_.add("a");
  EXPECT_TRUE(queue_.take(1).empty());
  const int before = wakes_;
  queue_.finish("a");
  EXPECT_EQ(wakes_, before + 1);
  EXPECT_EQ(queue_.take(1), Keys{"a"});
  queue_.finish("a");
  EXPECT_TRUE(queue_.take(1).empty());
}

TEST_F(WorkQueueTest, AFailedKeyComesBackLaterEachTimeUpToAMinute) {
  queue_.add("a");
  uint64_t last = 0;
  for (int n = 0; n < 20; ++n) {
    ASSERT_EQ(queue_.take(1), Keys{"a"}) << n;
    const uint64_t began = executor_.now();
    queue_.retry("a");
    EXPECT_TRUE(queue_.take(1).empty());
    ASSERT_TRUE(executor_.run_until([&] { return queue_.waiting() == 1; }, 100 * kSecond));
    const uint64_t delay = executor_.now() - began;
    EXPECT_TRUE(n != 0 || delay < 6 * kMs) << delay;
    EXPECT_GE(delay + delay / 10 + 1, last);
    EXPECT_LE(delay, 66 * kSecond);
    last = delay;
  }
  EXPECT_GE(last, 60 * kSecond);
  ASSERT_EQ(queue_.take(1), Keys{"a"});
  queue_.finish("a");
  queue_.add("a");
  ASSERT_EQ(queue_.take(1), Keys{"a"});
  const uint64_t began = executor_.now();
  queue_.retry("a");
  ASSERT_TRUE(executor_.run_until([&] { return queue_.waiting() == 1; }, 100 * kSecond));
  EXPECT_LT(executor_.now() - began, 6 * kMs) << "success ends the back-off";
}

TEST_F(WorkQueueTest, TheEarlierOfTwoDelaysCounts) {
  queue_.add_after("a", 10 * kSecond);
  queue_.add_after("a", 2 * kSecond);
  queue_.add_after("a", 20 * kSecond);
  executor_.run_for(3 * kSecond);
  EXPECT_EQ(queue_.take(9), Keys{"a"});
  queue_.finish("a");
  executor_.run_for(60 * kSecond);
  EXPECT_TRUE(queue_.take(9).empty());
}

TEST_F(WorkQueueTest, AfterShutDownNothingIsHandedOut) {
  queue_.add_all({"a", "b"});
  EXPECT_EQ(queue_.take(1), Keys{"a"});
  queue_.shut_down();
  EXPECT_FALSE(queue_.idle());
  EXPECT_TRUE(queue_.take(1).empty());
  queue_.retry("a");
  EXPECT_TRUE(queue_.idle());
  executor_.run_for(100 * kSecond);
  EXPECT_TRUE(queue_.take(1).empty());
}

}  // namespace
}  // namespace pintle::kernel

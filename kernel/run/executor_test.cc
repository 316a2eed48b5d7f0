#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>

#include "kernel/run/simulated_executor.h"
#include "kernel/run/thread_executor.h"
#include "kernel/run/executor.h"

namespace pintle::kernel {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;

// Counts down to zero; wait() gives up after 30 s.
class Countdown {
 public:
  explicit Countdown(int n) : left_(n) {}
  void tick() {
    std::lock_guard lock(mu_);
    if (--left_ == 0) zero_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mu_);
    return zero_.wait_for(lock, std::chrono::seconds(30), [&] { return left_ <= 0; });
  }

 private:
  std::mutex mu_;
  std::condition_variable zero_;
  int left_;
};

std::string thread_name() {
  char name[16] = "";
  pthread_getname_np(pthread_self(), name, sizeof name);
  return name;
}

TEST(ThreadExecutor, EveryTaskRunsOnceOnANamedThread) {
  ThreadExecutor executor({.workers = 3, .name = "t"});
  Countdown done(1000);
  std::mutex mu;
  std::set<std::string> names;
  for (int i = 0; i < 1000; ++i) {
    executor.post([&] {
      {
        std::lock_guard lock(mu);
        names.insert(thread_name());
      }
      done.tick();
    });
  }
  ASSERT_TRUE(done.wait());
  for (const std::string& name : names) EXPECT_EQ(name.substr(0, 3), "t-w");
  EXPECT_LE(names.size(), 3u);
}

TEST(ThreadExecutor, BlockingTasksDoNotHoldUpWorkersAndThePoolGrowsToItsBound) {
  ThreadExecutor executor({.workers = 1, .max_blocking = 4, .name = "t"});
  Countdown started(4);
  Countdown release(1);
  Countdown finished(8);
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  for (int i = 0; i < 8; ++i) {
    executor.post_blocking([&] {
      const int now = ++running;
      int seen = most.load();
      while (seen < now && !most.compare_exchange_weak(seen, now)) {
      }
      started.tick();
      EXPECT_TRUE(release.wait());
      --running;
      finished.tick();
    });
  }
  ASSERT_TRUE(started.wait());
  Countdown posted(1);
  executor.post([&] { posted.tick(); });
  EXPECT_TRUE(posted.wait());
  release.tick();
  ASSERT_TRUE(finished.wait());
  EXPECT_EQ(most.load(), 4);
}

TEST(ThreadExecutor, TimersFireInOrderAndNeverEarly) {
  ThreadExecutor executor({.workers = 1});
  Countdown done(3);
  std::mutex mu;
  std::vector<int> order;
  const uint64_t start = executor.now();
  for (const int delay : {30, 10, 20}) {
    executor.after(delay * kMillisecond, [&, delay] {
      EXPECT_GE(executor.now(), start + delay * kMillisecond);
      {
        std::lock_guard lock(mu);
        order.push_back(delay);
      }
      done.tick();
    });
  }
  ASSERT_TRUE(done.wait());
  EXPECT_EQ(order, (std::vector<int>{10, 20, 30}));
}

TEST(ThreadExecutor, ACancelledTimerDoesNotRunAndAFiredOneCannotBeCancelled) {
  ThreadExecutor executor;
  std::atomic<bool> ran = false;
  const TimerId never = executor.after(3600 * kSecond, [&] { ran = true; });
  EXPECT_TRUE(executor.cancel(never));
  EXPECT_FALSE(executor.cancel(never));
  Countdown done(1);
  const TimerId soon = executor.after(0, [&] { done.tick(); });
  ASSERT_TRUE(done.wait());
  EXPECT_FALSE(executor.cancel(soon));
  EXPECT_FALSE(executor.cancel(0));
  EXPECT_FALSE(ran);
}

TEST(ThreadExecutor, TheDestructorDropsWhatWaitsEvenWhenItsCapturesPost) {
  struct PostsWhenDestroyed {
    explicit PostsWhenDestroyed(ThreadExecutor& e) : executor(&e) {}
    ~PostsWhenDestroyed() {
      executor->post([] {});
      executor->post_blocking([] {});
      executor->cancel(executor->after(kSecond, [] {}));
    }
    ThreadExecutor* executor;
  };
  ThreadExecutor executor({.workers = 2});
  executor.after(3600 * kSecond, [p = std::make_shared<PostsWhenDestroyed>(executor)] {});
  for (int i = 0; i < 100; ++i) executor.post([p = std::make_shared<PostsWhenDestroyed>(executor)] {});
}

TEST(ThreadExecutor, RandomBytesDiffer) {
  ThreadExecutor executor;
  char a[32] = "", b[32] = "";
  executor.random(a, sizeof a);
  executor.random(b, sizeof b);
  EXPECT_NE(std::string(a, 32), std::string(b, 32));
}

std::vector<int> order_of(uint64_t seed) {
  SimulatedExecutor executor(seed);
  std::vector<int> order;
  for (int i = 0; i < 20; ++i) {
    executor.post([&, i] {
      order.push_back(i);
      uint64_t delay = 0;
      executor.random(&delay, sizeof delay);
      executor.after(delay % kSecond, [&, i] { order.push_back(100 + i); });
    });
  }
  executor.run_for(2 * kSecond);
  return order;
}

TEST(SimulatedExecutor, TheSameSeedGivesTheSameOrderAndOthersDiffer) {
  EXPECT_EQ(order_of(7), order_of(7));
  std::set<std::vector<int>> orders;
  for (uint64_t seed = 0; seed < 50; ++seed) orders.insert(order_of(seed));
  EXPECT_EQ(orders.size(), 50u);
}

TEST(SimulatedExecutor, FingerprintsAreEqualForEqualRunsOnly) {
  const auto run = [](uint64_t seed) {
    SimulatedExecutor executor(seed);
    for (int i = 0; i < 10; ++i) executor.post([] {});
    executor.run_until_idle();
    return executor.fingerprint();
  };
  EXPECT_EQ(run(3), run(3));
  EXPECT_NE(run(3), run(4));
}

TEST(SimulatedExecutor, TimeMovesOnlyWhenNothingIsReady) {
  SimulatedExecutor executor(1);
  const uint64_t start = executor.now();
  const int64_t wall = executor.wall();
  bool fired = false;
  executor.after(3600 * kSecond, [&] { fired = true; });
  EXPECT_TRUE(executor.run_until_idle());
  EXPECT_FALSE(fired);
  EXPECT_EQ(executor.now(), start);
  executor.run_for(3599 * kSecond);
  EXPECT_FALSE(fired);
  EXPECT_EQ(executor.now(), start + 3599 * kSecond);
  executor.run_for(kSecond);
  EXPECT_TRUE(fired);
  EXPECT_EQ(executor.wall(), wall + static_cast<int64_t>(3600 * kSecond));
}

TEST(SimulatedExecutor, RunUntilStopsAtThePredicateAndGivesUpAtTheLimit) {
  SimulatedExecutor executor(1);
  int ticks = 0;
  std::function<void()> tick = [&] {
    ++ticks;
    executor.after(kSecond, tick);
  };
  executor.post(tick);
  EXPECT_TRUE(executor.run_until([&] { return ticks == 10; }, 3600 * kSecond));
  EXPECT_EQ(executor.now(), SimulatedExecutor::kStart + 9 * kSecond);
  EXPECT_FALSE(executor.run_until([&] { return ticks == 1000; }, 60 * kSecond));
}

TEST(SimulatedExecutor, CancelledTimersDoNotRunAndEndlessTasksAreNoticed) {
  SimulatedExecutor executor(1);
  bool ran = false;
  const TimerId id = executor.after(kSecond, [&] { ran = true; });
  EXPECT_TRUE(executor.cancel(id));
  EXPECT_FALSE(executor.cancel(id));
  executor.run_for(10 * kSecond);
  EXPECT_FALSE(ran);
  std::function<void()> forever = [&] { executor.post_blocking(forever); };
  executor.post(forever);
  EXPECT_FALSE(executor.run_until_idle(1000));
}

}  // namespace
}  // namespace pintle::kernel

#include "kernel/plugin/traffic.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <optional>
#include <thread>

namespace pintle::kernel {
namespace {

TEST(Traffic, EntriesNestAndAreSeenFromOtherThreads) {
  Traffic traffic;
  Traffic::Inside outer(traffic, true);
  {
    Traffic::Inside inner(traffic, false);
    uint64_t inside = 0, methods = 0;
    std::thread([&] {
      inside = traffic.get(Traffic::kInside);
      methods = traffic.get(Traffic::kMethods);
    }).join();
    EXPECT_EQ(inside, 2u);
    EXPECT_EQ(methods, 1u);
  }
  EXPECT_EQ(traffic.get(Traffic::kInside), 1u);
}

TEST(Traffic, ItIsQuietWhenTheLastOneHasLeftAndNotBefore) {
  Traffic traffic;
  traffic.add(Traffic::kOpen);
  std::optional<Traffic::Inside> inside(std::in_place, traffic, true);
  int quiet = 0;
  traffic.when_zero({Traffic::kOpen, Traffic::kInside}, [&] { ++quiet; });
  traffic.remove(Traffic::kOpen);
  EXPECT_EQ(quiet, 0);
  inside.reset();
  EXPECT_EQ(quiet, 1);
  traffic.when_zero({Traffic::kOpen, Traffic::kMethods}, [&] { ++quiet; });
  EXPECT_EQ(quiet, 2) << "at once";
}

TEST(Traffic, WhoIsForgottenIsNotTold) {
  Traffic traffic;
  traffic.add(Traffic::kTasks);
  bool told = false;
  const uint64_t id = traffic.when_zero({Traffic::kTasks}, [&] { told = true; });
  EXPECT_TRUE(traffic.forget(id));
  traffic.remove(Traffic::kTasks);
  EXPECT_FALSE(told);
  EXPECT_FALSE(traffic.forget(id));
}

TEST(Traffic, MoreThreadsThanCellsAreCountedToo) {
  constexpr int kThreads = 100;
  Traffic traffic;
  std::mutex mutex;
  std::condition_variable changed;
  int in = 0;
  bool out = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      Traffic::Inside inside(traffic, true);
      std::unique_lock lock(mutex);
      ++in;
      changed.notify_all();
      changed.wait(lock, [&] { return out; });
    });
  bool quiet = false;
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return in == kThreads; });
    EXPECT_EQ(traffic.get(Traffic::kInside), uint64_t{kThreads});
    EXPECT_EQ(traffic.get(Traffic::kMethods), uint64_t{kThreads});
    traffic.when_zero({Traffic::kInside}, [&] { quiet = true; });
    EXPECT_FALSE(quiet);
    out = true;
    changed.notify_all();
  }
  for (auto& t : threads) t.join();
  EXPECT_TRUE(quiet);
}

// The proof behind every unload: after the door was closed and quiet was told, nobody who found it open is inside.
TEST(Traffic, NobodyIsInsideOnceItIsQuietBehindAClosedDoor) {
  constexpr int kRounds = 100, kThreads = 2;
  struct Round {
    Traffic traffic;
    std::atomic<bool> door{true}, gone{false};
  };
  std::mutex mutex;
  std::condition_variable told;
  auto current = std::make_shared<Round>();
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> entries{0}, wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      while (!stop) {
        std::shared_ptr<Round> round;
        {
          std::lock_guard lock(mutex);
          round = current;
        }
        for (int n = 0; n < 200; ++n) {
          Traffic::Inside inside(round->traffic, true);
          if (!round->door.load(std::memory_order_relaxed)) break;
          entries.fetch_add(1, std::memory_order_relaxed);
          if (round->gone.load(std::memory_order_relaxed)) wrong.fetch_add(1);
        }
        if (round->door.load(std::memory_order_relaxed)) continue;
        std::unique_lock lock(mutex);
        told.wait(lock, [&] { return stop || current != round; });
      }
    });
  for (int i = 0; i < kRounds; ++i) {
    auto round = current;
    for (const uint64_t before = entries; entries == before;) std::this_thread::yield();
    round->door = false;
    bool quiet = false;
    round->traffic.when_zero({Traffic::kInside}, [&] {
      round->gone = true;
      std::lock_guard lock(mutex);
      quiet = true;
      told.notify_all();
    });
    std::unique_lock lock(mutex);
    told.wait(lock, [&] { return quiet; });
    current = std::make_shared<Round>();
    told.notify_all();
  }
  {
    std::lock_guard lock(mutex);
    stop = true;
    told.notify_all();
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(entries, uint64_t{kRounds});
}

}  // namespace
}  // namespace pintle::kernel

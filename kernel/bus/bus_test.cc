#include "kernel/bus/bus.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "kernel/store/store_testing.h"

namespace pintle::kernel {
namespace {

using namespace testing_store;

class BusTest : public testing::Test {
 protected:
  BusTest() : store_(std::move(*open_store(executor_, {}))), bus_(make_bus(*store_, executor_)) {}

  Revision put(const Key& key, const std::string& value) {
    const auto done = commit_run(executor_, *store_, put_txn(key, value));
    return done ? done->revision : 0;
  }
  uint64_t watch(const WatchOptions& options) {
    auto id = bus_->watch(options, [this] { ++wakes_; });
    EXPECT_TRUE(id) << id.error().text;
    return id ? *id : 0;
  }
  static std::string text(const WatchBatch& batch) {
    std::string out;
    for (const ChangeRef& change : batch.changes) out += change->object->key().name + "=" + value_of(change->object) + " ";
    if (batch.closed) out += "closed " + std::to_string(batch.code);
    return out;
  }
  std::string take(uint64_t id, size_t max = 0) { return text(bus_->take(id, max)); }

  SimulatedExecutor executor_{1};
  std::unique_ptr<Store> store_;
  std::unique_ptr<Bus> bus_;
  int wakes_ = 0;
};

TEST_F(BusTest, AWatchGetsTheChangesOfItsKindInOrder) {
  const uint64_t id = watch({.kind = "w"});
  EXPECT_EQ(take(id), "");
  put({"w", "n", "a"}, "1");
  put({"other", "n", "x"}, "1");
  put({"w", "n", "b"}, "2");
  put({"w", "n", "a"}, "3");
  EXPECT_EQ(take(id), "a=1 b=2 a=3 ");
  EXPECT_EQ(take(id), "");
}

TEST_F(BusTest, KindNamespaceAndNameSelect) {
  const uint64_t all = watch({});
  const uint64_t ns = watch({.kind = "w", .ns = "n"});
  const uint64_t name = watch({.kind = "w", .ns = "n", .name = "a"});
  put({"w", "n", "a"}, "1");
  put({"w", "m", "a"}, "2");
  put({"v", "n", "a"}, "3");
  put({"w", "n", "b"}, "4");
  EXPECT_EQ(take(all), "a=1 a=2 a=3 b=4 ");
  EXPECT_EQ(take(ns), "a=1 b=4 ");
  EXPECT_EQ(take(name), "a=1 ");
}

TEST_F(BusTest, WakeComesOnceAfterAnEmptyTake) {
  const uint64_t id = watch({.kind = "w"});
  put({"w", "n", "a"}, "1");
  put({"w", "n", "a"}, "2");
  EXPECT_EQ(wakes_, 1);
  EXPECT_EQ(take(id), "a=1 a=2 ");
  put({"w", "n", "a"}, "3");
  EXPECT_EQ(wakes_, 1) << "nobody has seen it empty yet";
  EXPECT_EQ(take(id), "a=3 ");
  EXPECT_EQ(take(id), "");
  put({"w", "n", "a"}, "4");
  EXPECT_EQ(wakes_, 2);
}

TEST_F(BusTest, ProgressIsATransactionEndThatHasBeenDelivered) {
  const uint64_t id = watch({.kind = "w"});
  Transaction txn;
  txn.puts = {make_put({"w", "n", "a"}, "1"), make_put({"w", "n", "b"}, "1"), make_put({"v", "n", "c"}, "1")};
  ASSERT_TRUE(commit_run(executor_, *store_, std::move(txn)));
  const Revision second = put({"w", "n", "d"}, "1");
  EXPECT_EQ(second, 4u);
  WatchBatch batch = bus_->take(id, 1);
  EXPECT_EQ(text(batch), "a=1 ");
  EXPECT_EQ(batch.progress, 0u) << "in the middle of the first transaction";
  batch = bus_->take(id, 1);
  EXPECT_EQ(text(batch), "b=1 ");
  EXPECT_EQ(batch.progress, 3u) << "the rest of the transaction is of another kind";
  batch = bus_->take(id, 1);
  EXPECT_EQ(batch.progress, 4u);
  put({"v", "n", "c"}, "2");
  batch = bus_->take(id);
  EXPECT_TRUE(batch.changes.empty());
  EXPECT_EQ(batch.progress, 5u) << "kinds that it does not watch move it on";
}

TEST_F(BusTest, AWatchResumesFromAnyRevisionWithoutGapOrRepetition) {
  for (int i = 1; i <= 5; ++i) put({"w", "n", std::to_string(i)}, "v");
  Answer pending;
  store_->commit(put_txn({"w", "n", "6"}, "v"), pending.done());
  const uint64_t id = watch({.kind = "w", .from = 3});
  EXPECT_EQ(wakes_, 1);
  executor_.run_until_idle();
  put({"w", "n", "7"}, "v");
  EXPECT_EQ(take(id), "4=v 5=v 6=v 7=v ");
  const uint64_t now = watch({.kind = "w"});
  EXPECT_EQ(bus_->take(now).progress, 7u);
  EXPECT_EQ(take(now), "");
}

TEST_F(BusTest, AWatchThatFallsBehindItsBudgetEndsWithExpired) {
  const uint64_t slow = watch({.kind = "w", .budget_bytes = 5000});
  const uint64_t fast = watch({.kind = "w", .budget_bytes = 5000});
  std::string all;
  for (int i = 0; i < 10; ++i) {
    EXPECT_GT(put({"w", "n", std::to_string(i)}, std::string(1000, 'x')), 0u) << "writers do not notice";
    all += std::to_string(bus_->take(fast).changes.size());
  }
  EXPECT_EQ(all, "1111111111");
  const WatchBatch batch = bus_->take(slow);
  EXPECT_TRUE(batch.closed);
  EXPECT_EQ(batch.code, PINTLE_EXPIRED);
  EXPECT_TRUE(batch.changes.empty());
  EXPECT_EQ(batch.progress, 0u) << "no bookmark for what it never got";
  EXPECT_EQ(bus_->metrics()["expired"].as_int(), 1);
  EXPECT_EQ(bus_->metrics()["queuedBytes"].as_int(), 0);
}

TEST_F(BusTest, AChangeLargerThanTheBudgetStillArrivesAndAResumeIsNotCut) {
  const uint64_t id = watch({.kind = "w", .budget_bytes = 100});
  put({"w", "n", "a"}, std::string(5000, 'x'));
  EXPECT_EQ(bus_->take(id).changes.size(), 1u);
  for (int i = 0; i < 10; ++i) put({"w", "m", std::to_string(i)}, std::string(1000, 'x'));
  const uint64_t resumed = watch({.kind = "w", .from = 1, .budget_bytes = 2000});
  put({"w", "m", "live"}, "1");
  EXPECT_EQ(bus_->take(resumed).changes.size(), 11u);
  for (int i = 0; i < 10; ++i) put({"w", "m", std::to_string(i)}, std::string(1000, 'x'));
  EXPECT_EQ(bus_->take(resumed).code, PINTLE_EXPIRED) << "afterwards the budget counts";
}

TEST_F(BusTest, RevisionsOutsideTheWindowAreRefused) {
  SimulatedExecutor executor(2);
  auto store = std::move(*open_store(executor, {.history_bytes = 2000}));
  auto bus = make_bus(*store, executor);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(commit_run(executor, *store, put_txn({"w", "n", "a"}, std::to_string(i))));
  EXPECT_EQ(bus->watch({.kind = "w", .from = 3}, [] {}).error().code, PINTLE_EXPIRED);
  EXPECT_EQ(bus->watch({.kind = "w", .from = 999}, [] {}).error().code, PINTLE_INVALID);
  EXPECT_EQ(bus->metrics()["watches"].as_int(), 0);
}

TEST_F(BusTest, AHiddenKindEndsItsWatchesAfterWhatIsQueued) {
  const uint64_t id = watch({.kind = "w"});
  const uint64_t other = watch({.kind = "v"});
  put({"w", "n", "a"}, "1");
  bus_->close_kind("w");
  put({"w", "n", "a"}, "2");
  EXPECT_EQ(take(id), "a=1 closed " + std::to_string(PINTLE_NOT_FOUND));
  EXPECT_EQ(take(other), "");
  bus_->unwatch(id);
  EXPECT_EQ(take(id), "closed " + std::to_string(PINTLE_CANCELLED));
}

TEST_F(BusTest, WakeMayCallBackAndIsSilentAfterUnwatch) {
  uint64_t id = 0;
  int wakes = 0;
  id = *bus_->watch({.kind = "w"}, [&] {
    ++wakes;
    EXPECT_EQ(bus_->take(id).changes.size(), 1u);
    bus_->unwatch(id);
  });
  put({"w", "n", "a"}, "1");
  put({"w", "n", "a"}, "2");
  EXPECT_EQ(wakes, 1);
}

// With real threads: every watch sees each revision once, whenever it started.
TEST(BusThreads, WatchesThatStartAmidWritesMissNothing) {
  ThreadExecutor executor({.workers = 4});
  auto store = std::move(*open_store(executor, {}));
  auto bus = make_bus(*store, executor);
  constexpr int kWriters = 4, kEach = 300, kWatches = 8;
  std::atomic<int> running = kWriters;
  std::vector<std::thread> threads;
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([&, w] {
      for (int i = 0; i < kEach; ++i) EXPECT_TRUE(commit_wait(*store, put_txn({"w", std::to_string(w), std::to_string(i % 7)}, "v")));
      --running;
    });
  }
  struct Signal {
    std::mutex mu;
    std::condition_variable changed;
    bool set = false;
  };
  const Revision total = kWriters * kEach;
  for (int n = 0; n < kWatches; ++n) {
    threads.emplace_back([&, n] {
      const auto signal = std::make_shared<Signal>();
      const Revision from = n % 2 == 0 ? 0 : std::max<Revision>(1, store->revision());
      const auto id = bus->watch({.kind = "w", .from = from, .budget_bytes = 64u << 20}, [signal] {
        const std::lock_guard lock(signal->mu);
        signal->set = true;
        signal->changed.notify_all();
      });
      if (!id) {
        EXPECT_EQ(id.error().code, PINTLE_INVALID) << id.error().text;  // nothing was written yet
        return;
      }
      Revision last = from;
      while (last < total) {
        const WatchBatch batch = bus->take(*id, 50);
        ASSERT_FALSE(batch.closed);
        for (const ChangeRef& change : batch.changes) {
          if (last != 0) { EXPECT_EQ(change->revision, last + 1); }
          last = change->revision;
        }
        last = std::max(last, batch.progress);
        if (!batch.changes.empty()) continue;
        std::unique_lock lock(signal->mu);
        ASSERT_TRUE(last >= total || signal->changed.wait_for(lock, std::chrono::seconds(60), [&] { return signal->set; }));
        signal->set = false;
      }
      bus->unwatch(*id);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(store->revision(), total);
}

}  // namespace
}  // namespace pintle::kernel

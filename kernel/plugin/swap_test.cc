// Swaps under load: no call is lost, no late writer gets through, everything is really unloaded.
#include <gtest/gtest.h>

#include <condition_variable>
#include <thread>

#include "kernel/plugin/module.h"
#include "kernel/plugin/testing.h"
#include "kernel/run/thread_executor.h"
#include "pintle/if/stream.h"
#include "kernel/run/executor.h"

namespace pintle::kernel {
namespace {

// Waits with a deadline for what other threads do.
class Signal {
 public:
  void set(Result<void> r = {}) {
    std::lock_guard lock(mutex_);
    result_ = std::move(r);
    done_ = true;
    changed_.notify_all();
  }
  Result<void> wait() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(60), [&] { return done_; })) return Error(PINTLE_TIMEOUT, "nothing happened within 60 s");
    return result_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  Result<void> result_;
};

Result<void> run(const std::function<void(Instance::Done)>& fn) {
  auto s = std::make_shared<Signal>();
  fn([s](Result<void> r) { s->set(std::move(r)); });
  return s->wait();
}

TEST(Swap, TwoHundredSwapsUnderLoadLoseNoCallAndFenceEveryLateWriter) {
  constexpr int kSwaps = 200, kThreads = 4;
  const size_t parked = parked_modules();
  ThreadExecutor executor;
  auto store = open_store(executor, {});
  ASSERT_TRUE(store) << store.error().text;
  auto slots = std::make_shared<SlotTable>(executor, **store);

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> asked{0}, answered{0}, failed{0}, newest_seen{0};
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> errors;
  std::vector<std::thread> load;

  std::shared_ptr<Instance> holder;
  const auto next_holder = [&](int n) {
    auto i = make_in_process_instance(testing::probe_options(executor, "{}", n % 2 ? "second" : "probe", slots), "");
    const auto r = run([&](Instance::Done d) { i->start(std::move(d)); });
    EXPECT_TRUE(r) << r.error().text;
    const auto t = run([&](Instance::Done d) { slots->take_over({"probe.main"}, n % 2 ? "second" : "probe", i, std::move(d)); });
    EXPECT_TRUE(t) << t.error().text;
    return i;
  };
  holder = next_holder(0);

  for (int t = 0; t < kThreads; ++t)
    load.emplace_back([&] {
      while (!stop) {
        // At most 64 open per process: load, not a flood.
        {
          std::unique_lock lock(mutex);
          changed.wait(lock, [&] { return asked - answered < 64; });
          ++asked;
        }
        Invoke c;
        c.interface_id = PINTLE_STREAM;
        c.request = R"({"n":1})";
        const uint64_t before = slots->epoch("probe.main");
        c.done = [&, before](Result<Reply> r) {
          std::lock_guard lock(mutex);
          if (!r) {
            ++failed;
            errors.push_back(r.error().text);
          } else {
            const uint64_t epoch = static_cast<uint64_t>(json::parse_or_null(r->body)["epoch"].as_int());
            // Who answers is never older than who held the slot when the call was made.
            if (epoch < before) errors.push_back("answered by epoch " + std::to_string(epoch) + ", held by " + std::to_string(before));
            newest_seen = std::max(newest_seen.load(), epoch);
          }
          ++answered;
          changed.notify_all();
        };
        slots->invoke("probe.main", std::move(c));
      }
    });

  int fenced = 0;
  for (int n = 1; n <= kSwaps; ++n) {
    auto old = holder;
    const uint64_t old_epoch = slots->epoch("probe.main");
    holder = next_holder(n);
    EXPECT_EQ(slots->epoch("probe.main"), old_epoch + 1);
    // A write that the old holder decided on comes too late.
    Transaction late;
    late.puts.push_back({{"things", "", "x"}, R"({"metadata":{"resourceVersion":""}})", 32});
    late.fences.push_back({"probe.main", old_epoch});
    auto s = std::make_shared<Signal>();
    pintle_code code = PINTLE_OK;
    (*store)->commit(std::move(late), [&, s](Result<Committed> r) {
      code = r ? PINTLE_OK : r.error().code;
      s->set();
    });
    ASSERT_TRUE(s->wait());
    fenced += code == PINTLE_DEPOSED;
    // And so does its call.
    Invoke c;
    c.interface_id = PINTLE_STREAM;
    auto deposed = std::make_shared<Signal>();
    c.done = [deposed](Result<Reply> r) { deposed->set(r ? Result<void>() : Result<void>(r.error())); };
    slots->invoke("probe.main", std::move(c), {{"probe.main", old_epoch}});
    EXPECT_EQ(deposed->wait().error().code, PINTLE_DEPOSED);

    const auto d = run([&](Instance::Done done) { old->drain(executor.now() + 30 * kSecond, std::move(done)); });
    EXPECT_TRUE(d) << d.error().text;
    auto ended = std::make_shared<Signal>();
    Ending ending;
    old->stop(executor.now() + 30 * kSecond, [&, ended](Ending e) {
      ending = e;
      ended->set();
    });
    ASSERT_TRUE(ended->wait());
    EXPECT_EQ(ending.state, PluginState::kUnloaded) << ending.message;
  }
  stop = true;
  {
    std::unique_lock lock(mutex);
    changed.notify_all();
  }
  for (auto& t : load) t.join();
  {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(60), [&] { return answered == asked; })) << asked - answered << " calls lost";
    EXPECT_EQ(failed, 0u);
    EXPECT_TRUE(errors.empty()) << errors.front();
  }
  EXPECT_EQ(fenced, kSwaps);
  EXPECT_GT(answered.load(), static_cast<uint64_t>(kSwaps));
  EXPECT_EQ(newest_seen, slots->epoch("probe.main"));
  EXPECT_EQ(parked_modules(), parked) << "every generation was unmapped";
  ASSERT_TRUE(run([&](Instance::Done done) { holder->drain(executor.now() + 30 * kSecond, std::move(done)); }));
  auto ended = std::make_shared<Signal>();
  holder->stop(executor.now() + 30 * kSecond, [ended](Ending) { ended->set(); });
  ASSERT_TRUE(ended->wait());
  (*store)->close();
}

TEST(Swap, ANewcomerThatRefusesToBeActivatedLeavesTheOldHolderInPlace) {
  ThreadExecutor executor;
  auto store = open_store(executor, {});
  ASSERT_TRUE(store);
  auto slots = std::make_shared<SlotTable>(executor, **store);
  const auto started = [&](const std::string& config) {
    auto i = make_in_process_instance(testing::probe_options(executor, config, "probe", slots), "");
    EXPECT_TRUE(run([&](Instance::Done d) { i->start(std::move(d)); }));
    return i;
  };
  auto good = started(R"({"text":"good"})"), bad = started(R"({"behaviour":"refuse-activate"})");
  ASSERT_TRUE(run([&](Instance::Done d) { slots->take_over({"probe.main"}, "good", good, std::move(d)); }));
  const uint64_t before = slots->epoch("probe.main");
  const auto r = run([&](Instance::Done d) { slots->take_over({"probe.main"}, "bad", bad, std::move(d)); });
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().text.find("does not want to"), std::string::npos);
  EXPECT_EQ(slots->info("probe.main").provider, "good");
  EXPECT_GT(slots->epoch("probe.main"), before);
  auto answered = std::make_shared<Signal>();
  std::string text;
  Invoke c;
  c.interface_id = PINTLE_STREAM;
  c.done = [&, answered](Result<Reply> reply) {
    text = reply ? reply->body : reply.error().text;
    answered->set();
  };
  slots->invoke("probe.main", std::move(c));
  ASSERT_TRUE(answered->wait());
  EXPECT_NE(text.find("good"), std::string::npos) << text;
  for (auto& i : {good, bad}) {
    ASSERT_TRUE(run([&](Instance::Done d) { i->drain(executor.now() + 30 * kSecond, std::move(d)); }));
    auto ended = std::make_shared<Signal>();
    i->stop(executor.now() + 30 * kSecond, [ended](Ending) { ended->set(); });
    ASSERT_TRUE(ended->wait());
  }
  (*store)->close();
}

}  // namespace
}  // namespace pintle::kernel

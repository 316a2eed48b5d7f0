// Runs everything on the calling thread, on a virtual clock, in an order drawn from a seed.
//
// Among the tasks that are ready the next one is picked by the seed, so different seeds give different interleavings and
// the same seed gives the same run, to the byte. Time stands still while anything is ready and then jumps to the next
// timer. post_blocking is post; random() draws from the seed too (a stream of its own, so that it does not shift the order).
//
//   SimulatedExecutor executor(42);
//   executor.post([&] { executor.after(5'000'000'000, [&] { done = true; }); });
//   executor.run_until([&] { return done; }, 60'000'000'000);   // true, at now() == start + 5 s, at once
//
// Threads: one. Tasks may call everything but the run functions.
#pragma once
#include <map>
#include <unordered_map>
#include <vector>

#include "kernel/run/executor.h"

namespace pintle::kernel {

class SimulatedExecutor final : public Executor {
 public:
  static constexpr uint64_t kStart = 1'000'000'000;               // now() of a new executor
  static constexpr int64_t kWallStart = 1'767'225'600'000'000'000;  // 2026-01-01T00:00:00Z
  static constexpr uint64_t kMaxSteps = 200'000'000;

  explicit SimulatedExecutor(uint64_t seed);
  ~SimulatedExecutor() override;

  // Runs until nothing is ready; the clock does not move, so timers fire only when they are due already.
  // false: `max_steps` tasks did not suffice (tasks that post themselves for ever).
  bool run_until_idle(uint64_t max_steps = kMaxSteps);
  // Runs everything that happens within `ns`; afterwards now() is exactly that much later.
  void run_for(uint64_t ns);
  // Runs until `predicate` holds (asked after every task); false when it does not within `limit_ns` of virtual time,
  // or when nothing is left that could make it true; the clock is then where the last task ran.
  bool run_until(const std::function<bool()>& predicate, uint64_t limit_ns);

  uint64_t steps() const { return steps_; }  // tasks run so far
  // Changes with every task that ran and its time: equal for equal runs.
  uint64_t fingerprint() const { return fingerprint_; }

  void post(Task task) override;
  void post_blocking(Task task) override { post(std::move(task)); }
  TimerId after(uint64_t delay_ns, Task task) override;
  bool cancel(TimerId id) override;
  uint64_t now() const override { return now_; }
  int64_t wall() const override { return kWallStart + static_cast<int64_t>(now_ - kStart); }
  void random(void* out, size_t len) override;
  bool simulated() const override { return true; }

 private:
  struct Ready {
    uint64_t serial;
    Task task;
  };
  bool step();                       // false: nothing ready
  bool advance(uint64_t limit);      // to the next timer, if it is not behind `limit`
  void collect_due();
  static uint64_t draw(uint64_t& state);

  uint64_t order_;   // state of the generator that picks tasks
  uint64_t random_;  // state of the one behind random()
  uint64_t now_ = kStart;
  uint64_t steps_ = 0;
  uint64_t serial_ = 0;
  uint64_t fingerprint_ = 0;
  std::vector<Ready> ready_;
  TimerId last_timer_ = 0;
  std::map<std::pair<uint64_t, TimerId>, Task> timers_;
  std::unordered_map<TimerId, uint64_t> deadlines_;
};

}  // namespace pintle::kernel

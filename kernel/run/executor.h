// Where the kernel's code runs: threads and timers, or one seeded loop on a virtual clock.
//
// Everything in the kernel and in plugins that runs "later" goes through this interface, so that the whole control plane
// can be run from a seed (design principle 7). No other file may make a thread, sleep or read a clock.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>

namespace pintle::kernel {

// Times and delays are nanoseconds.
inline constexpr uint64_t kSecond = 1'000'000'000;

using Task = std::function<void()>;
using TimerId = uint64_t;  // 0 = none

// Threads: all functions from any thread.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void post(Task task) = 0;
  // For work that may block (files, fsync, subprocesses); a pool of its own. Simulation: as post.
  virtual void post_blocking(Task task) = 0;
  virtual TimerId after(uint64_t delay_ns, Task task) = 0;
  // true: the task will not run. false: it has run or is running (not waited for).
  virtual bool cancel(TimerId id) = 0;
  virtual uint64_t now() const = 0;  // ns, CLOCK_BOOTTIME
  virtual int64_t wall() const = 0;  // ns since 1970 UTC
  virtual void random(void* out, size_t len) = 0;
  virtual bool simulated() const = 0;
};

}  // namespace pintle::kernel

// The executor of a real process: worker threads, a pool for what may block, one timer thread.
//
// Guarantees
//  - A posted task runs at most once; tasks of one poster may run concurrently and in any order.
//  - post_blocking never waits for a worker: the pool grows up to its bound, then tasks queue.
//  - Timers are on CLOCK_BOOTTIME, so they count the time that the machine was suspended.
//  - The destructor waits for tasks that run and drops the ones that do not yet; a task must not destroy its executor.
// Threads: every function from any thread.
#pragma once
#include <memory>
#include <string>

#include "kernel/run/executor.h"

namespace pintle::kernel {

struct ThreadExecutorOptions {
  size_t workers = 0;        // 0 = one per core, at least 2
  size_t max_blocking = 32;  // threads for post_blocking; each is started when needed and stays
  std::string name = "pintle";  // threads are called <name>-w0, <name>-b0, <name>-timer (cut to 15 bytes)
};

class ThreadExecutor final : public Executor {
 public:
  explicit ThreadExecutor(const ThreadExecutorOptions& options = {});
  ~ThreadExecutor() override;
  ThreadExecutor(const ThreadExecutor&) = delete;
  ThreadExecutor& operator=(const ThreadExecutor&) = delete;

  void post(Task task) override;
  void post_blocking(Task task) override;
  TimerId after(uint64_t delay_ns, Task task) override;
  bool cancel(TimerId id) override;
  uint64_t now() const override;
  int64_t wall() const override;
  void random(void* out, size_t len) override;
  bool simulated() const override { return false; }

 private:
  class Pool;
  class Timers;
  std::unique_ptr<Pool> workers_;
  std::unique_ptr<Pool> blocking_;
  std::unique_ptr<Timers> timers_;
};

}  // namespace pintle::kernel

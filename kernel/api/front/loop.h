// One epoll thread: readiness of descriptors, tasks in order, timers.
//
// Threads: post(), after() and in_loop() from any thread; everything else on the loop's own thread only.
// Owns: the thread; shared ownership of every watched Source until forget() or the end of the loop.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace pintle::kernel {

class Loop {
 public:
  // Something with a descriptor. on_ready gets the EPOLL* bits; it must not block.
  class Source {
   public:
    virtual ~Source() = default;
    virtual void on_ready(uint32_t events) = 0;
  };

  // `now`: the clock of the timers, ns.
  explicit Loop(std::function<uint64_t()> now);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // False when the system refuses (descriptors, threads); then nothing runs.
  bool start(const std::string& thread_name);
  // Ends and joins the thread, then runs what has been posted on the calling one. Timers are dropped, sources forgotten. Idempotent.
  void stop();

  // Runs `task` on the loop, after those posted before it. False: dropped, because the loop has been stopped.
  bool post(std::function<void()> task);
  // Runs `task` on the loop once, not before `delay_ns` from now. There is no cancel: let the task look whether it is still wanted.
  void after(uint64_t delay_ns, std::function<void()> task);
  bool in_loop() const { return std::this_thread::get_id() == thread_id_.load(std::memory_order_acquire); }
  uint64_t now() const { return now_(); }

  // Starts to watch `fd` (level-triggered). False: the kernel refused.
  bool watch(int fd, uint32_t events, std::shared_ptr<Source> source);
  void change(int fd, uint32_t events);
  // No event of `fd` is delivered after this. The caller closes the descriptor afterwards.
  void forget(int fd);

  // A buffer for reads; its content is worth nothing after the current on_ready or task returns.
  static constexpr size_t kScratchBytes = 64 << 10;
  char* scratch() { return scratch_.get(); }

 private:
  struct Entry {
    std::shared_ptr<Source> source;
    uint32_t generation = 0;
    uint32_t events = 0;
  };
  void run();
  void run_tasks();
  int run_timers();  // returns the epoll timeout in ms

  const std::function<uint64_t()> now_;
  int epoll_ = -1, wake_ = -1;
  std::thread thread_;
  std::atomic<std::thread::id> thread_id_{};
  std::vector<Entry> entries_;  // by descriptor
  std::unique_ptr<char[]> scratch_;
  std::multimap<uint64_t, std::function<void()>> timers_;  // loop thread only
  std::mutex mutex_;
  std::vector<std::function<void()>> tasks_;  // guarded by mutex_
  bool stopping_ = false;                     // guarded by mutex_; the thread is to end
  bool over_ = false;                         // guarded by mutex_; nothing is taken any more
};

}  // namespace pintle::kernel

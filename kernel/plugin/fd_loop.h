// One thread that waits on descriptors for plugins (pintle.net/1). One shot: arm() after each event.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace pintle::kernel {

// Threads: any. `ready` runs on the loop's thread and must only schedule.
class FdLoop {
 public:
  FdLoop();
  ~FdLoop();
  FdLoop(const FdLoop&) = delete;
  // Returns an id; nothing happens until arm(). 0: the descriptor cannot be watched.
  uint64_t add(int fd, std::function<void(uint32_t epoll_events)> ready);
  void arm(uint64_t id, uint32_t epoll_events);
  // No call of `ready` begins after this; one that runs is waited for, unless this is the loop's own thread.
  void remove(uint64_t id);
  static FdLoop& shared();  // made at first use, never destroyed

 private:
  void run();
  struct Entry {
    int fd;  // a duplicate: two watches may look at one descriptor
    std::function<void(uint32_t)> ready;
    bool armed;
  };
  int epoll_ = -1, wake_ = -1;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::unordered_map<uint64_t, Entry> entries_;
  uint64_t next_ = 1, running_ = 0;  // running_: whose `ready` is being called
  std::condition_variable quiet_;
  std::thread thread_;
};

}  // namespace pintle::kernel

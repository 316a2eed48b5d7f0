// Who is inside a plugin's code, and what the plugin still owes: the numbers that make an unload provable.
//
// Every entry into plugin code (methods, watch callbacks, timers, descriptor callbacks, tasks, replies) goes through
// Traffic::Inside. There is no second way in.
// Threads: any.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace pintle::kernel {

class Traffic {
 public:
  enum Count : unsigned {
    kInside,       // threads whose stack is in the plugin
    kMethods,      // ... of them in a method of an extension point or in a control function
    kOpen,         // calls it has not answered
    kTasks,        // posted and not finished
    kCommits,      // commits whose callback has not returned
    kInvocations,  // peer calls whose `done` has not returned
    kTimers, kWatches, kFdWatches,  // handed out, still able to call
    kCounts
  };
  void add(Count what) { counts_[what].fetch_add(1); }
  void remove(Count what) {
    counts_[what].fetch_sub(1);
    if (waiting_.load()) check();
  }
  uint64_t get(Count what) const { return counts_[what].load(); }

  // Runs `fn` once, when all of `counts` are zero at the same moment (perhaps before this returns; perhaps inside remove():
  // it must only schedule). Returns an id for forget().
  uint64_t when_zero(std::vector<Count> counts, std::function<void()> fn);
  // False: it has run or is running.
  bool forget(uint64_t id);

  class Inside {
   public:
    Inside(Traffic& traffic, bool method) : traffic_(traffic), method_(method) {
      traffic_.add(kInside);
      if (method_) traffic_.add(kMethods);
    }
    ~Inside() {
      if (method_) traffic_.remove(kMethods);
      traffic_.remove(kInside);
    }
    Inside(const Inside&) = delete;

   private:
    Traffic& traffic_;
    const bool method_;
  };

 private:
  void check();
  struct Waiter {
    uint64_t id;
    std::vector<Count> counts;
    std::function<void()> fn;
  };
  std::array<std::atomic<uint64_t>, kCounts> counts_{};
  std::atomic<bool> waiting_{false};
  std::mutex mutex_;
  std::vector<Waiter> waiters_;
  uint64_t next_ = 1;
};

}  // namespace pintle::kernel

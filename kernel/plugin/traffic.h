// Who is inside a plugin's code, and what the plugin still owes: the numbers that make an unload provable.
//
// Every entry into plugin code (methods, watch callbacks, timers, descriptor callbacks, tasks, replies) goes through
// Traffic::Inside. There is no second way in.
//
// Entering costs no locked instruction: each thread counts in a cell of its own, which only it writes. Who waits for quiet pays instead,
// with one membarrier(): afterwards every entry from before is visible, and every later one has seen the doors that were closed before.
// Threads beyond the cells, and kernels without membarrier(), count with atomic additions.
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
  void add(Count what) { counts_[what].fetch_add(kEntry | 1); }
  void remove(Count what) {
    counts_[what].fetch_sub(1);
    if (waiting_.load()) check();
  }
  uint64_t get(Count what) const;

  // Runs `fn` once, when all of `counts` are zero at the same moment (perhaps before this returns; perhaps inside remove():
  // it must only schedule). Returns an id for forget(). Close first whatever lets threads in: an entry that nothing counted here
  // leads to is seen only when it came before this call.
  uint64_t when_zero(std::vector<Count> counts, std::function<void()> fn);
  // False: it has run or is running.
  bool forget(uint64_t id);

  class Inside {
   public:
    Inside(Traffic& traffic, bool method) : traffic_(traffic), cell_(traffic.cell()), one_(method ? kOneMethod : kOneInside) {
      if (!cell_) {
        traffic_.enter_shared(one_);
        return;
      }
      cell_->store(cell_->load(std::memory_order_relaxed) + (kEntry | one_), std::memory_order_relaxed);
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    ~Inside() {
      if (!cell_) {
        traffic_.leave_shared(one_);
        return;
      }
      cell_->store(cell_->load(std::memory_order_relaxed) - one_, std::memory_order_release);
      std::atomic_signal_fence(std::memory_order_seq_cst);
      if (traffic_.waiting_.load(std::memory_order_relaxed)) traffic_.check();
    }
    Inside(const Inside&) = delete;

   private:
    Traffic& traffic_;
    std::atomic<uint64_t>* const cell_;
    const uint64_t one_;
  };

 private:
  // Every counter also counts its additions, in the upper half: two equal looks in a row had no addition between them.
  static constexpr uint64_t kEntry = 1ull << 32;
  // A cell holds both counts of Inside.
  static constexpr uint64_t kOneInside = 1, kOneMethod = 1 | 1u << 16;
  static constexpr uint32_t kCells = 64;
  static constexpr uint32_t kUnknown = UINT32_MAX;
  struct alignas(64) Cell {
    std::atomic<uint64_t> value{0};
  };
  std::atomic<uint64_t>* cell() {
    const uint32_t at = thread_;
    return at < kCells ? &cells_[at].value : at == kUnknown ? first_cell() : nullptr;
  }
  std::atomic<uint64_t>* first_cell();
  void enter_shared(uint64_t one);
  void leave_shared(uint64_t one);
  bool quiet(const std::vector<Count>& counts) const;
  void check();

  struct Waiter {
    uint64_t id;
    std::vector<Count> counts;
    std::function<void()> fn;
    bool armed = false;  // the barrier is behind it
  };
  static constinit thread_local uint32_t thread_;  // this thread's cell in every Traffic
  std::array<Cell, kCells> cells_;
  std::array<std::atomic<uint64_t>, kCounts> counts_{};
  std::atomic<bool> waiting_{false};
  std::mutex mutex_;
  std::vector<Waiter> waiters_;
  uint64_t next_ = 1;
};

}  // namespace pintle::kernel

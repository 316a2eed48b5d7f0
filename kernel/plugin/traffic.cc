#include "kernel/plugin/traffic.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace pintle::kernel {
namespace {

long membarrier(int command) { return ::syscall(SYS_membarrier, command, 0, 0); }

bool have_barrier() {
  static const bool yes = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
  return yes;
}

// Numbers for threads: given back when the thread ends, by then it is inside nothing.
struct Numbers {
  std::mutex mutex;
  std::vector<uint32_t> free;
  uint32_t next = 0;
  uint32_t take(uint32_t limit) {
    std::lock_guard lock(mutex);
    if (!free.empty()) {
      const uint32_t n = free.back();
      free.pop_back();
      return n;
    }
    return next < limit ? next++ : limit;
  }
  void give(uint32_t n) {
    std::lock_guard lock(mutex);
    free.push_back(n);
  }
};
Numbers& numbers() {
  static auto* n = new Numbers;  // never destroyed: threads may end while the process does
  return *n;
}

}  // namespace

constinit thread_local uint32_t Traffic::thread_ = Traffic::kUnknown;

std::atomic<uint64_t>* Traffic::first_cell() {
  struct Returned {
    uint32_t number;
    ~Returned() {
      if (number < kCells) numbers().give(number);
      thread_ = kCells;
    }
  };
  static thread_local Returned mine{have_barrier() ? numbers().take(kCells) : kCells};
  thread_ = mine.number;
  return thread_ < kCells ? &cells_[thread_].value : nullptr;
}

void Traffic::enter_shared(uint64_t one) {
  add(kInside);
  if (one == kOneMethod) add(kMethods);
}

void Traffic::leave_shared(uint64_t one) {
  if (one == kOneMethod) remove(kMethods);
  remove(kInside);
}

uint64_t Traffic::get(Count what) const {
  uint64_t n = static_cast<uint32_t>(counts_[what].load());
  if (what == kInside)
    for (const auto& cell : cells_) n += cell.value.load(std::memory_order_acquire) & 0xffff;
  if (what == kMethods)
    for (const auto& cell : cells_) n += cell.value.load(std::memory_order_acquire) >> 16 & 0xffff;
  return n;
}

// Each counter is zero at both looks and had no addition between them, so all were zero in the middle. The cells come after what
// leads into the plugin: whoever has given that up wrote its cell before.
bool Traffic::quiet(const std::vector<Count>& counts) const {
  const bool inside = std::find(counts.begin(), counts.end(), kInside) != counts.end();
  const bool methods = std::find(counts.begin(), counts.end(), kMethods) != counts.end();
  const uint64_t mask = (inside ? 0xffffu : 0u) | (methods ? 0xffff0000u : 0u);
  std::array<uint64_t, kCounts + kCells> first{};
  for (const bool again : {false, true}) {
    size_t at = 0;
    const auto same = [&](uint64_t value, uint64_t part) {
      if ((value & part) != 0 || (again && first[at] != value)) return false;
      first[at++] = value;
      return true;
    };
    for (const Count c : counts)
      if (!same(counts_[c].load(), 0xffffffffu)) return false;
    if (mask)
      for (const auto& cell : cells_)
        if (!same(cell.value.load(std::memory_order_acquire), mask)) return false;
  }
  return true;
}

uint64_t Traffic::when_zero(std::vector<Count> counts, std::function<void()> fn) {
  uint64_t id;
  {
    std::lock_guard lock(mutex_);
    id = next_++;
    waiters_.push_back({id, std::move(counts), std::move(fn)});
    waiting_ = true;  // before looking: a count that falls after this looks too
  }
  if (have_barrier()) membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
  {
    std::lock_guard lock(mutex_);
    for (auto& w : waiters_) w.armed |= w.id == id;
  }
  check();
  return id;
}

bool Traffic::forget(uint64_t id) {
  std::lock_guard lock(mutex_);
  const auto at = std::find_if(waiters_.begin(), waiters_.end(), [&](const Waiter& w) { return w.id == id; });
  if (at == waiters_.end()) return false;
  waiters_.erase(at);
  waiting_ = !waiters_.empty();
  return true;
}

void Traffic::check() {
  std::vector<std::function<void()>> ready;
  {
    std::lock_guard lock(mutex_);
    for (auto i = waiters_.begin(); i != waiters_.end();) {
      if (i->armed && quiet(i->counts)) {
        ready.push_back(std::move(i->fn));
        i = waiters_.erase(i);
      } else {
        ++i;
      }
    }
    waiting_ = !waiters_.empty();
  }
  for (auto& fn : ready) fn();
}

}  // namespace pintle::kernel

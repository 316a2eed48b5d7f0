#include "kernel/plugin/traffic.h"

#include <algorithm>

namespace pintle::kernel {

uint64_t Traffic::when_zero(std::vector<Count> counts, std::function<void()> fn) {
  uint64_t id;
  {
    std::lock_guard lock(mutex_);
    id = next_++;
    waiters_.push_back({id, std::move(counts), std::move(fn)});
    waiting_ = true;  // before looking: a count that falls after this looks too
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
      if (std::all_of(i->counts.begin(), i->counts.end(), [&](Count c) { return counts_[c].load() == 0; })) {
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

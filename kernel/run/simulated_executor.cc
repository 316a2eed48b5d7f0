#include "kernel/run/simulated_executor.h"

#include <algorithm>
#include <cstring>

namespace pintle::kernel {

// Separate streams: xor with constants, so that seed 0 works as well as any other.
SimulatedExecutor::SimulatedExecutor(uint64_t seed)
    : order_(seed ^ 0x6a09e667f3bcc908ull), random_(seed ^ 0xbb67ae8584caa73bull) {}

SimulatedExecutor::~SimulatedExecutor() {
  // Captures may post or cancel from their destructors: never while a container of ours is being changed.
  while (!ready_.empty() || !timers_.empty()) {
    std::vector<Ready> ready;
    ready.swap(ready_);
    std::map<std::pair<uint64_t, TimerId>, Task> timers;
    timers.swap(timers_);
    deadlines_.clear();
  }
}

// splitmix64
uint64_t SimulatedExecutor::draw(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

void SimulatedExecutor::post(Task task) { ready_.push_back({++serial_, std::move(task)}); }

TimerId SimulatedExecutor::after(uint64_t delay_ns, Task task) {
  const uint64_t deadline = delay_ns > UINT64_MAX / 2 - now_ ? UINT64_MAX / 2 : now_ + delay_ns;
  const TimerId id = ++last_timer_;
  timers_.emplace(std::pair(deadline, id), std::move(task));
  deadlines_.emplace(id, deadline);
  return id;
}

bool SimulatedExecutor::cancel(TimerId id) {
  const auto known = deadlines_.find(id);
  if (known == deadlines_.end()) return false;
  const auto at = timers_.find(std::pair(known->second, id));
  const Task dropped = std::move(at->second);
  timers_.erase(at);
  deadlines_.erase(known);
  return true;
}

void SimulatedExecutor::collect_due() {
  while (!timers_.empty() && timers_.begin()->first.first <= now_) {
    deadlines_.erase(timers_.begin()->first.second);
    post(std::move(timers_.begin()->second));
    timers_.erase(timers_.begin());
  }
}

bool SimulatedExecutor::step() {
  collect_due();
  if (ready_.empty()) return false;
  const size_t pick = ready_.size() == 1 ? 0 : draw(order_) % ready_.size();
  std::swap(ready_[pick], ready_.back());
  const Ready next = std::move(ready_.back());
  ready_.pop_back();
  ++steps_;
  fingerprint_ = (fingerprint_ ^ (next.serial * 0x9e3779b97f4a7c15ull + now_)) * 0x100000001b3ull;
  next.task();
  return true;
}

bool SimulatedExecutor::advance(uint64_t limit) {
  if (timers_.empty() || timers_.begin()->first.first > limit) return false;
  now_ = std::max(now_, timers_.begin()->first.first);
  return true;
}

bool SimulatedExecutor::run_until_idle(uint64_t max_steps) {
  for (uint64_t i = 0; i < max_steps; ++i) {
    if (!step()) return true;
  }
  collect_due();
  return ready_.empty();
}

void SimulatedExecutor::run_for(uint64_t ns) {
  const uint64_t end = now_ + ns;
  do {
    while (step()) {
    }
  } while (advance(end));
  now_ = end;
}

bool SimulatedExecutor::run_until(const std::function<bool()>& predicate, uint64_t limit_ns) {
  const uint64_t end = limit_ns > UINT64_MAX / 2 - now_ ? UINT64_MAX / 2 : now_ + limit_ns;
  for (uint64_t i = 0; i < kMaxSteps; ++i) {
    if (predicate()) return true;
    if (!step() && !advance(end)) return false;
  }
  return false;
}

void SimulatedExecutor::random(void* out, size_t len) {
  auto* at = static_cast<unsigned char*>(out);
  while (len > 0) {
    const uint64_t value = draw(random_);
    const size_t n = std::min(len, sizeof value);
    std::memcpy(at, &value, n);
    at += n;
    len -= n;
  }
}

}  // namespace pintle::kernel

// Back-off of restarts and image pulls: 10 s, doubling to 5 minutes, forgotten after 10 quiet minutes.
//
// The first retry is immediate. Threads: one at a time. Instants in ns.
#pragma once
#include <algorithm>
#include <cstdint>

namespace pintle::node_agent {

class Backoff {
 public:
  static constexpr uint64_t kFirst = 10'000'000'000, kLongest = 300'000'000'000, kForget = 2 * kLongest;

  // Something failed at `failed_at`. 0: try again now. Otherwise how long from `now` until the next try.
  uint64_t remaining(uint64_t failed_at, uint64_t now) {
    if (delay_ && failed_at > updated_ && failed_at - updated_ > kForget) delay_ = 0;
    if (delay_ == 0 || now >= failed_at + delay_) return 0;
    return failed_at + delay_ - now;
  }
  // A try begins now.
  void tried(uint64_t now) {
    delay_ = delay_ == 0 ? kFirst : std::min(delay_ * 2, kLongest);
    updated_ = now;
  }
  uint64_t delay() const { return delay_; }
  void reset() { delay_ = 0; }

 private:
  uint64_t delay_ = 0, updated_ = 0;
};

}  // namespace pintle::node_agent

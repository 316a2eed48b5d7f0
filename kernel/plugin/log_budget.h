// What a process may write into the log: a thousand lines at once and two hundred a second. What is over is counted and told with the next
// line that fits: a flood costs neither the disk nor the other plugins' lines.
#pragma once
#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "kernel/plugin/backend.h"

namespace pintle::kernel {

// Threads: any.
class LogBudget {
 public:
  static constexpr uint64_t kAtOnce = 1000, kPerSecond = 200;
  explicit LogBudget(std::shared_ptr<HostBackend> backend) : backend_(std::move(backend)), since_(backend_->executor().now()) {}

  void log(int level, std::string_view text, std::string_view fields) {
    uint64_t lost = 0;
    {
      std::lock_guard lock(mutex_);
      const uint64_t now = backend_->executor().now(), earned = (now - since_) * kPerSecond / 1000000000;
      if (earned > 0) {
        left_ = std::min(kAtOnce, left_ + earned);
        since_ = now;
      }
      if (left_ == 0) {
        ++lost_;
        return;
      }
      --left_;
      std::swap(lost, lost_);
    }
    if (lost > 0) backend_->log(PINTLE_LOG_WARN, std::to_string(lost) + " lines before this one were dropped: more than " + std::to_string(kPerSecond) + " a second", {});
    backend_->log(level, text, fields);
  }

 private:
  const std::shared_ptr<HostBackend> backend_;
  std::mutex mutex_;
  uint64_t since_, left_ = kAtOnce, lost_ = 0;
};

}  // namespace pintle::kernel

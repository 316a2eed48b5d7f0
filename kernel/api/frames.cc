#include "kernel/api/frames.h"

namespace pintle::kernel {

Chunk FrameCache::get(const ChangeRef& change, const std::string& form, const std::function<std::string()>& make) {
  const Id id{change.get(), form};
  {
    const std::lock_guard lock(mutex_);
    const auto at = frames_.find(id);
    if (at != frames_.end()) return at->second.frame;
  }
  Chunk frame = std::make_shared<const std::string>(make());
  const std::lock_guard lock(mutex_);
  const auto [at, added] = frames_.emplace(id, Entry{change, frame});
  if (!added) return at->second.frame;
  order_.push_back(id);
  while (order_.size() > capacity_) {
    frames_.erase(order_.front());
    order_.pop_front();
  }
  return frame;
}

}  // namespace pintle::kernel

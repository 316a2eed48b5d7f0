#include "kernel/store/history.h"

#include <algorithm>

namespace pintle::kernel {
namespace {
constexpr uint64_t kOverhead = 256;  // of a change itself
}

void History::add(ChangeRef change, uint64_t now) {
  uint64_t bytes = kOverhead;
  if (change->previous) bytes += change->previous->json().size();
  if (change->type == ChangeType::kDeleted) bytes += change->object->json().size();
  bytes_ += bytes;
  items_.push_back({std::move(change), now, bytes});
}

ChangeRef History::expire(uint64_t now, Revision pinned) {
  if (items_.empty()) return nullptr;
  const Item& oldest = items_.front();
  const bool old = now >= oldest.at && now - oldest.at >= max_age_ns_;
  if ((!old && bytes_ <= max_bytes_) || oldest.change->revision > pinned) return nullptr;
  ChangeRef change = oldest.change;
  bytes_ -= oldest.bytes;
  floor_ = change->revision;
  floor_inside_ = !change->end;
  items_.pop_front();
  return change;
}

std::deque<History::Item>::const_iterator History::first_after(Revision revision) const {
  return std::upper_bound(items_.begin(), items_.end(), revision,
                          [](Revision r, const Item& item) { return r < item.change->revision; });
}

std::vector<ChangeRef> History::after(Revision revision) const {
  std::vector<ChangeRef> out;
  const auto first = first_after(revision);
  out.reserve(static_cast<size_t>(items_.end() - first));
  for (auto at = first; at != items_.end(); ++at) out.push_back(at->change);
  return out;
}

Revision History::transaction_end(Revision revision) const {
  auto at = first_after(revision);
  // The floor's own change has left the window; the revisions of a transaction have no gaps.
  const bool known = at != items_.begin() && std::prev(at)->change->revision == revision;
  if (known && std::prev(at)->change->end) return revision;
  if (!known && !(revision == floor_ && at != items_.end() && floor_inside_)) return revision;
  while (at != items_.end() && !at->change->end) ++at;
  return at == items_.end() ? revision : at->change->revision;
}

void History::replace(const std::unordered_map<const StoredObject*, ObjectRef>& replaced) {
  const auto renewed = [&](const ObjectRef& object) {
    const auto at = replaced.find(object.get());
    return at == replaced.end() ? object : at->second;
  };
  for (Item& item : items_) {
    ObjectRef object = renewed(item.change->object);
    ObjectRef previous = renewed(item.change->previous);
    if (object == item.change->object && previous == item.change->previous) continue;
    Change change = *item.change;
    change.object = std::move(object);
    change.previous = std::move(previous);
    item.change = std::make_shared<const Change>(std::move(change));
  }
}

}  // namespace pintle::kernel

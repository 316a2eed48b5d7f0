// The change log of the history window: what watches resume from, bounded by bytes and by age.
//
// Threads: none of its own; guarded by the store's lock.
#pragma once
#include <deque>
#include <unordered_map>
#include <vector>

#include "kernel/store/store.h"

namespace pintle::kernel {

class History {
 public:
  History(uint64_t max_bytes, uint64_t max_age_ns) : max_bytes_(max_bytes), max_age_ns_(max_age_ns) {}

  // The window starts here: every revision from floor() on can be listed and watched from.
  Revision floor() const { return floor_; }
  void set_floor(Revision revision) { floor_ = revision; }

  void add(ChangeRef change, uint64_t now);
  // The oldest change if it has to leave the window (too old, or too many bytes) and is not after `pinned`.
  // The caller drops the versions it made invisible.
  ChangeRef expire(uint64_t now, Revision pinned);
  // When the oldest change gets too old; 0 = there is none.
  uint64_t next_expiry() const { return items_.empty() ? 0 : items_.front().at + max_age_ns_; }

  std::vector<ChangeRef> after(Revision revision) const;
  // The end of the transaction that `revision` belongs to; `revision` itself when it belongs to none.
  Revision transaction_end(Revision revision) const;
  // Objects were made anew (their facets changed).
  void replace(const std::unordered_map<const StoredObject*, ObjectRef>& replaced);
  uint64_t bytes() const { return bytes_; }
  size_t size() const { return items_.size(); }

 private:
  struct Item {
    ChangeRef change;
    uint64_t at;     // when it became visible, ns
    uint64_t bytes;  // what the window alone keeps alive
  };
  std::deque<Item>::const_iterator first_after(Revision revision) const;

  const uint64_t max_bytes_;
  const uint64_t max_age_ns_;
  Revision floor_ = 0;
  bool floor_inside_ = false;  // the floor is in the middle of a transaction
  std::deque<Item> items_;
  uint64_t bytes_ = 0;
};

}  // namespace pintle::kernel

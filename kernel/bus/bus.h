// Fans the change log out to watches: filtering by kind and namespace, byte budgets, bookmarks.
//
// One subscription to the store feeds all watches. Changes of kinds that nobody watches cost nothing here. A watch that falls
// behind by more than its byte budget ends with EXPIRED and never slows a writer.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel/store/store.h"

namespace pintle::kernel {

struct WatchOptions {
  std::string kind;  // "" = all kinds
  std::string ns;    // "" = all
  std::string name;  // "" = all
  Revision from = 0;  // events after it; 0 = from now
  size_t budget_bytes = 1u << 20;  // queued and not yet taken
};

struct WatchBatch {
  std::vector<ChangeRef> changes;  // of the watched kind, in order
  Revision progress = 0;           // everything up to here has been delivered: good for a bookmark
  bool closed = false;             // last batch; `code` says why
  pintle_code code = PINTLE_OK;    // EXPIRED = fell behind or window; NOT_FOUND = the kind was hidden; CANCELLED
};

class Bus {
 public:
  virtual ~Bus() = default;
  // `wake` is called (on any thread, never under a lock of the caller's) when there is something to take
  // after take() had nothing, possibly before watch() returned. It must only schedule. Errors: EXPIRED, INVALID (`from`
  // is in the future). What came since `from` does not count against the budget.
  virtual Result<uint64_t> watch(const WatchOptions& options, std::function<void()> wake) = 0;
  // Everything that has arrived, at most `max` changes (0 = all). Empty changes with progress > 0 are possible. An id that
  // is not (or no longer) known: closed, CANCELLED.
  virtual WatchBatch take(uint64_t id, size_t max = 0) = 0;
  virtual void unwatch(uint64_t id) = 0;  // `wake` is not called after it returned
  // Ends all watches of the kind (it was hidden).
  virtual void close_kind(const std::string& kind) = 0;
  virtual json::Value metrics() const = 0;
};
std::unique_ptr<Bus> make_bus(Store& store, Executor& executor);

}  // namespace pintle::kernel

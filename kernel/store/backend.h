// Where the store keeps its objects across restarts. Internal to kernel/store; its tests put faults in through it.
//
// A backend holds the newest version of every object, the revision counter and the epochs of slots. It knows nothing of
// compares, history or watches. The store calls it from one thread at a time.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel/store/store.h"

namespace pintle::kernel {

// An object has the same row from its creation to its deletion; rows are never used again.
using RowId = uint64_t;

struct StoredRow {
  RowId row;
  Key key;
  Revision revision;
  size_t revision_at;  // where the digits of `revision` are in `json`
  bool sealed;
  std::string json;
};

struct RowWrite {
  RowId row;
  ObjectRef object;  // null: delete the row
  size_t revision_at = 0;
  bool sealed = false;
};

// Transactions that become durable together, in order.
struct Group {
  std::vector<RowWrite> writes;
  std::vector<FenceCheck> epochs;
  Revision revision = 0;  // the counter after this group
};

struct LoadedState {
  Revision revision = 0;
  std::vector<FenceCheck> epochs;
};

class Backend {
 public:
  virtual ~Backend() = default;
  // true: append() waits for a disk and has to run where blocking is allowed.
  virtual bool blocking() const = 0;
  // Calls `each` for every row, in any order. Once, before anything else.
  virtual Result<LoadedState> load(const std::function<void(StoredRow)>& each) = 0;
  // All or nothing; durable when it returns ok. NO_SPACE, TIMEOUT: nothing was written and a later try may succeed. Every
  // other error: unknown what is on disk; the store never calls append() again.
  virtual Result<void> append(const Group& group) = 0;
  virtual void close() = 0;
  // Merged into Store::metrics(). Any thread.
  virtual json::Value metrics() const = 0;
};

std::unique_ptr<Backend> make_memory_backend();
// Codes as open_store.
Result<std::unique_ptr<Backend>> open_sqlite_backend(Executor& executor, const std::string& path);

Result<std::unique_ptr<Store>> make_store(Executor& executor, const StoreOptions& options,
                                          std::unique_ptr<Backend> backend);

}  // namespace pintle::kernel

// The object store: one revision for all kinds, atomic transactions over many objects, old versions for a while.
//
// Contract (design §4):
//  - commit() is the only way to write; its callback runs after the transaction is durable, or with the reason why not.
//  - Transactions are ordered; compares see the pending state in that order; nothing is readable or on the change log
//    before it is durable; a failed group fails all its transactions and all built on them.
//  - Every object of a transaction gets its own revision; the last one is a transaction end. Lists and bookmarks
//    use transaction ends only; a watch may resume from any revision.
//  - After an fsync error the store is read-only until restart (code NO_SPACE is different: it recovers by itself).
// Threads: every function from any thread. Callbacks run on the executor; none is called under a lock.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel/run/executor.h"
#include "kernel/store/object.h"
#include "pintle/result.h"

namespace pintle::kernel {

struct Compare {
  Key key;
  Revision revision;  // 0 = the object must be absent
  bool any = false;   // true: it must exist, at whatever revision
};

struct Put {
  Key key;
  std::string json;  // canonical, without the digits of resourceVersion
  size_t revision_at = 0;  // offset in `json` where the decimal revision is inserted ("resourceVersion":"<here>")
};

struct FenceCheck {
  std::string slot;
  uint64_t epoch;  // must be the slot's present epoch
};

struct Transaction {
  std::vector<Compare> compares;
  std::vector<Put> puts;
  std::vector<Key> deletes;
  std::vector<FenceCheck> fences;
  std::vector<FenceCheck> epochs;  // new epochs to persist (kernel/plugin only)
  bool dry_run = false;            // compares and fences only
};

struct Committed {
  // Same order as puts, then deletes. For a delete: the last state, at the revision of the deletion.
  std::vector<ObjectRef> objects;
  Revision revision = 0;  // of the transaction's end
};
// Failure codes: CONFLICT (error.status = {"failedCompares":[i,...]}; or a new epoch that is not higher), DEPOSED (a fence),
// NOT_FOUND (a delete of what is not there), INVALID (a key twice in one transaction, revision_at outside the JSON),
// UNAVAILABLE (read-only or closed), NO_SPACE. An answer that depends on pending writes comes after they are visible.
using CommitDone = std::function<void(Result<Committed>)>;

enum class ChangeType : uint8_t { kAdded, kModified, kDeleted };

// One entry of the change log, shared by all who watch.
struct Change {
  ChangeType type;
  ObjectRef object;    // deleted: the last state, its JSON carrying the deletion's revision
  ObjectRef previous;  // null when added
  Revision revision;
  bool end;  // last of its transaction
};
using ChangeRef = std::shared_ptr<const Change>;

struct KindTraits {
  std::vector<std::string> fields;   // dotted paths: selectable fields and indexes
  std::vector<size_t> indexed;       // positions in `fields` that get an index
  // Extracts labels and fields from canonical JSON (possibly without the digits of resourceVersion). Must not call the store.
  std::function<Facets(std::string_view json)> facets;
  bool sealed = false;               // encrypt on disk; what was stored before stays as it is until it is written again
  bool history = true;               // false: only the newest version matters on disk (Lease, Event)
};

struct ListQuery {
  std::string kind;
  std::string ns;                      // "" = all
  std::string after_ns, after_name;    // continue behind this key ("" = from the start)
  size_t limit = 0;                    // objects wanted; 0 = all
  Revision at = 0;                     // 0 = now
  std::optional<std::pair<size_t, std::string>> index;  // (position in KindTraits::fields, value): equality through an index
  std::function<bool(const StoredObject&)> filter;      // null = all
};
struct ListPage {
  std::vector<ObjectRef> objects;
  Revision revision = 0;  // a transaction end
  bool more = false;
  size_t remaining = 0;   // without a filter: objects after this page
};

class Store {
 public:
  virtual ~Store() = default;

  virtual void set_kind(const std::string& kind, KindTraits traits) = 0;
  // Kinds that have at least one object (also hidden and unknown ones).
  virtual std::vector<std::string> kinds() const = 0;

  virtual ObjectRef get(const Key& key) const = 0;  // null when absent
  // EXPIRED when `at` is outside the history window; INVALID when it is in the future.
  virtual Result<ListPage> list(const ListQuery& query) const = 0;
  virtual size_t count(const std::string& kind, const std::string& ns) const = 0;
  virtual Revision revision() const = 0;  // newest visible transaction end

  virtual void commit(Transaction txn, CommitDone done) = 0;

  // 0 = never set. A change sink finds what was in force when the change was made, or was raised together with it: never one that was raised after it.
  virtual uint64_t epoch(const std::string& slot) const = 0;

  // The change log. `sink` gets every change after `from` (0 = from now), in order, in batches that end at transaction
  // ends whenever possible. It is called one at a time, on the committing side: it must only queue. Returns
  // EXPIRED when `from` is outside the window, INVALID when it is in the future. The first call of `sink` is made inside
  // subscribe(), with what came after `from` (maybe nothing) and the revision at which it starts. The sink may read the
  // store but must not subscribe, unsubscribe or close.
  using ChangeSink = std::function<void(const std::vector<ChangeRef>& changes, Revision end)>;
  virtual Result<uint64_t> subscribe(Revision from, ChangeSink sink) = 0;
  virtual void unsubscribe(uint64_t id) = 0;  // no call of the sink after it returned

  virtual bool read_only() const = 0;
  virtual json::Value metrics() const = 0;  // {"objects":n,"bytes":n,"revision":n,"historyBytes":n,"commits":n,...}
  // Writes what is pending, checkpoints, closes. No commit is accepted afterwards; reading goes on.
  virtual void close() = 0;
};

struct StoreOptions {
  std::string path;  // directory; "" = memory only (tests, simulation)
  uint64_t history_bytes = 32u << 20;
  uint64_t history_age_ns = 5ull * 60 * 1000000000;
};
// INVALID: foreign or damaged data; FORBIDDEN: permissions; CONFLICT: another process has it (text names its pid).
Result<std::unique_ptr<Store>> open_store(Executor& executor, const StoreOptions& options);

}  // namespace pintle::kernel

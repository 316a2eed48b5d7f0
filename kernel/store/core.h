// The store's engine: pending transactions in front, what is visible behind, the backend between them.
//
//   commit() -- checks against pending + visible, takes revisions --> queue
//   queue -- drain(), one at a time: a group --> Backend::append --> publish: tables, history, sinks --> callbacks
//
// Locks, in the order they may be taken: drain_mu_, pending_mu_ | sink_mu_, state_mu_, pins_mu_. pending_mu_ and sink_mu_ are
// never held together.
#pragma once
#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>

#include "kernel/base/rwlock.h"
#include "kernel/store/backend.h"
#include "kernel/store/history.h"
#include "kernel/store/table.h"

namespace pintle::kernel {

class StoreCore : public std::enable_shared_from_this<StoreCore> {
 public:
  StoreCore(Executor& executor, const StoreOptions& options, std::unique_ptr<Backend> backend);
  Result<void> load();

  void set_kind(const std::string& kind, KindTraits traits);
  std::vector<std::string> kinds() const;
  ObjectRef get(const Key& key) const;
  Result<ListPage> list(const ListQuery& query) const;
  size_t count(const std::string& kind, const std::string& ns) const;
  Revision revision() const { return visible_.load(std::memory_order_acquire); }
  void commit(Transaction txn, CommitDone done);
  uint64_t epoch(const std::string& slot) const;
  Result<uint64_t> subscribe(Revision from, Store::ChangeSink sink);
  void unsubscribe(uint64_t id);
  bool read_only() const { return read_only_; }
  json::Value metrics() const;
  void close();

 private:
  using TraitsRef = std::shared_ptr<const KindTraits>;
  struct Write {
    RowVersion version;
    TraitsRef traits;  // the ones its facets were made with
  };
  // One transaction on its way to the disk.
  struct Item {
    std::vector<Write> writes;
    std::vector<FenceCheck> epochs;
    std::optional<Error> failure;  // refused already; answered in its turn
    Revision end = 0;
    CommitDone done;
  };
  struct Prepared {
    TraitsRef traits;
    Facets facets;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };
  struct Pinned;

  // All with pending_mu_ held.
  const RowVersion* pending_or_visible(const Key& key) const;
  std::optional<Error> check(const Transaction& txn) const;
  void take_revisions(Transaction& txn, std::vector<Prepared>& prepared, Item& item);

  Table& table(const std::string& kind);
  const Table* find_table(const std::string& kind) const;
  std::vector<Prepared> prepare(const Transaction& txn) const;
  void schedule_drain();
  void drain();
  void process(std::vector<Item> items);
  void publish(std::vector<Item>& items);
  void forget_pending(const std::vector<Item>& items);
  void fail(std::vector<Item> items, const Error& error);
  void answer(std::vector<Item> items);
  void expire(std::vector<ObjectRef>& dropped, std::vector<ChangeRef>& changes);
  void arm_expiry();

  Executor& executor_;
  const StoreOptions options_;
  const std::unique_ptr<Backend> backend_;

  std::mutex drain_mu_;

  mutable std::mutex pending_mu_;
  std::deque<Item> queue_;
  std::unordered_map<Key, RowVersion, KeyHash> pending_;
  std::unordered_map<std::string, uint64_t> pending_epochs_;
  Revision assigned_ = 0;  // last revision given out
  RowId last_row_ = 0;
  bool draining_ = false;
  bool closed_ = false;
  std::string read_only_reason_;
  TimerId expiry_timer_ = 0;
  std::atomic<bool> read_only_ = false;

  mutable RwLock state_mu_;
  std::map<std::string, Table, std::less<>> tables_;
  std::unordered_map<std::string, uint64_t> epochs_;
  History history_;
  std::atomic<Revision> visible_ = 0;

  // Revisions that lists are reading right now; the window does not move past them.
  mutable std::mutex pins_mu_;
  mutable std::multiset<Revision> pins_;

  std::mutex sink_mu_;
  std::map<uint64_t, Store::ChangeSink> sinks_;
  uint64_t last_sink_ = 0;

  std::atomic<uint64_t> commits_ = 0, refused_ = 0, failed_ = 0, groups_ = 0, rows_ = 0;
};

}  // namespace pintle::kernel

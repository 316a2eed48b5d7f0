#include "kernel/store/core.h"

#include <algorithm>
#include <shared_mutex>
#include <unordered_set>

namespace pintle::kernel {
namespace {

constexpr size_t kGroupRows = 4096;
constexpr size_t kGroupBytes = 16u << 20;
constexpr size_t kScanChunk = 512;   // objects a list takes per hold of the lock
constexpr size_t kAnswerChunk = 16;  // callbacks per task on threads

std::string describe(const Key& key) {
  return "\"" + (key.ns.empty() ? key.name : key.ns + "/" + key.name) + "\" of " + key.kind;
}

std::string with_digits(const std::string& json, size_t at, Revision revision) {
  const std::string digits = std::to_string(revision);
  std::string out;
  out.reserve(json.size() + digits.size());
  out.append(json, 0, at).append(digits).append(json, at);
  return out;
}

// The last state of a deleted object, at the revision of its deletion.
std::string with_other_digits(const StoredObject& object, size_t at, Revision revision) {
  std::string out(object.json());
  out.replace(at, std::to_string(object.revision()).size(), std::to_string(revision));
  return out;
}

}  // namespace

size_t StoreCore::KeyHash::operator()(const Key& key) const {
  const std::hash<std::string> hash;
  size_t h = hash(key.kind);
  h = h * 0x9e3779b97f4a7c15ull + hash(key.ns);
  return h * 0x9e3779b97f4a7c15ull + hash(key.name);
}

StoreCore::StoreCore(Executor& executor, const StoreOptions& options, std::unique_ptr<Backend> backend)
    : executor_(executor),
      options_(options),
      backend_(std::move(backend)),
      history_(options.history_bytes, options.history_age_ns) {}

Result<void> StoreCore::load() {
  std::optional<Error> twice;
  const Result<LoadedState> loaded = backend_->load([&](StoredRow row) {
    Table& rows = table(row.key.kind);
    if (rows.newest(row.key.ns, row.key.name)) twice = Error(PINTLE_INVALID, "the database is damaged: " + describe(row.key) + " is there twice");
    if (twice) return;
    last_row_ = std::max(last_row_, row.row);
    auto object = std::make_shared<StoredObject>(std::move(row.key), row.revision, row.json, Facets());
    rows.add({std::move(object), row.row, row.revision_at, false, row.sealed});
  });
  if (!loaded) return loaded.error();
  if (twice) return *twice;
  for (const FenceCheck& epoch : loaded->epochs) epochs_[epoch.slot] = epoch.epoch;
  assigned_ = loaded->revision;
  visible_ = assigned_;
  history_.set_floor(assigned_);
  return {};
}

Table& StoreCore::table(const std::string& kind) { return tables_.try_emplace(kind).first->second; }

const Table* StoreCore::find_table(const std::string& kind) const {
  const auto at = tables_.find(kind);
  return at == tables_.end() ? nullptr : &at->second;
}

void StoreCore::set_kind(const std::string& kind, KindTraits traits) {
  auto shared = std::make_shared<const KindTraits>(std::move(traits));
  std::unordered_map<const StoredObject*, ObjectRef> replaced;  // frees the old ones after the lock
  const std::unique_lock lock(state_mu_);
  table(kind).set_traits(std::move(shared), replaced);
  if (!replaced.empty()) history_.replace(replaced);
}

std::vector<std::string> StoreCore::kinds() const {
  const std::shared_lock lock(state_mu_);
  std::vector<std::string> out;
  for (const auto& [kind, rows] : tables_) {
    if (rows.size() > 0) out.push_back(kind);
  }
  return out;
}

ObjectRef StoreCore::get(const Key& key) const {
  const std::shared_lock lock(state_mu_);
  const Table* rows = find_table(key.kind);
  const RowVersion* version = rows ? rows->newest(key.ns, key.name) : nullptr;
  return version && !version->deleted ? version->object : nullptr;
}

size_t StoreCore::count(const std::string& kind, const std::string& ns) const {
  const std::shared_lock lock(state_mu_);
  const Table* rows = find_table(kind);
  return rows ? rows->count(ns) : 0;
}

uint64_t StoreCore::epoch(const std::string& slot) const {
  const std::shared_lock lock(state_mu_);
  const auto at = epochs_.find(slot);
  return at == epochs_.end() ? 0 : at->second;
}

// Keeps the versions of one revision readable between two holds of the lock.
struct StoreCore::Pinned {
  Pinned(const StoreCore& of, Revision r) : core(of), revision(r) {
    const std::lock_guard lock(core.pins_mu_);
    core.pins_.insert(revision);
  }
  ~Pinned() {
    const std::lock_guard lock(core.pins_mu_);
    core.pins_.erase(core.pins_.find(revision));
  }
  const StoreCore& core;
  const Revision revision;
};

Result<ListPage> StoreCore::list(const ListQuery& query) const {
  ListPage page;
  std::optional<Pinned> pinned;
  Table::Scan scan;
  scan.ns = query.ns;
  scan.after = {query.after_ns, query.after_name};
  scan.started = !query.after_ns.empty() || !query.after_name.empty();
  scan.field = query.index ? &*query.index : nullptr;

  std::vector<ObjectRef> chunk;
  bool more = true;
  while (more) {
    chunk.clear();
    {
      const std::shared_lock lock(state_mu_);
      if (!pinned) {
        const Revision visible = revision();
        if (query.at > visible) {
          return Error(PINTLE_INVALID, "revision " + std::to_string(query.at) + " is in the future; the newest is " + std::to_string(visible));
        }
        if (query.at != 0 && query.at < history_.floor()) {
          return Error(PINTLE_EXPIRED, "revision " + std::to_string(query.at) + " is no longer kept; the oldest is " + std::to_string(history_.floor()));
        }
        scan.at = query.at == 0 ? visible : history_.transaction_end(query.at);
        page.revision = scan.at;
        pinned.emplace(*this, scan.at);
      }
      const Table* rows = find_table(query.kind);
      more = rows && rows->scan(scan, kScanChunk, chunk);
    }
    for (ObjectRef& object : chunk) {
      if (query.filter && !query.filter(*object)) continue;
      if (query.limit == 0 || page.objects.size() < query.limit) {
        page.objects.push_back(std::move(object));
        continue;
      }
      page.more = true;
      if (query.filter) return page;
      ++page.remaining;
    }
  }
  return page;
}

// Facets are extracted here, by the thread that commits and under no lock.
std::vector<StoreCore::Prepared> StoreCore::prepare(const Transaction& txn) const {
  std::vector<Prepared> out(txn.dry_run ? 0 : txn.puts.size());
  if (out.empty()) return out;
  {
    const std::shared_lock lock(state_mu_);
    for (size_t i = 0; i < out.size(); ++i) {
      const Table* rows = find_table(txn.puts[i].key.kind);
      if (rows) out[i].traits = rows->traits();
    }
  }
  for (size_t i = 0; i < out.size(); ++i) {
    const TraitsRef& traits = out[i].traits;
    if (traits && traits->facets) out[i].facets = traits->facets(txn.puts[i].json);
  }
  return out;
}

const RowVersion* StoreCore::pending_or_visible(const Key& key) const {
  const auto pending = pending_.find(key);
  if (pending != pending_.end()) return &pending->second;
  const Table* rows = find_table(key.kind);
  return rows ? rows->newest(key.ns, key.name) : nullptr;
}

std::optional<Error> StoreCore::check(const Transaction& txn) const {
  for (const FenceCheck& fence : txn.fences) {
    const auto pending = pending_epochs_.find(fence.slot);
    const auto visible = epochs_.find(fence.slot);
    const uint64_t present = pending != pending_epochs_.end() ? pending->second : visible != epochs_.end() ? visible->second : 0;
    if (fence.epoch != present) {
      return Error(PINTLE_DEPOSED, "slot " + fence.slot + " is at epoch " + std::to_string(present) + ", not " + std::to_string(fence.epoch));
    }
  }
  json::Value failed = json::Value::array();
  std::string first;
  for (size_t i = 0; i < txn.compares.size(); ++i) {
    const Compare& compare = txn.compares[i];
    const RowVersion* version = pending_or_visible(compare.key);
    const Revision present = version && !version->deleted ? version->object->revision() : 0;
    if (compare.any ? present != 0 : present == compare.revision) continue;
    if (first.empty()) {
      first = describe(compare.key) + (present == 0 ? " does not exist" : " is at revision " + std::to_string(present));
    }
    failed.push(static_cast<uint64_t>(i));
  }
  if (!first.empty()) {
    return Error(PINTLE_CONFLICT, first, json::Value::object({{"failedCompares", std::move(failed)}}));
  }
  for (const FenceCheck& epoch : txn.epochs) {
    const auto pending = pending_epochs_.find(epoch.slot);
    const auto visible = epochs_.find(epoch.slot);
    const uint64_t present = pending != pending_epochs_.end() ? pending->second : visible != epochs_.end() ? visible->second : 0;
    if (epoch.epoch <= present) {
      return Error(PINTLE_CONFLICT, "slot " + epoch.slot + " is at epoch " + std::to_string(present) + " already");
    }
  }
  std::unordered_set<Key, KeyHash> written;
  const bool several = txn.puts.size() + txn.deletes.size() > 1;
  for (const Put& put : txn.puts) {
    if (put.revision_at > put.json.size()) return Error(PINTLE_INVALID, describe(put.key) + ": revision_at is outside the JSON");
    if (several && !written.insert(put.key).second) return Error(PINTLE_INVALID, describe(put.key) + " is written twice in one transaction");
  }
  for (const Key& key : txn.deletes) {
    if (several && !written.insert(key).second) return Error(PINTLE_INVALID, describe(key) + " is written twice in one transaction");
    const RowVersion* version = pending_or_visible(key);
    if (!version || version->deleted) return Error(PINTLE_NOT_FOUND, describe(key) + " does not exist");
  }
  return std::nullopt;
}

void StoreCore::take_revisions(Transaction& txn, std::vector<Prepared>& prepared, Item& item) {
  item.writes.reserve(txn.puts.size() + txn.deletes.size());
  for (size_t i = 0; i < txn.puts.size(); ++i) {
    Put& put = txn.puts[i];
    const RowVersion* previous = pending_or_visible(put.key);
    const bool exists = previous && !previous->deleted;
    Write write;
    write.traits = std::move(prepared[i].traits);
    write.version.row = exists ? previous->row : ++last_row_;
    // While nobody knows the kind (its plugin is off), an object stays sealed as it was.
    write.version.sealed = write.traits ? write.traits->sealed : exists && previous->sealed;
    write.version.revision_at = put.revision_at;
    const Revision revision = ++assigned_;
    write.version.object = std::make_shared<StoredObject>(
        put.key, revision, with_digits(put.json, put.revision_at, revision), std::move(prepared[i].facets));
    pending_[std::move(put.key)] = write.version;
    item.writes.push_back(std::move(write));
  }
  for (Key& key : txn.deletes) {
    const RowVersion& previous = *pending_or_visible(key);
    Write write;
    write.version = previous;
    write.version.deleted = true;
    // Facets of a pending version may be older than the kind's traits: null has them made again when it becomes visible.
    const Table* rows = find_table(key.kind);
    write.traits = rows && !pending_.contains(key) ? rows->traits() : nullptr;
    const Revision revision = ++assigned_;
    write.version.object = std::make_shared<StoredObject>(
        key, revision, with_other_digits(*previous.object, previous.revision_at, revision), previous.object->facets());
    pending_[std::move(key)] = write.version;
    item.writes.push_back(std::move(write));
  }
  for (const FenceCheck& epoch : txn.epochs) pending_epochs_[epoch.slot] = epoch.epoch;
  item.epochs = std::move(txn.epochs);
  item.end = assigned_;
}

void StoreCore::commit(Transaction txn, CommitDone done) {
  std::vector<Prepared> prepared = prepare(txn);
  Item item;
  item.done = std::move(done);
  bool start = false;
  bool immediate = false;
  {
    const std::lock_guard lock(pending_mu_);
    if (closed_) {
      item.failure = Error(PINTLE_UNAVAILABLE, "the store is closed");
    } else if (read_only_ && !txn.dry_run) {
      item.failure = Error(PINTLE_UNAVAILABLE, read_only_reason_);
    } else {
      const std::shared_lock state(state_mu_);
      item.failure = check(txn);
      if (!item.failure && !txn.dry_run) take_revisions(txn, prepared, item);
    }
    if (item.failure) ++refused_;
    // An answer that saw nothing pending needs no turn in the queue.
    immediate = item.writes.empty() && item.epochs.empty() && pending_.empty() && pending_epochs_.empty();
    if (!immediate) {
      queue_.push_back(std::move(item));
      start = !draining_;
      draining_ = true;
    }
  }
  if (immediate) {
    std::vector<Item> one;
    one.push_back(std::move(item));
    answer(std::move(one));
  }
  if (start) schedule_drain();
}

void StoreCore::schedule_drain() {
  auto run = [self = shared_from_this()] { self->drain(); };
  if (backend_->blocking()) {
    executor_.post_blocking(std::move(run));
  } else {
    executor_.post(std::move(run));
  }
}

void StoreCore::drain() {
  const std::lock_guard one_at_a_time(drain_mu_);
  for (;;) {
    std::vector<Item> group;
    {
      const std::lock_guard lock(pending_mu_);
      size_t rows = 0, bytes = 0;
      // An epoch begins a group: whoever sees a change finds the epochs that were in force when it was made, not one that was raised after it.
      while (!queue_.empty() && rows < kGroupRows && bytes < kGroupBytes && (group.empty() || queue_.front().epochs.empty())) {
        rows += queue_.front().writes.size() + 1;
        for (const Write& write : queue_.front().writes) bytes += write.version.object->json().size();
        group.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
      if (group.empty()) {
        draining_ = false;
        return;
      }
    }
    process(std::move(group));
  }
}

void StoreCore::process(std::vector<Item> items) {
  Group group;
  for (const Item& item : items) {
    for (const Write& write : item.writes) {
      const RowVersion& v = write.version;
      group.writes.push_back({v.row, v.deleted ? nullptr : v.object, v.revision_at, v.sealed});
    }
    group.epochs.insert(group.epochs.end(), item.epochs.begin(), item.epochs.end());
    group.revision = std::max(group.revision, item.end);
  }
  if (!group.writes.empty() || !group.epochs.empty()) {
    const Result<void> written = backend_->append(group);
    if (!written) {
      fail(std::move(items), written.error());
      return;
    }
    ++groups_;
    rows_ += group.writes.size();
    publish(items);
    forget_pending(items);
    arm_expiry();
  }
  answer(std::move(items));
}

void StoreCore::publish(std::vector<Item>& items) {
  std::vector<ObjectRef> dropped;  // destroyed after the locks
  std::vector<ChangeRef> expired;
  std::vector<ChangeRef> changes;
  const std::lock_guard sinks(sink_mu_);
  Revision end = revision();
  {
    const std::unique_lock lock(state_mu_);
    const uint64_t now = executor_.now();
    for (Item& item : items) {
      for (size_t i = 0; i < item.writes.size(); ++i) {
        Write& write = item.writes[i];
        const Key& key = write.version.object->key();
        Table& rows = table(key.kind);
        if (rows.traits() != write.traits) {  // the kind was registered anew since commit()
          const StoredObject& old = *write.version.object;
          Facets facets = rows.traits()->facets ? rows.traits()->facets(old.json()) : Facets();
          write.version.object = std::make_shared<StoredObject>(old.key(), old.revision(), old.json(), std::move(facets));
        }
        const RowVersion* newest = rows.newest(key.ns, key.name);
        auto change = std::make_shared<Change>();
        change->object = write.version.object;
        change->previous = newest && !newest->deleted ? newest->object : nullptr;
        change->type = write.version.deleted ? ChangeType::kDeleted : change->previous ? ChangeType::kModified : ChangeType::kAdded;
        change->revision = change->object->revision();
        change->end = i + 1 == item.writes.size();
        rows.add(write.version);
        history_.add(change, now);
        changes.push_back(std::move(change));
      }
      for (const FenceCheck& epoch : item.epochs) epochs_[epoch.slot] = epoch.epoch;
      if (!item.writes.empty()) end = item.end;
    }
    visible_.store(end, std::memory_order_release);
    expire(dropped, expired);
  }
  if (changes.empty()) return;
  for (const auto& [id, sink] : sinks_) sink(changes, end);
}

void StoreCore::forget_pending(const std::vector<Item>& items) {
  const std::lock_guard lock(pending_mu_);
  for (const Item& item : items) {
    for (const Write& write : item.writes) {
      const auto at = pending_.find(write.version.object->key());
      if (at != pending_.end() && at->second.object->revision() == write.version.object->revision()) pending_.erase(at);
    }
    for (const FenceCheck& epoch : item.epochs) {
      const auto at = pending_epochs_.find(epoch.slot);
      if (at != pending_epochs_.end() && at->second == epoch.epoch) pending_epochs_.erase(at);
    }
    if (!item.failure) ++commits_;
  }
}

// Everything behind the failed group may have been checked against it, so all of it fails.
void StoreCore::fail(std::vector<Item> items, const Error& error) {
  const bool passing = error.code == PINTLE_NO_SPACE || error.code == PINTLE_TIMEOUT;
  Error reason = error;
  {
    const std::lock_guard lock(pending_mu_);
    if (!passing) {
      reason = Error(PINTLE_UNAVAILABLE, "the store is read-only until restart: " + error.text);
      read_only_reason_ = reason.text;
      read_only_ = true;
    } else if (error.code == PINTLE_TIMEOUT) {
      reason.code = PINTLE_UNAVAILABLE;
    }
    while (!queue_.empty()) {
      items.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    pending_.clear();
    pending_epochs_.clear();
  }
  for (Item& item : items) item.failure = reason;
  failed_ += items.size();
  answer(std::move(items));
}

void StoreCore::answer(std::vector<Item> items) {
  const Revision visible = revision();
  const auto finish = [visible](Item& item) {
    if (item.failure) {
      item.done(Result<Committed>(std::move(*item.failure)));
      return;
    }
    Committed committed;
    committed.revision = item.writes.empty() ? visible : item.end;
    committed.objects.reserve(item.writes.size());
    for (Write& write : item.writes) committed.objects.push_back(std::move(write.version.object));
    item.done(std::move(committed));
  };
  const size_t chunk = executor_.simulated() ? 1 : kAnswerChunk;
  for (size_t from = 0; from < items.size(); from += chunk) {
    const auto begin = items.begin() + static_cast<ptrdiff_t>(from);
    const auto end = items.begin() + static_cast<ptrdiff_t>(std::min(items.size(), from + chunk));
    auto part = std::make_shared<std::vector<Item>>(std::make_move_iterator(begin), std::make_move_iterator(end));
    executor_.post([part, finish] {
      for (Item& item : *part) {
        if (item.done) finish(item);
      }
    });
  }
}

// With state_mu_ held for writing.
void StoreCore::expire(std::vector<ObjectRef>& dropped, std::vector<ChangeRef>& changes) {
  Revision pinned = UINT64_MAX;
  {
    const std::lock_guard lock(pins_mu_);
    if (!pins_.empty()) pinned = *pins_.begin();
  }
  const uint64_t now = executor_.now();
  while (ChangeRef change = history_.expire(now, pinned)) {
    table(change->object->key().kind).forget(change->object->key(), change->revision, dropped);
    changes.push_back(std::move(change));
  }
}

// A quiet store gives its memory back too: one timer for the oldest change, none when there is no history.
void StoreCore::arm_expiry() {
  uint64_t at = 0;
  {
    const std::shared_lock lock(state_mu_);
    at = history_.next_expiry();
  }
  const std::lock_guard lock(pending_mu_);
  if (at == 0 || expiry_timer_ != 0 || closed_) return;
  const uint64_t now = executor_.now();
  // A little later than due, so that one run clears many.
  const uint64_t delay = (at > now ? at - now : 0) + std::max<uint64_t>(options_.history_age_ns / 16, 1'000'000);
  expiry_timer_ = executor_.after(delay, [weak = weak_from_this()] {
    const std::shared_ptr<StoreCore> self = weak.lock();
    if (!self) return;
    {
      const std::lock_guard inner(self->pending_mu_);
      self->expiry_timer_ = 0;
    }
    std::vector<ObjectRef> dropped;
    std::vector<ChangeRef> expired;
    {
      const std::unique_lock state(self->state_mu_);
      self->expire(dropped, expired);
    }
    self->arm_expiry();
  });
}

Result<uint64_t> StoreCore::subscribe(Revision from, Store::ChangeSink sink) {
  const std::lock_guard lock(sink_mu_);
  std::vector<ChangeRef> changes;
  Revision end = 0;
  {
    const std::shared_lock state(state_mu_);
    end = revision();
    if (from > end) {
      return Error(PINTLE_INVALID, "revision " + std::to_string(from) + " is in the future; the newest is " + std::to_string(end));
    }
    if (from != 0 && from < history_.floor()) {
      return Error(PINTLE_EXPIRED, "revision " + std::to_string(from) + " is no longer kept; the oldest is " + std::to_string(history_.floor()));
    }
    if (from != 0) changes = history_.after(from);
  }
  sink(changes, end);
  const uint64_t id = ++last_sink_;
  sinks_.emplace(id, std::move(sink));
  return id;
}

void StoreCore::unsubscribe(uint64_t id) {
  Store::ChangeSink dropped;
  const std::lock_guard lock(sink_mu_);
  const auto at = sinks_.find(id);
  if (at == sinks_.end()) return;
  dropped = std::move(at->second);
  sinks_.erase(at);
}

json::Value StoreCore::metrics() const {
  json::Value out = backend_->metrics();
  {
    const std::shared_lock lock(state_mu_);
    uint64_t objects = 0, bytes = 0;
    for (const auto& [kind, rows] : tables_) {
      objects += rows.size();
      bytes += rows.bytes();
    }
    out.set("objects", objects);
    out.set("bytes", bytes);
    out.set("historyBytes", history_.bytes());
    out.set("historyChanges", static_cast<uint64_t>(history_.size()));
    out.set("historyFloor", history_.floor());
  }
  {
    const std::lock_guard lock(pending_mu_);
    out.set("pending", static_cast<uint64_t>(queue_.size()));
  }
  out.set("revision", revision());
  out.set("commits", commits_.load());
  out.set("refused", refused_.load());
  out.set("failed", failed_.load());
  out.set("groups", groups_.load());
  out.set("rows", rows_.load());
  out.set("readOnly", read_only_.load());
  return out;
}

void StoreCore::close() {
  {
    const std::lock_guard lock(pending_mu_);
    closed_ = true;
    if (expiry_timer_ != 0) executor_.cancel(expiry_timer_);
    expiry_timer_ = 0;
  }
  drain();
  const std::lock_guard one_at_a_time(drain_mu_);
  backend_->close();
}

}  // namespace pintle::kernel

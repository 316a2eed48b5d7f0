#include "kernel/bus/bus.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <unordered_map>

namespace pintle::kernel {
namespace {

// A change on its way to a watch.
struct Entry {
  ChangeRef change;
  Revision before;  // end of the transaction before the change's own: a bookmark as long as this one is queued
};

// What the store handed over at once.
struct Batch {
  std::vector<ChangeRef> changes;
  Revision end;
};

size_t cost(const Change& change) { return change.object->json().size() + sizeof(Entry); }

class Watch {
 public:
  struct Offered {
    bool wake = false;     // wake() has to follow
    bool expired = false;  // it fell behind just now
  };

  Watch(WatchOptions options, std::function<void()> wake)
      : options_(std::move(options)), wake_(std::make_shared<const std::function<void()>>(std::move(wake))) {}

  const std::string& kind() const { return options_.kind; }
  // Before the dispatcher knows the watch: what came since it was asked to start, whatever its size. Changes up to `at` are
  // in it; what the dispatcher still brings of them is skipped. Returns true when wake() has to follow.
  bool start(const std::vector<Entry>& entries, Revision at) {
    allowance_ = SIZE_MAX / 2;
    const bool wake = offer(entries).wake;
    const std::lock_guard lock(mu_);
    allowance_ = bytes_;
    start_ = at;
    return wake;
  }

  Offered offer(const std::vector<Entry>& entries) {
    const std::lock_guard lock(mu_);
    if (closed_) return {};
    bool added = false;
    for (const Entry& entry : entries) {
      if (entry.change->revision <= start_ || !wants(*entry.change)) continue;
      const size_t bytes = cost(*entry.change);
      if (!queue_.empty() && bytes_ + bytes > options_.budget_bytes + allowance_) {
        queue_.clear();
        bytes_ = 0;
        return {end_locked(PINTLE_EXPIRED), true};
      }
      bytes_ += bytes;
      queue_.push_back(entry);
      added = true;
    }
    if (!added || !waiting_) return {};
    waiting_ = false;
    return {true, false};
  }

  // What is queued may still be taken. Returns true when wake() has to follow.
  bool end(pintle_code code) {
    const std::lock_guard lock(mu_);
    return !closed_ && end_locked(code);
  }

  size_t bytes() const {
    const std::lock_guard lock(mu_);
    return bytes_;
  }

  // `dispatched`: everything up to it had been offered to all watches before this call.
  WatchBatch take(size_t max, Revision dispatched) {
    WatchBatch out;
    const std::lock_guard lock(mu_);
    const size_t n = max == 0 ? queue_.size() : std::min(max, queue_.size());
    out.changes.reserve(n);
    for (size_t i = 0; i < n; ++i) {
      bytes_ -= cost(*queue_.front().change);
      out.changes.push_back(std::move(queue_.front().change));
      queue_.pop_front();
    }
    allowance_ = std::min(allowance_, bytes_);
    if (!closed_) {  // a closed watch misses things: no bookmark beyond what it had
      Revision progress = std::max(dispatched, start_);
      if (!queue_.empty()) progress = std::min(progress, queue_.front().before);
      progress_ = std::max(progress_, progress);
    }
    out.progress = progress_;
    if (queue_.empty() && closed_) {
      out.closed = true;
      out.code = code_;
    }
    waiting_ = n == 0 && !closed_;
    return out;
  }

  // Recursive: a wake that calls back into the bus must not hang.
  void wake() {
    const std::lock_guard lock(wake_mu_);
    const auto wake = wake_;  // stays alive when it silences itself
    if (wake && *wake) (*wake)();
  }
  void silence() {
    const std::lock_guard lock(wake_mu_);
    wake_ = nullptr;
  }

 private:
  bool wants(const Change& change) const {
    const Key& key = change.object->key();
    return (options_.ns.empty() || key.ns == options_.ns) && (options_.name.empty() || key.name == options_.name);
  }
  bool end_locked(pintle_code code) {
    closed_ = true;
    code_ = code;
    const bool wake = waiting_;
    waiting_ = false;
    return wake;
  }

  const WatchOptions options_;
  mutable std::mutex mu_;
  Revision start_ = 0;
  size_t allowance_ = 0;  // what is left of the start, on top of the budget
  std::deque<Entry> queue_;
  size_t bytes_ = 0;
  Revision progress_ = 0;
  bool waiting_ = true;  // nothing was there when somebody last looked
  bool closed_ = false;
  pintle_code code_ = PINTLE_OK;
  std::recursive_mutex wake_mu_;
  std::shared_ptr<const std::function<void()>> wake_;
};
using WatchRef = std::shared_ptr<Watch>;

// Lives on in dispatch tasks and in the store's sink, so that none of them needs the bus itself.
class Fanout : public std::enable_shared_from_this<Fanout> {
 public:
  explicit Fanout(Executor& executor) : executor_(executor) {}

  // The store's sink: queues only, the work is done by dispatch() on the executor.
  void receive(const std::vector<ChangeRef>& changes, Revision end) {
    {
      const std::lock_guard lock(mu_);
      inbox_.push_back({changes, end});
      if (dispatching_) return;
      dispatching_ = true;
    }
    executor_.post([self = shared_from_this()] { self->dispatch(); });
  }

  uint64_t add(const WatchRef& watch) {
    const std::lock_guard lock(mu_);
    const uint64_t id = ++last_id_;
    watches_.emplace(id, watch);
    by_kind_[watch->kind()].emplace(id, watch);
    return id;
  }

  WatchRef find(uint64_t id) const {
    const std::lock_guard lock(mu_);
    const auto at = watches_.find(id);
    return at == watches_.end() ? nullptr : at->second;
  }

  WatchRef remove(uint64_t id) {
    const std::lock_guard lock(mu_);
    const auto at = watches_.find(id);
    if (at == watches_.end()) return nullptr;
    WatchRef watch = std::move(at->second);
    watches_.erase(at);
    const auto kind = by_kind_.find(watch->kind());
    kind->second.erase(id);
    if (kind->second.empty()) by_kind_.erase(kind);
    return watch;
  }

  std::vector<WatchRef> of_kind(const std::string& kind) const {
    std::vector<WatchRef> out;
    const std::lock_guard lock(mu_);
    const auto at = by_kind_.find(kind);
    if (at == by_kind_.end()) return out;
    for (const auto& [id, watch] : at->second) out.push_back(watch);
    return out;
  }
  std::vector<WatchRef> all() const {
    std::vector<WatchRef> out;
    const std::lock_guard lock(mu_);
    for (const auto& [id, watch] : watches_) out.push_back(watch);
    return out;
  }

  void started_at(Revision revision) { dispatched_ = revision; }
  Revision dispatched() const { return dispatched_.load(std::memory_order_acquire); }
  uint64_t changes() const { return changes_; }
  uint64_t expired() const { return expired_; }
  uint64_t backlog() const {
    const std::lock_guard lock(mu_);
    return inbox_.size();
  }

 private:
  void dispatch() {
    for (;;) {
      Batch batch;
      {
        const std::lock_guard lock(mu_);
        if (inbox_.empty()) {
          dispatching_ = false;
          return;
        }
        batch = std::move(inbox_.front());
        inbox_.pop_front();
      }
      deliver(batch);
      dispatched_.store(batch.end, std::memory_order_release);
      if (executor_.simulated()) break;
    }
    // In simulation others get their turn between two batches.
    executor_.post([self = shared_from_this()] { self->dispatch(); });
  }

  void deliver(const Batch& batch) {
    std::map<std::string_view, std::vector<Entry>> by_kind;  // views into objects that the batch holds
    std::vector<Entry> every;
    {
      const std::lock_guard lock(mu_);
      const bool all = by_kind_.contains("");
      Revision before = dispatched_;
      std::string_view kind;
      bool wanted = false;
      for (const ChangeRef& change : batch.changes) {
        if (change->object->key().kind != kind) {
          kind = change->object->key().kind;
          wanted = by_kind_.contains(std::string(kind));
        }
        if (wanted) by_kind[kind].push_back({change, before});
        if (all) every.push_back({change, before});
        if (change->end) before = change->revision;
      }
    }
    changes_ += batch.changes.size();
    for (const auto& [kind, entries] : by_kind) offer(of_kind(std::string(kind)), entries);
    if (!every.empty()) offer(of_kind(""), every);
  }

  void offer(const std::vector<WatchRef>& watches, const std::vector<Entry>& entries) {
    for (const WatchRef& watch : watches) {
      const Watch::Offered offered = watch->offer(entries);
      if (offered.expired) ++expired_;
      if (offered.wake) watch->wake();
    }
  }

  Executor& executor_;
  mutable std::mutex mu_;
  std::deque<Batch> inbox_;
  bool dispatching_ = false;
  std::unordered_map<uint64_t, WatchRef> watches_;
  std::unordered_map<std::string, std::map<uint64_t, WatchRef>> by_kind_;
  uint64_t last_id_ = 0;
  std::atomic<Revision> dispatched_ = 0;
  std::atomic<uint64_t> changes_ = 0, expired_ = 0;
};

class StoreBus final : public Bus {
 public:
  StoreBus(Store& store, Executor& executor) : store_(store), fanout_(std::make_shared<Fanout>(executor)) {
    bool first = true;
    const Result<uint64_t> subscription =
        store_.subscribe(0, [fanout = fanout_, first](const std::vector<ChangeRef>& changes, Revision end) mutable {
          if (first) {
            fanout->started_at(end);
            first = false;
            return;
          }
          fanout->receive(changes, end);
        });
    subscription_ = subscription ? *subscription : 0;
  }
  ~StoreBus() override {
    store_.unsubscribe(subscription_);
    for (const WatchRef& watch : fanout_->all()) watch->silence();
  }

  Result<uint64_t> watch(const WatchOptions& options, std::function<void()> wake) override {
    auto watch = std::make_shared<Watch>(options, std::move(wake));
    uint64_t id = 0;
    bool first = true;
    bool wake_now = false;
    // Within the first call nothing is published, so what it brings and what the dispatcher brings later join exactly.
    const Result<uint64_t> replay =
        store_.subscribe(options.from, [&, first](const std::vector<ChangeRef>& changes, Revision end) mutable {
          if (!first) return;
          first = false;
          wake_now = begin(*watch, options, changes, end);
          id = fanout_->add(watch);
        });
    if (!replay) return replay.error();
    store_.unsubscribe(*replay);
    if (wake_now) watch->wake();
    return id;
  }

  WatchBatch take(uint64_t id, size_t max) override {
    const Revision dispatched = fanout_->dispatched();  // before the queue is looked at
    const WatchRef watch = fanout_->find(id);
    if (watch) return watch->take(max, dispatched);
    WatchBatch gone;
    gone.closed = true;
    gone.code = PINTLE_CANCELLED;
    return gone;
  }

  void unwatch(uint64_t id) override {
    const WatchRef watch = fanout_->remove(id);
    if (watch) watch->silence();
  }

  void close_kind(const std::string& kind) override {
    for (const WatchRef& watch : fanout_->of_kind(kind)) {
      if (watch->end(PINTLE_NOT_FOUND)) watch->wake();
    }
  }

  json::Value metrics() const override {
    uint64_t queued = 0;
    const std::vector<WatchRef> watches = fanout_->all();
    for (const WatchRef& watch : watches) queued += watch->bytes();
    return json::Value::object({{"watches", static_cast<uint64_t>(watches.size())},
                                {"queuedBytes", queued},
                                {"backlog", fanout_->backlog()},
                                {"changes", fanout_->changes()},
                                {"expired", fanout_->expired()},
                                {"revision", fanout_->dispatched()}});
  }

 private:
  static bool begin(Watch& watch, const WatchOptions& options, const std::vector<ChangeRef>& changes, Revision end) {
    std::vector<Entry> entries;
    Revision before = options.from;
    for (const ChangeRef& change : changes) {
      if (options.kind.empty() || change->object->key().kind == options.kind) entries.push_back({change, before});
      if (change->end) before = change->revision;
    }
    return watch.start(entries, end);
  }

  Store& store_;
  const std::shared_ptr<Fanout> fanout_;
  uint64_t subscription_ = 0;
};

}  // namespace

std::unique_ptr<Bus> make_bus(Store& store, Executor& executor) { return std::make_unique<StoreBus>(store, executor); }

}  // namespace pintle::kernel

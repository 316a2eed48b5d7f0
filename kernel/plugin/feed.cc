#include "kernel/plugin/feed.h"

#include <deque>

#include "kernel/base/raw_field.h"

namespace pintle::kernel {
namespace {

struct Selector {
  LabelSelector labels;
  bool by_label = false;
  struct Field {
    std::vector<std::string> path;
    std::string value;
    bool equal;
  };
  std::vector<Field> fields;

  bool matches(const StoredObject& o) const {
    if (by_label && !labels.matches(o.facets().labels)) return false;
    for (const auto& f : fields)
      if ((plain_text(raw_field(o.json(), f.path)) == f.value) != f.equal) return false;
    return true;
  }
};

Result<Selector> parse(const StoreQuery& query, const Kind* kind) {
  Selector s;
  if (!query.label_selector.empty()) {
    auto labels = LabelSelector::parse(query.label_selector);
    if (!labels) return labels.error();
    s.labels = std::move(*labels);
    s.by_label = true;
  }
  if (!query.field_selector.empty()) {
    auto fields = parse_field_selector(query.field_selector);
    if (!fields) return fields.error();
    for (auto& f : *fields) {
      bool known = f.field == "metadata.name" || f.field == "metadata.namespace";
      if (kind) {
        for (const auto& path : kind->selectable) known |= path == f.field;
        for (const auto& [alias, path] : kind->selectable_alias)
          if (alias == f.field) {
            f.field = path;
            known = true;
          }
      }
      if (!known) return Error(PINTLE_BAD_REQUEST, "field label not supported: " + f.field);
      s.fields.push_back({split_path(f.field), std::move(f.value), f.equal});
    }
  }
  return s;
}

// Threads: take() one at a time.
class Feed final : public WatchFeed {
 public:
  Feed(Bus& bus, Selector selector) : bus_(bus), selector_(std::move(selector)) {}
  ~Feed() override {
    if (id_) bus_.unwatch(id_);
  }
  std::vector<WatchEvent> take(size_t max) override {
    std::vector<WatchEvent> out;
    while (!initial_.empty() && out.size() < max) {
      out.push_back({PINTLE_EVENT_ADDED, initial_.front(), nullptr, initial_.front()->revision(), PINTLE_OK});
      initial_.pop_front();
    }
    if (initial_.empty() && !synced_ && out.size() < max) {
      synced_ = true;
      out.push_back({PINTLE_EVENT_SYNCED, nullptr, nullptr, revision_, PINTLE_OK});
    }
    // A batch without a matching change must not look like "nothing there".
    while (synced_ && !closed_ && out.size() < max) {
      WatchBatch batch = bus_.take(id_, max - out.size());
      for (auto& change : batch.changes) add(*change, out);
      if (batch.closed) {
        closed_ = true;
        out.push_back({PINTLE_EVENT_CLOSED, nullptr, nullptr, batch.progress, batch.code});
      }
      if (batch.changes.empty()) break;
    }
    return out;
  }

  std::deque<ObjectRef> initial_;
  bool synced_ = false, closed_ = false;
  Revision revision_ = 0;
  uint64_t id_ = 0;

 private:
  void add(const Change& c, std::vector<WatchEvent>& out) const {
    const bool before = c.previous && selector_.matches(*c.previous);
    const bool after = c.type != ChangeType::kDeleted && selector_.matches(*c.object);
    if (!before && !after) {
      // Deleted objects without a known previous state are judged by their last one.
      if (c.type == ChangeType::kDeleted && !c.previous && selector_.matches(*c.object))
        out.push_back({PINTLE_EVENT_DELETED, c.object, nullptr, c.revision, PINTLE_OK});
      return;
    }
    const auto type = !after ? PINTLE_EVENT_DELETED : before ? PINTLE_EVENT_MODIFIED : PINTLE_EVENT_ADDED;
    out.push_back({type, c.object, c.previous, c.revision, PINTLE_OK});
  }
  Bus& bus_;
  const Selector selector_;
};

}  // namespace

Result<std::unique_ptr<WatchFeed>> open_feed(Store& store, Bus& bus, std::shared_ptr<const Kind> kind, const StoreQuery& query,
                                             std::function<void()> wake) {
  Result<Selector> selector = parse(query, kind.get());
  if (!selector) return selector.error();
  auto feed = std::make_unique<Feed>(bus, *selector);
  WatchOptions options;
  if (kind) options.kind = kind->same_storage_as.empty() ? kind->name() : kind->same_storage_as;
  options.ns = query.ns;
  options.budget_bytes = 16u << 20;
  options.from = query.revision;
  if (query.revision != 0) {
    feed->synced_ = true;
  } else {
    std::vector<std::string> kinds;
    if (kind) kinds.push_back(options.kind);
    else kinds = store.kinds();
    Revision at = store.revision();
    for (const auto& k : kinds) {
      ListQuery list;
      list.kind = k;
      list.ns = query.ns;
      list.at = kinds.size() > 1 ? at : 0;
      Result<ListPage> page = store.list(list);
      if (!page) return page.error();
      if (kinds.size() == 1) at = page->revision;
      for (auto& object : page->objects)
        if (selector->matches(*object)) feed->initial_.push_back(std::move(object));
    }
    options.from = feed->revision_ = at;
    if (at == 0) options.from = 0;  // an empty store: everything is still to come
  }
  Result<uint64_t> id = bus.watch(options, std::move(wake));
  if (!id) return id.error();
  feed->id_ = *id;
  return std::unique_ptr<WatchFeed>(std::move(feed));
}

}  // namespace pintle::kernel

#include "kernel/run/reconcile_watch.h"

#include "kernel/base/raw_field.h"

namespace pintle::kernel {
namespace {

constexpr uint64_t kRelistNs = 1000000000;
constexpr uint32_t kMapMethod = 1;

std::string object_key(const Key& k) { return k.ns.empty() ? k.name : k.ns + "/" + k.name; }

std::string group_of(std::string_view api_version) {
  const size_t slash = api_version.find('/');
  return slash == std::string_view::npos ? std::string() : std::string(api_version.substr(0, slash));
}

const std::vector<std::string> kOwners = {"metadata", "ownerReferences"};

}  // namespace

Result<WatchSpec> WatchSpec::parse(const json::Value& v) {
  WatchSpec s;
  s.kind = v["kind"].as_string();
  s.map = v["map"].as_string("self");
  if (s.kind.empty()) return Error(PINTLE_INVALID, "a watch names no kind");
  const auto begins = [&](const char* prefix) { return s.map.rfind(prefix, 0) == 0 && s.map.size() > std::string_view(prefix).size(); };
  if (s.map != "self" && s.map != "namespace" && s.map != "call" && !begins("owner:") && !begins("label:"))
    return Error(PINTLE_INVALID, "watch on \"" + s.kind + "\": map \"" + s.map + "\" is not self, owner:KIND, namespace, label:KEY or call");
  for (const auto& f : v["fields"].items()) s.fields.push_back(split_path(f.as_string()));
  return s;
}

ReconcileWatch::ReconcileWatch(const ReconcileServices& services, std::string controller, WatchSpec spec, Keys keys)
    : services_(services), controller_(std::move(controller)), spec_(std::move(spec)), keys_(std::move(keys)) {}

ReconcileWatch::~ReconcileWatch() = default;

void ReconcileWatch::start() {
  services_.executor.post([self = shared_from_this()] { self->list_and_watch(); });
}

std::vector<std::string> ReconcileWatch::storage_kinds() const {
  if (spec_.kind == "*") return services_.store.kinds();
  return {services_.storage_of ? services_.storage_of(spec_.kind) : spec_.kind};
}

void ReconcileWatch::list_and_watch() {
  WatchOptions options;
  if (spec_.kind != "*") options.kind = storage_kinds().front();
  options.budget_bytes = 16u << 20;
  std::weak_ptr<ReconcileWatch> weak = weak_from_this();
  {
    std::lock_guard lock(mutex_);
    if (stopped_ || watch_ != 0) return;
  }
  // The watch first: what changes while we list comes twice rather than never.
  Result<uint64_t> id = services_.bus.watch(options, [weak] {
    if (auto self = weak.lock()) self->wake();
  });
  if (!id) {
    services_.log(2, "watch on \"" + spec_.kind + "\": " + id.error().text);
    return again_later();
  }
  bool ended;
  {
    std::lock_guard lock(mutex_);
    ended = stopped_;
    if (!ended) watch_ = *id;
  }
  if (ended) return services_.bus.unwatch(*id);
  list();
  wake();
}

void ReconcileWatch::list() {
  std::vector<std::string> keys;
  for (const auto& kind : storage_kinds()) {
    ListQuery query;
    query.kind = kind;
    Result<ListPage> page = services_.store.list(query);
    if (!page) {
      services_.log(3, "list of \"" + kind + "\": " + page.error().text);
      again_later();
      continue;
    }
    for (const auto& object : page->objects) map("ADDED", object, nullptr, keys);
  }
  if (!keys.empty()) keys_(keys);
}

void ReconcileWatch::resync() {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
  }
  list();
}

void ReconcileWatch::again_later() {
  std::lock_guard lock(mutex_);
  if (stopped_ || timer_ != 0) return;
  timer_ = services_.executor.after(kRelistNs, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    bool have;
    {
      std::lock_guard inner(self->mutex_);
      self->timer_ = 0;
      have = self->watch_ != 0;
    }
    if (have) self->resync();
    else self->list_and_watch();
  });
}

void ReconcileWatch::wake() {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    if (pumping_) {
      again_ = true;
      return;
    }
    pumping_ = true;
  }
  services_.executor.post([self = shared_from_this()] { self->pump(); });
}

void ReconcileWatch::pump() {
  uint64_t id;
  {
    std::lock_guard lock(mutex_);
    again_ = false;
    id = watch_;
    if (stopped_ || id == 0) {
      pumping_ = false;
      return;
    }
  }
  WatchBatch batch = services_.bus.take(id, 256);
  std::vector<std::string> keys;
  for (const auto& change : batch.changes) apply(*change, keys);
  if (!keys.empty()) keys_(keys);
  bool more;
  {
    std::lock_guard lock(mutex_);
    if (batch.closed) watch_ = 0;
    more = !batch.closed && !stopped_ && (!batch.changes.empty() || again_);
    if (!more) pumping_ = false;
  }
  if (batch.closed) {
    services_.bus.unwatch(id);
    if (batch.code == PINTLE_EXPIRED) list_and_watch();  // fell behind: at once
    else again_later();
  }
  if (more) services_.executor.post([self = shared_from_this()] { self->pump(); });
}

void ReconcileWatch::apply(const Change& change, std::vector<std::string>& keys) {
  if (change.type == ChangeType::kModified && !spec_.fields.empty() && change.previous) {
    bool changed = false;
    for (const auto& path : spec_.fields)
      changed |= raw_field(change.object->json(), path) != raw_field(change.previous->json(), path);
    if (!changed) return;
  }
  const char* type = change.type == ChangeType::kAdded ? "ADDED" : change.type == ChangeType::kModified ? "MODIFIED" : "DELETED";
  map(type, change.object, change.previous, keys);
}

void ReconcileWatch::map(const char* type, const ObjectRef& object, const ObjectRef& previous, std::vector<std::string>& keys) {
  if (spec_.map != "call") {
    key_of(*object, keys);
    if (previous && spec_.map != "self") key_of(*previous, keys);  // it may have moved from one key to another
    return;
  }
  std::string request = "{\"controller\":";
  json::quote(controller_, request);
  request += ",\"kind\":";
  json::quote(object->key().kind, request);
  request += std::string(",\"type\":\"") + type + "\",\"object\":" + std::string(object->json()) +
             ",\"previous\":" + (previous ? std::string(previous->json()) : "null") + "}";
  services_.call(kMapMethod, std::move(request), [self = shared_from_this()](Result<std::string> r) {
    if (!r) {
      if (r.error().code != PINTLE_UNAVAILABLE) self->services_.log(3, "map: " + r.error().text);
      return self->again_later();  // level-based: all keys come again
    }
    std::vector<std::string> mapped;
    const json::Value reply = json::parse_or_null(*r);
    for (const auto& k : reply["keys"].items()) mapped.emplace_back(k.as_string());
    if (!mapped.empty()) self->keys_(mapped);
  });
}

void ReconcileWatch::key_of(const StoredObject& object, std::vector<std::string>& keys) const {
  const Key& k = object.key();
  if (spec_.map == "self") {
    keys.push_back(object_key(k));
  } else if (spec_.map == "namespace") {
    if (!k.ns.empty()) keys.push_back(k.ns);
  } else if (spec_.map.rfind("label:", 0) == 0) {
    const std::string_view value = plain_text(raw_field(object.json(), {"metadata", "labels", spec_.map.substr(6)}));
    if (!value.empty()) keys.push_back(k.ns.empty() ? std::string(value) : k.ns + "/" + std::string(value));
  } else {
    const std::string_view raw = raw_field(object.json(), kOwners);
    if (raw.empty()) return;
    const auto [group, kind] = services_.kind_of(spec_.map.substr(6));
    const json::Value owners = json::parse_or_null(raw);
    for (const auto& o : owners.items())
      if (o["controller"].as_bool() && o["kind"].as_string() == kind && group_of(o["apiVersion"].as_string()) == group)
        keys.push_back(k.ns.empty() ? std::string(o["name"].as_string()) : k.ns + "/" + std::string(o["name"].as_string()));
  }
}

void ReconcileWatch::stop() {
  uint64_t id;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    id = std::exchange(watch_, 0);
    if (timer_) services_.executor.cancel(timer_);
  }
  if (id) services_.bus.unwatch(id);
}

}  // namespace pintle::kernel

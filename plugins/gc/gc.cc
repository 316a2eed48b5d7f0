// The plugin `gc`: a watch on everything fills the graph, the controller's map says which objects to look at, the
// collector decides.
#include <memory>

#include "pintle/plugin.h"
#include "plugins/gc/collector.h"

namespace pintle::gc {
namespace {
constexpr uint64_t kAgain = 200000000;  // ns
constexpr int64_t kNotYetMs = 100;

std::string group_of(std::string_view api_version) {
  const size_t slash = api_version.find('/');
  return slash == std::string_view::npos ? std::string() : std::string(api_version.substr(0, slash));
}
}  // namespace

class Gc final : public Plugin, public ControllerProvider {
 public:
  Gc(Host h, const json::Value&)
      : Plugin(h), collector_(h), metadata_(h.path("metadata")), kind_(h.path("kind")), api_version_(h.path("apiVersion")) {}

  void start() override { watch(); }
  void stop() override {
    Watch all;    // ended outside of the lock: their functions take it
    Timer again;
    std::lock_guard lock(mutex_);
    stopped_ = true;
    all = std::move(watch_);
    again = std::move(again_);
  }

  void describe(json::Value, Call call) override {
    const json::Value everything = json::Value::object(
        {{"kind", "*"},
         {"map", "call"},
         {"fields", json::Value::array({"metadata.ownerReferences", "metadata.finalizers", "metadata.deletionTimestamp"})}});
    call.reply(json::Value::object(
        {{"controllers", json::Value::array({json::Value::object(
                             {{"name", "gc"}, {"workers", 4}, {"watches", json::Value::array({everything})}})})}}));
  }

  void map(json::Value request, Call call) override {
    const json::Value &object = request["object"], &meta = object["metadata"];
    const Place place{std::string(request["kind"].as_string()), std::string(meta["namespace"].as_string()),
                      std::string(meta["name"].as_string()), std::string(meta["uid"].as_string())};
    Graph& graph = collector_.graph();
    json::Value keys = json::Value::array();
    if (request["type"].as_string() == "DELETED") {
      if (graph.has_dependents(place.uid)) keys.push(place.key());
      graph.gone(place.uid);
      // An owner may wait for this one in the foreground.
      for (const auto& r : meta["ownerReferences"].items())
        if (const auto owner = collector_.owner_place(r, place.ns); owner && r["blockOwnerDeletion"].as_bool()) keys.push(owner->key());
    } else {
      graph.learn(group_of(object["apiVersion"].as_string()), std::string(object["kind"].as_string()), place.kind, !place.ns.empty());
      graph.seen(place, meta["ownerReferences"], meta.contains("deletionTimestamp"));
      bool waits = !meta["ownerReferences"].empty();
      if (meta.contains("deletionTimestamp"))
        for (const auto& f : meta["finalizers"].items())
          waits = waits || f.as_string() == "orphan" || f.as_string() == "foregroundDeletion";
      if (waits) keys.push(place.key());
    }
    call.reply(json::Value::object({{"keys", std::move(keys)}}));
  }

  void reconcile(json::Value request, Call call) override {
    struct Batch {
      explicit Batch(Call c) : call(std::move(c)) {}
      Call call;
      std::mutex mutex;
      json::Value results = json::Value::array();
      size_t left = 0;
    };
    const json::Value keys = request["keys"];
    if (keys.empty()) return call.reply(json::Value::object({{"results", json::Value::array()}}));
    auto batch = std::make_shared<Batch>(std::move(call));
    batch->left = keys.size();
    for (const auto& k : keys.items()) {
      const std::string key(k.as_string());
      const Answered answered = [batch, key](json::Value result) {
        result.set("key", key);
        std::lock_guard lock(batch->mutex);
        batch->results.push(std::move(result));
        if (--batch->left == 0) batch->call.reply(json::Value::object({{"results", std::move(batch->results)}}));
      };
      const auto place = Place::parse(key);
      if (!place) answered(json::Value::object({{"result", "done"}}));
      else if (!synced()) answered(json::Value::object({{"result", "after"}, {"afterMs", kNotYetMs}}));
      else collector_.reconcile(*place, answered);
    }
  }

 private:
  bool synced() const {
    std::lock_guard lock(mutex_);
    return synced_;
  }

  // The graph must be complete before anything is decided: the map above sees objects in no particular order.
  void watch() {
    auto opened = host.watch({.kind = "*"}, [this](const Event& e) { apply(e); });
    Watch old;
    std::lock_guard lock(mutex_);
    if (stopped_) {
      if (opened) old = std::move(*opened);
    } else if (opened) {
      old = std::move(watch_);
      watch_ = std::move(*opened);
    } else {
      host.warn("cannot watch all kinds: " + opened.error().text);
      again_ = host.after(kAgain, [this] { watch(); });
    }
  }

  void apply(const Event& e) {
    if (e.type == PINTLE_EVENT_SYNCED || e.type == PINTLE_EVENT_CLOSED) {
      if (e.type == PINTLE_EVENT_CLOSED) collector_.graph().doubt();
      std::lock_guard lock(mutex_);
      synced_ = e.type == PINTLE_EVENT_SYNCED;
      if (!synced_ && !stopped_) again_ = host.after(kAgain, [this] { watch(); });
      return;
    }
    const json::Value meta = json::parse_or_null(e.object.field(metadata_));
    const Place place{std::string(e.object.kind()), std::string(meta["namespace"].as_string()), std::string(meta["name"].as_string()),
                      std::string(meta["uid"].as_string())};
    if (e.type == PINTLE_EVENT_DELETED) return collector_.graph().gone(place.uid);
    if (e.type == PINTLE_EVENT_ADDED)
      collector_.graph().learn(group_of(e.object.text(api_version_)), std::string(e.object.text(kind_)), place.kind, !place.ns.empty());
    collector_.graph().seen(place, meta["ownerReferences"], meta.contains("deletionTimestamp"));
  }

  Collector collector_;
  const uint32_t metadata_, kind_, api_version_;
  mutable std::mutex mutex_;
  bool synced_ = false, stopped_ = false;  // guarded by mutex_
  Watch watch_;                            // guarded by mutex_
  Timer again_;                            // guarded by mutex_
};

}  // namespace pintle::gc

PINTLE_PLUGIN(pintle::gc::Gc)

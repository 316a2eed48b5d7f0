// The plugin: a controller of ReplicaSets and the hooks of the kind.
#include "pintle/labels.h"
#include "pintle/plugin.h"
#include "pintle/workload.h"
#include "sync.h"

namespace pintle::replicaset {

class ReplicaSets final : public Plugin, public ControllerProvider, public ResourceProvider {
 public:
  ReplicaSets(Host h, const json::Value& config)
      : Plugin(h), workers_(config["workers"].as_int(4)), events_(h, "replicaset-controller"), owner_path_(h.path("metadata.ownerReferences")) {}

  void stop() override { events_.close(); }

  void describe(json::Value, Call call) override {
    const auto watch = [](const char* kind, const char* map) { return json::Value::object({{"kind", kind}, {"map", map}}); };
    json::Value pods = watch("pods", "call");
    // What a kubelet reports beside these does not matter here.
    pods.set("fields", json::Value::array({"metadata.labels", "metadata.ownerReferences", "metadata.deletionTimestamp", "status.phase",
                                           "status.conditions"}));
    call.reply(json::Value::object(
        {{"controllers", json::Value::array({json::Value::object(
                             {{"name", "replicaset"},
                              {"workers", workers_},
                              {"resyncSeconds", 600},
                              {"batch", json::Value::object({{"max", 1}, {"delayMs", 0}})},
                              {"watches", json::Value::array({watch("replicasets.apps", "self"), std::move(pods)})}})})}}));
  }

  // A pod means its controlling set, the one that controlled it before, and without a controller every set that could adopt it.
  void map(json::Value request, Call call) override {
    json::Value keys = json::Value::array();
    const std::string ns(request.at("object.metadata.namespace").as_string());
    const auto add = [&](const json::Value& pod) {
      const json::Value& owner = controller_of(pod);
      if (owner["kind"].as_string() == "ReplicaSet") keys.push(ns + "/" + std::string(owner["name"].as_string()));
    };
    add(request["object"]);
    if (controller_uid(request["previous"]) != controller_uid(request["object"])) add(request["previous"]);
    if (controller_of(request["object"]).is_null() && request["type"].as_string() != "DELETED") {
      const auto sets = host.list({.kind = "replicasets.apps", .ns = ns});
      if (sets.ok())
        for (const Object& o : sets->objects) {
          const json::Value set = o.json();
          const auto selector = Selector::from_object(set.at("spec.selector"));
          if (selector.ok() && !selector->empty() && selector->matches(request.at("object.metadata.labels")))
            keys.push(ns + "/" + std::string(set.at("metadata.name").as_string()));
        }
    }
    call.reply(json::Value::object({{"keys", std::move(keys)}}));
  }

  void reconcile(json::Value request, Call call) override {
    struct Batch {
      Call call;
      std::mutex mutex;
      json::Value results = json::Value::array();
      size_t open;
    };
    auto batch = std::make_shared<Batch>();
    batch->call = std::move(call);
    batch->open = request["keys"].size();
    if (batch->open == 0) return batch->call.reply(json::Value::object({{"results", json::Value::array()}}));
    for (const auto& key : request["keys"].items()) {
      auto sync = std::make_shared<Sync>(host, events_, std::string(key.as_string()), owner_path_, [batch](json::Value result) {
        std::unique_lock lock(batch->mutex);
        batch->results.push(std::move(result));
        if (--batch->open > 0) return;
        lock.unlock();
        batch->call.reply(json::Value::object({{"results", std::move(batch->results)}}));
      });
      sync->run();
    }
  }

  void validate_object(json::Value request, Call call) override {
    call.reply(json::Value::object({{"causes", workload_causes(request["object"]["spec"], "ReplicaSet")}}));
  }

  void table(json::Value request, Call call) override {
    json::Value rows = json::Value::array();
    for (const auto& o : request["objects"].items())
      rows.push(json::Value::object({{"cells", json::Value::object({{"Current", o.at("status.replicas").as_int()},
                                                                    {"Ready", o.at("status.readyReplicas").as_int()}})}}));
    call.reply(json::Value::object({{"rows", std::move(rows)}}));
  }

 private:
  const int64_t workers_;
  EventRecorder events_;
  const uint32_t owner_path_;
};

}  // namespace pintle::replicaset

PINTLE_PLUGIN(pintle::replicaset::ReplicaSets)

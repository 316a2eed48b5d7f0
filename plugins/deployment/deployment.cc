// The plugin: a controller of Deployments and the hooks of the kind.
#include <mutex>

#include "config_hash.h"
#include "pintle/labels.h"
#include "pintle/plugin.h"
#include "pintle/workload.h"
#include "sync.h"

namespace pintle::deployment {
namespace {

json::Value cause(const char* reason, const char* field, std::string message) {
  return json::Value::object({{"reason", reason}, {"field", field}, {"message", std::move(message)}});
}

bool is_amount(const json::Value& v) {
  if (v.is_int()) return v.as_int() >= 0;
  std::string_view s = v.as_string();
  if (s.size() < 2 || s.back() != '%') return false;
  s.remove_suffix(1);
  return s.find_first_not_of("0123456789") == std::string_view::npos;
}

json::Value strategy_causes(const json::Value& spec) {
  json::Value causes = json::Value::array();
  const json::Value &strategy = spec["strategy"], &rolling = strategy["rollingUpdate"];
  if (strategy["type"].as_string() == "Recreate" && rolling.is_object())
    causes.push(cause("FieldValueForbidden", "spec.strategy.rollingUpdate",
                      "Forbidden: may not be specified when strategy `type` is 'Recreate'"));
  if (rolling.is_object() && strategy["type"].as_string("RollingUpdate") == "RollingUpdate") {
    for (const char* field : {"maxUnavailable", "maxSurge"})
      if (!rolling[field].is_null() && !is_amount(rolling[field]))
        causes.push(json::Value::object({{"reason", "FieldValueInvalid"}, {"field", std::string("spec.strategy.rollingUpdate.") + field},
                                         {"message", "Invalid value: " + rolling[field].dump() + ": must be a non-negative number or a percentage (e.g. '25%')"}}));
    const auto zero = [](const json::Value& v) { return (v.is_int() && v.as_int() == 0) || v.as_string() == "0%"; };
    if (zero(rolling["maxUnavailable"]) && zero(rolling["maxSurge"]))
      causes.push(cause("FieldValueInvalid", "spec.strategy.rollingUpdate.maxUnavailable",
                        "Invalid value: " + rolling["maxUnavailable"].dump() + ": may not be 0 when `maxSurge` is 0"));
    else if (rolling["maxUnavailable"].is_string() && resolve(rolling["maxUnavailable"], 100, false) > 100)
      causes.push(cause("FieldValueInvalid", "spec.strategy.rollingUpdate.maxUnavailable",
                        "Invalid value: " + rolling["maxUnavailable"].dump() + ": must not be greater than 100%"));
  }
  const json::Value& deadline = spec["progressDeadlineSeconds"];
  if (deadline.is_int() && deadline.as_int() <= spec["minReadySeconds"].as_int())
    causes.push(cause("FieldValueInvalid", "spec.progressDeadlineSeconds",
                      "Invalid value: " + deadline.dump() + ": must be greater than minReadySeconds"));
  return causes;
}

}  // namespace

class Deployments final : public Plugin, public ControllerProvider, public ResourceProvider {
 public:
  Deployments(Host h, const json::Value& config)
      : Plugin(h), workers_(config["workers"].as_int(4)), events_(h, "deployment-controller"), owner_path_(h.path("metadata.ownerReferences")) {}

  void stop() override { events_.close(); }

  void describe(json::Value, Call call) override {
    const auto watch = [](const char* kind, const char* map) { return json::Value::object({{"kind", kind}, {"map", map}}); };
    json::Value configmaps = watch("configmaps", "call"), secrets = watch("secrets", "call");
    for (json::Value* w : {&configmaps, &secrets}) w->set("fields", json::Value::array({"data", "binaryData"}));
    call.reply(json::Value::object(
        {{"controllers",
          json::Value::array({json::Value::object({{"name", "deployment"},
                                                   {"workers", workers_},
                                                   {"resyncSeconds", 600},
                                                   {"batch", json::Value::object({{"max", 1}, {"delayMs", 0}})},
                                                   {"watches", json::Value::array({watch("deployments.apps", "self"), watch("replicasets.apps", "call"),
                                                                                   std::move(configmaps), std::move(secrets)})}})})}}));
  }

  // A ReplicaSet means its Deployment, the one it had before, or without one those that could adopt it; a ConfigMap or Secret the Deployments
  // that want to be rolled out with it.
  void map(json::Value request, Call call) override {
    json::Value keys = json::Value::array();
    const std::string kind(request["kind"].as_string()), ns(request.at("object.metadata.namespace").as_string());
    if (kind == "replicasets.apps") {
      const auto add = [&](const json::Value& set) {
        const json::Value& owner = controller_of(set);
        if (owner["kind"].as_string() == "Deployment") keys.push(ns + "/" + std::string(owner["name"].as_string()));
      };
      add(request["object"]);
      if (controller_uid(request["previous"]) != controller_uid(request["object"])) add(request["previous"]);
      if (controller_of(request["object"]).is_null() && request["type"].as_string() != "DELETED")
        each_deployment(ns, [&](const json::Value& d) {
          const auto selector = Selector::from_object(d.at("spec.selector"));
          return selector.ok() && !selector->empty() && selector->matches(request.at("object.metadata.labels"));
        }, keys);
    } else {
      const ConfigRef ref{kind, std::string(request.at("object.metadata.name").as_string())};
      each_deployment(ns, [&](const json::Value& d) {
        return d.at("metadata.annotations")[kRollOnConfigChange].as_string() == "true" &&
               config_refs(d.at("spec.template.spec")).contains(ref);
      }, keys);
    }
    call.reply(json::Value::object({{"keys", std::move(keys)}}));
  }

  void reconcile(json::Value request, Call call) override {
    struct Batch {
      Call call;
      std::mutex mutex;
      json::Value results = json::Value::array();
      size_t open = 0;
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

  // What data cannot say: the bounds of a rolling update exist only for that strategy.
  void default_(json::Value request, Call call) override {
    json::Value object = std::move(*request.find("object"));
    json::Value& spec = object.set("spec");
    json::Value& strategy = spec.set("strategy");
    if (strategy["type"].as_string().empty()) strategy.set("type", "RollingUpdate");
    if (strategy["type"].as_string() == "RollingUpdate") {
      json::Value& rolling = strategy.set("rollingUpdate");
      rolling.make_object();
      for (const char* field : {"maxUnavailable", "maxSurge"})
        if (rolling[field].is_null()) rolling.set(field, "25%");
    }
    call.reply(json::Value::object({{"object", std::move(object)}}));
  }

  void validate_object(json::Value request, Call call) override {
    const json::Value& spec = request["object"]["spec"];
    json::Value causes = workload_causes(spec, "deployment");
    const json::Value more = strategy_causes(spec);
    for (const auto& c : more.items()) causes.push(c);
    call.reply(json::Value::object({{"causes", std::move(causes)}}));
  }

  void table(json::Value request, Call call) override {
    json::Value rows = json::Value::array();
    for (const auto& o : request["objects"].items()) {
      const json::Value& s = o["status"];
      rows.push(json::Value::object(
          {{"cells", json::Value::object({{"Ready", std::to_string(s["readyReplicas"].as_int()) + "/" + std::to_string(o.at("spec.replicas").as_int(1))},
                                          {"Up-to-date", s["updatedReplicas"].as_int()},
                                          {"Available", s["availableReplicas"].as_int()}})}}));
    }
    call.reply(json::Value::object({{"rows", std::move(rows)}}));
  }

 private:
  template <class F>
  void each_deployment(const std::string& ns, F&& wanted, json::Value& keys) {
    const auto list = host.list({.kind = "deployments.apps", .ns = ns});
    if (!list.ok()) return;
    for (const Object& o : list->objects) {
      const json::Value d = o.json();
      if (wanted(d)) keys.push(ns + "/" + std::string(d.at("metadata.name").as_string()));
    }
  }

  const int64_t workers_;
  EventRecorder events_;
  const uint32_t owner_path_;
};

}  // namespace pintle::deployment

PINTLE_PLUGIN(pintle::deployment::Deployments)

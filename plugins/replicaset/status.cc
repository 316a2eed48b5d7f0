#include "status.h"

#include "pintle/labels.h"
#include "pintle/timestamp.h"
#include "pintle/workload.h"

namespace pintle::replicaset {

json::Value status_of(const json::Value& set, const std::vector<json::Value>& pods, const Failure& failure, int64_t wall_ns, int64_t* again_ns) {
  const Selector template_labels = Selector::from_map(set.at("spec.template.metadata.labels"));
  const int64_t min_ready = set.at("spec.minReadySeconds").as_int();
  int64_t replicas = 0, labeled = 0, ready = 0, available = 0, terminating = 0;
  for (const auto& p : pods) {
    if (pod_finished(p)) continue;
    if (pod_terminating(p)) {
      ++terminating;
      continue;
    }
    ++replicas;
    labeled += template_labels.matches(p.at("metadata.labels"));
    ready += pod_ready(p);
    available += pod_available(p, min_ready, wall_ns, again_ns);
  }
  json::Value s = json::Value::object({{"replicas", replicas}});
  const auto some = [&](const char* name, int64_t n) {
    if (n != 0) s.set(name, n);
  };
  some("fullyLabeledReplicas", labeled);
  some("readyReplicas", ready);
  some("availableReplicas", available);
  s.set("terminatingReplicas", terminating);
  s.set("observedGeneration", set.at("metadata.generation").as_int());
  json::Value conditions = json::Value::array();
  const json::Value& old = condition_of(set, "ReplicaFailure");
  for (const auto& c : set.at("status.conditions").items())
    if (c["type"].as_string() != "ReplicaFailure") conditions.push(c);
  if (!failure.reason.empty()) {
    json::Value c = json::Value::object({{"type", "ReplicaFailure"}, {"status", "True"}, {"lastTransitionTime", format_time(wall_ns)},
                                         {"reason", failure.reason}, {"message", failure.message}});
    if (old["status"].as_string() == "True") c.set("lastTransitionTime", old["lastTransitionTime"]);
    conditions.push(std::move(c));
  }
  if (!conditions.empty()) s.set("conditions", std::move(conditions));
  return s;
}

json::Value status_patch(const json::Value& old, const json::Value& fresh) {
  json::Value patch = json::Value::object();
  for (const auto& m : fresh.members())
    if (const json::Value* was = old.find(m.key); !was || *was != m.value) patch.set(m.key, m.value);
  for (const auto& m : old.members())
    if (!fresh.contains(m.key)) patch.set(m.key, json::Value());
  return patch.empty() ? json::Value() : json::Value::object({{"status", std::move(patch)}});
}

json::Value new_pod(const json::Value& set) {
  const json::Value& meta = set.at("spec.template.metadata");
  std::string prefix(set.at("metadata.name").as_string());
  prefix += "-";
  json::Value m = json::Value::object({{"generateName", prefix}, {"namespace", set.at("metadata.namespace")}});
  for (const char* field : {"labels", "annotations", "finalizers"})
    if (!meta[field].empty()) m.set(field, meta[field]);
  m.set("ownerReferences", json::Value::array({controller_reference(set)}));
  return json::Value::object({{"apiVersion", "v1"}, {"kind", "Pod"}, {"metadata", std::move(m)}, {"spec", set.at("spec.template.spec")}});
}

}  // namespace pintle::replicaset

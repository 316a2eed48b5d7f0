#include <set>

#include "plugins/core/pod_validation.h"

namespace pintle::core {
namespace {

void check_requirements(const json::Value& list, const std::string& path, Causes& causes) {
  size_t i = 0;
  for (const auto& r : list.items()) {
    const std::string at = index(path, i++) + ".values";
    const auto op = r["operator"].as_string();
    const size_t n = r["values"].size();
    if ((op == "In" || op == "NotIn") && n == 0) causes.required(at, "must be specified when `operator` is 'In' or 'NotIn'");
    if ((op == "Exists" || op == "DoesNotExist") && n > 0)
      causes.forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    if ((op == "Gt" || op == "Lt") && n != 1) causes.required(at, "must be specified single value when `operator` is 'Lt' or 'Gt'");
  }
}

void check_node_affinity(const json::Value& affinity, Causes& causes) {
  const std::string base = "affinity.nodeAffinity";
  if (const json::Value* required = affinity.find("requiredDuringSchedulingIgnoredDuringExecution")) {
    const std::string at = base + ".requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    if ((*required)["nodeSelectorTerms"].empty()) causes.required(at, "must have at least one node selector term");
    size_t i = 0;
    for (const auto& term : (*required)["nodeSelectorTerms"].items())
      check_requirements(term["matchExpressions"], index(at, i++) + ".matchExpressions", causes);
  }
  size_t i = 0;
  for (const auto& wish : affinity["preferredDuringSchedulingIgnoredDuringExecution"].items())
    check_requirements(wish["preference"]["matchExpressions"],
                       index(base + ".preferredDuringSchedulingIgnoredDuringExecution", i++) + ".preference.matchExpressions", causes);
}

// Keys whose values come from the pod narrow a selector down: without one they would mean nothing.
void check_label_keys(const json::Value& term, const std::string& at, Causes& causes) {
  for (const char* field : {"matchLabelKeys", "mismatchLabelKeys"}) {
    if (term[field].empty()) continue;
    if (term["labelSelector"].is_null()) causes.forbidden(at + "." + field, "must not be specified when labelSelector is not set");
    size_t i = 0;
    for (const auto& key : term[field].items()) {
      const std::string path = index(at + "." + field, i++);
      for (const auto& r : term["labelSelector"]["matchExpressions"].items())
        if (r["key"] == key) causes.invalid(path, key, "exists in both matchLabelKeys and labelSelector");
      if (term["labelSelector"]["matchLabels"].contains(key.as_string())) causes.invalid(path, key, "exists in both matchLabelKeys and labelSelector");
      for (const auto& other : term["mismatchLabelKeys"].items())
        if (field[1] == 'a' && other == key) causes.invalid(path, key, "exists in both matchLabelKeys and mismatchLabelKeys");
    }
  }
}

void check_pod_term(const json::Value& term, const std::string& at, Causes& causes) {
  check_requirements(term["labelSelector"]["matchExpressions"], at + ".labelSelector.matchExpressions", causes);
  check_label_keys(term, at, causes);
}

void check_pod_affinity(const json::Value& affinity, const std::string& base, Causes& causes) {
  size_t i = 0;
  for (const auto& term : affinity["requiredDuringSchedulingIgnoredDuringExecution"].items())
    check_pod_term(term, index(base + ".requiredDuringSchedulingIgnoredDuringExecution", i++), causes);
  i = 0;
  for (const auto& wish : affinity["preferredDuringSchedulingIgnoredDuringExecution"].items())
    check_pod_term(wish["podAffinityTerm"],
                   index(base + ".preferredDuringSchedulingIgnoredDuringExecution", i++) + ".podAffinityTerm", causes);
}

void check_tolerations(const json::Value& tolerations, Causes& causes) {
  size_t i = 0;
  for (const auto& t : tolerations.items()) {
    const std::string at = index("tolerations", i++);
    const auto op = t["operator"].as_string();
    if (t["key"].as_string().empty() && op != "Exists")
      causes.invalid(at + ".operator", op,
                     "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
    if (op == "Exists" && !t["value"].as_string().empty())
      causes.invalid(at + ".operator", t["value"], "value must be empty when `operator` is 'Exists'");
    if (t.contains("tolerationSeconds") && t["effect"].as_string() != "NoExecute")
      causes.invalid(at + ".effect", t["effect"].as_string(), "effect must be 'NoExecute' when `tolerationSeconds` is set");
  }
}

}  // namespace

void validate_placement(const json::Value& spec, Causes& causes) {
  causes.check_labels("nodeSelector", spec["nodeSelector"]);
  if (const auto node = spec["nodeName"].as_string(); !node.empty()) causes.check(Format::kDns1123Subdomain, "nodeName", node);
  check_tolerations(spec["tolerations"], causes);
  check_node_affinity(spec["affinity"]["nodeAffinity"], causes);
  for (const char* which : {"podAffinity", "podAntiAffinity"})
    check_pod_affinity(spec["affinity"][which], std::string("affinity.") + which, causes);
  std::set<std::string> pairs;
  size_t i = 0;
  for (const auto& c : spec["topologySpreadConstraints"].items()) {
    const std::string at = index("topologySpreadConstraints", i++);
    const std::string when(c["whenUnsatisfiable"].as_string());
    const std::string pair = "{" + std::string(c["topologyKey"].as_string()) + ", " + when + "}";
    if (!pairs.insert(pair).second) causes.duplicate(at + ".{topologyKey, whenUnsatisfiable}", pair);
    if (c.contains("minDomains") && when != "DoNotSchedule")
      causes.invalid(at + ".minDomains", c["minDomains"],
                     "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway");
    check_requirements(c["labelSelector"]["matchExpressions"], at + ".labelSelector.matchExpressions", causes);
    check_label_keys(c, at, causes);
  }
}

}  // namespace pintle::core

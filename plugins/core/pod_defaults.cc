#include "plugins/core/pod_defaults.h"

#include <map>
#include <optional>
#include <string>

#include "pintle/quantity.h"

namespace pintle::core {
namespace {

std::string_view default_pull_policy(std::string_view image) {
  if (image.find('@') != std::string_view::npos) return "IfNotPresent";
  const size_t slash = image.rfind('/');
  const std::string_view last = slash == std::string_view::npos ? image : image.substr(slash + 1);
  const size_t colon = last.rfind(':');
  return colon == std::string_view::npos || last.substr(colon + 1) == "latest" ? "Always" : "IfNotPresent";
}

bool tolerates(const json::Value& tolerations, std::string_view taint) {
  for (const auto& t : tolerations.items()) {
    const auto effect = t["effect"].as_string();
    if (!effect.empty() && effect != "NoExecute") continue;
    const auto k = t["key"].as_string();
    if (k == taint || (k.empty() && t["operator"].as_string() == "Exists")) return true;
  }
  return false;
}

}  // namespace

void default_pod_spec(json::Value& spec) {
  if (!spec.is_object()) return;
  if (json::Value* volumes = spec.find("volumes"))
    for (auto& v : volumes->make_array())
      if (v.is_object() && v.size() == 1 && v.contains("name")) v.set("emptyDir", json::Value::object());
  const bool host_network = spec["hostNetwork"].as_bool();
  for (const char* list : kContainerLists) {
    json::Value* containers = spec.find(list);
    if (!containers || !containers->is_array()) continue;
    for (auto& c : containers->make_array()) {
      if (!c.is_object()) continue;
      if (!c.contains("imagePullPolicy")) c.set("imagePullPolicy", default_pull_policy(c["image"].as_string()));
      json::Value* ports = host_network ? c.find("ports") : nullptr;
      if (!ports || !ports->is_array()) continue;
      for (auto& p : ports->make_array())
        if (p.is_object() && p["hostPort"].as_int() == 0 && p["containerPort"].is_int())
          p.set("hostPort", p["containerPort"].as_int());
    }
  }
  if (const auto account = spec["serviceAccountName"].as_string(); !account.empty()) {
    spec.set("serviceAccount", std::string(account));
  } else if (const auto old_name = spec["serviceAccount"].as_string(); !old_name.empty()) {
    spec.set("serviceAccountName", std::string(old_name));
  }
}

void default_pod(json::Value& pod) {
  json::Value* spec = pod.find("spec");
  if (!spec) return;
  for (const char* list : kContainerLists) {
    json::Value* containers = spec->find(list);
    if (!containers || !containers->is_array()) continue;
    for (auto& c : containers->make_array()) {
      json::Value* resources = c.is_object() ? c.find("resources") : nullptr;
      if (!resources) continue;
      const json::Value limits = (*resources)["limits"];
      if (limits.empty()) continue;
      json::Value& requests = resources->set("requests");
      for (const auto& m : limits.members())
        if (!requests.contains(m.key)) requests.set(m.key, m.value);
    }
  }
}

std::string_view qos_class(const json::Value& spec) {
  bool any = false, guaranteed = true;
  for (const char* list : kContainerLists) {
    for (const auto& c : spec[list].items()) {
      for (const char* name : {"cpu", "memory"}) {
        const auto amount = [&](const char* which) {
          return resource_amount(name, c["resources"][which][name].as_string()).value_or(0);
        };
        const int64_t request = amount("requests"), limit = amount("limits");
        if (request > 0 || limit > 0) any = true;
        if (limit == 0 || (request != 0 && request != limit)) guaranteed = false;
      }
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

Result<int64_t> pod_priority(const json::Value& spec) {
  const auto name = spec["priorityClassName"].as_string();
  const int64_t computed = name == "system-node-critical" ? 2000001000 : name == "system-cluster-critical" ? 2000000000 : 0;
  const json::Value& given = spec["priority"];
  if (given.is_int() && given.as_int() != computed)
    return Error(PINTLE_FORBIDDEN, "the integer value of priority (" + std::to_string(given.as_int()) +
                                       ") must not be provided in pod spec; priority admission controller computed " + std::to_string(computed) +
                                       " from the given PriorityClass name");
  return computed;
}

void complete_new_pod(json::Value& pod) {
  json::Value& spec = pod.set("spec");
  if (spec["serviceAccountName"].as_string().empty()) {
    spec.set("serviceAccountName", "default");
    spec.set("serviceAccount", "default");
  }
  for (const char* taint : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    if (tolerates(spec["tolerations"], taint)) continue;
    spec.set("tolerations").push(json::Value::object(
        {{"key", taint}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", 300}}));
  }
  if (!spec.contains("priority")) spec.set("priority", *pod_priority(spec));  // nothing was given that could be refused
  pod.set("status", json::Value::object({{"phase", "Pending"}, {"qosClass", qos_class(spec)}}));
}

}  // namespace pintle::core

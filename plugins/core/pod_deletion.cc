#include "plugins/core/pod_deletion.h"

#include <string>

namespace pintle::core {

json::Value delete_pod(const json::Value& pod, const json::Value& options) {
  int64_t grace = options["gracePeriodSeconds"].is_int() ? options["gracePeriodSeconds"].as_int()
                                                         : pod["spec"]["terminationGracePeriodSeconds"].as_int(30);
  if (grace < 0) grace = 1;
  const auto phase = pod["status"]["phase"].as_string();
  if (pod["spec"]["nodeName"].as_string().empty() || phase == "Succeeded" || phase == "Failed") grace = 0;
  const json::Value& meta = pod["metadata"];
  if (meta.contains("deletionTimestamp") && grace != 0) {
    const int64_t granted = meta["deletionGracePeriodSeconds"].as_int();
    // Asked again without a wish: what was granted stays.
    if (!options["gracePeriodSeconds"].is_int() || grace > granted) grace = granted;
  }
  if (grace == 0) return json::Value::object({{"action", "immediate"}});
  return json::Value::object({{"action", "grace"}, {"gracePeriodSeconds", grace}});
}

json::Value delete_namespace(const json::Value& ns) {
  const std::string name(ns["metadata"]["name"].as_string());
  for (const char* kept : {"default", "kube-system", "kube-public", "kube-node-lease"})
    if (name == kept) return json::Value::object({{"action", "deny"}, {"message", "this namespace may not be deleted"}});
  if (ns["spec"]["finalizers"].empty()) return json::Value::object({{"action", "immediate"}});
  json::Value object = ns;
  object.make("status.phase") = "Terminating";
  return json::Value::object({{"action", "grace"}, {"gracePeriodSeconds", 0}, {"object", std::move(object)}});
}

}  // namespace pintle::core

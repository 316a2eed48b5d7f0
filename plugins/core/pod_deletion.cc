#include "plugins/core/pod_deletion.h"

#include <string>

#include "pintle/result.h"

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
    if (granted == 0 && grace == 0) grace = pod["spec"]["terminationGracePeriodSeconds"].as_int(30);
  }
  if (grace == 0) return json::Value::object({{"action", "immediate"}});
  return json::Value::object({{"action", "grace"}, {"gracePeriodSeconds", grace}});
}

json::Value delete_namespace(const json::Value& ns) {
  const std::string name(ns["metadata"]["name"].as_string());
  for (const char* kept : {"default", "kube-system", "kube-public", "kube-node-lease"})
    if (name == kept)
      throw Error(PINTLE_FORBIDDEN, "namespaces \"" + name + "\" is forbidden: this namespace may not be deleted");
  if (ns["spec"]["finalizers"].empty()) return json::Value::object({{"action", "immediate"}});
  if (ns["metadata"].contains("deletionTimestamp"))
    throw Error(PINTLE_CONFLICT,
                "Operation cannot be fulfilled on namespaces \"" + name +
                    "\": The system is ensuring all content is removed from this namespace.  Upon completion, this namespace will "
                    "automatically be purged by the system.");
  json::Value object = ns;
  object.make("status.phase") = "Terminating";
  return json::Value::object({{"action", "grace"}, {"gracePeriodSeconds", 0}, {"object", std::move(object)}});
}

}  // namespace pintle::core

#include "pintle/workload.h"

#include <algorithm>

#include "pintle/labels.h"
#include "pintle/timestamp.h"

namespace pintle {
namespace {

const json::Value kNull;

json::Value cause(const char* reason, const char* field, std::string message) {
  return json::Value::object({{"reason", reason}, {"field", field}, {"message", std::move(message)}});
}

}  // namespace

const json::Value& controller_of(const json::Value& object) {
  for (const auto& r : object.at("metadata.ownerReferences").items())
    if (r["controller"].as_bool()) return r;
  return kNull;
}

std::string_view controller_uid(const json::Value& object) { return controller_of(object)["uid"].as_string(); }

json::Value controller_reference(const json::Value& owner) {
  return json::Value::object({{"apiVersion", owner["apiVersion"]},
                              {"kind", owner["kind"]},
                              {"name", owner.at("metadata.name")},
                              {"uid", owner.at("metadata.uid")},
                              {"controller", true},
                              {"blockOwnerDeletion", true}});
}

bool pod_finished(const json::Value& pod) {
  const std::string_view phase = pod.at("status.phase").as_string();
  return phase == "Succeeded" || phase == "Failed";
}

bool pod_terminating(const json::Value& pod) { return !pod.at("metadata.deletionTimestamp").is_null(); }

const json::Value& condition_of(const json::Value& object, std::string_view type) {
  for (const auto& c : object.at("status.conditions").items())
    if (c["type"].as_string() == type) return c;
  return kNull;
}

bool pod_ready(const json::Value& pod) { return condition_of(pod, "Ready")["status"].as_string() == "True"; }

bool pod_available(const json::Value& pod, int64_t min_ready_seconds, int64_t wall_ns, int64_t* again_ns) {
  if (!pod_ready(pod)) return false;
  if (min_ready_seconds <= 0) return true;
  const auto since = parse_time(condition_of(pod, "Ready")["lastTransitionTime"].as_string());
  if (!since) return false;
  const int64_t left = *since + min_ready_seconds * kSecond - wall_ns;
  if (left <= 0) return true;
  if (again_ns) *again_ns = std::min(*again_ns, left);
  return false;
}

json::Value workload_causes(const json::Value& spec, std::string_view kind) {
  json::Value causes = json::Value::array();
  const json::Value &selector = spec["selector"], &pod = spec.at("template.spec");
  auto parsed = Selector::from_object(selector);
  if (!selector.is_object()) {
    causes.push(cause("FieldValueRequired", "spec.selector", "Required value"));
  } else if (!parsed.ok()) {
    causes.push(cause("FieldValueInvalid", "spec.selector", "Invalid value: " + selector.dump() + ": " + parsed.error().text));
  } else if (parsed->empty()) {
    causes.push(cause("FieldValueInvalid", "spec.selector",
                      "Invalid value: " + selector.dump() + ": empty selector is invalid for " + std::string(kind)));
  } else if (const json::Value& labels = spec.at("template.metadata.labels"); !parsed->matches(labels)) {
    causes.push(cause("FieldValueInvalid", "spec.template.metadata.labels",
                      "Invalid value: " + (labels.is_object() ? labels.dump() : "{}") + ": `selector` does not match template `labels`"));
  }
  if (const std::string_view policy = pod["restartPolicy"].as_string("Always"); policy != "Always")
    causes.push(cause("FieldValueNotSupported", "spec.template.spec.restartPolicy",
                      "Unsupported value: \"" + std::string(policy) + "\": supported values: \"Always\""));
  if (!pod["activeDeadlineSeconds"].is_null())
    causes.push(cause("FieldValueForbidden", "spec.template.spec.activeDeadlineSeconds",
                      "Forbidden: activeDeadlineSeconds in " + std::string(kind) + " is not Supported"));
  return causes;
}

}  // namespace pintle

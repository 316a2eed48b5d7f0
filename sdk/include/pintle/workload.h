// What controllers of pods have in common: who owns an object, whether a pod counts, rules of pod templates.
//
// Pure functions; threads: any.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "pintle/json.h"

namespace pintle {

// The ownerReference with controller: true, or null.
const json::Value& controller_of(const json::Value& object);
std::string_view controller_uid(const json::Value& object);  // "" = has none
// An ownerReference that says: `owner` controls it and waits for its deletion in foreground deletion.
json::Value controller_reference(const json::Value& owner);

bool pod_finished(const json::Value& pod);     // Succeeded or Failed
bool pod_terminating(const json::Value& pod);  // has a deletionTimestamp
inline bool pod_active(const json::Value& pod) { return !pod_finished(pod) && !pod_terminating(pod); }
bool pod_ready(const json::Value& pod);
// Ready for at least so many seconds. `again_ns` (may be null): lowered to the time until it will be, when it is only ready.
bool pod_available(const json::Value& pod, int64_t min_ready_seconds, int64_t wall_ns, int64_t* again_ns = nullptr);

// The condition of this type in status.conditions, or null.
const json::Value& condition_of(const json::Value& object, std::string_view type);

// Causes ({reason, field, message}) for the spec of a workload with selector and template; restartPolicy must be Always.
// `kind`: "deployment", for messages.
json::Value workload_causes(const json::Value& spec, std::string_view kind);

}  // namespace pintle

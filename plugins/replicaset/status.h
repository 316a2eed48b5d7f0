// The status of a ReplicaSet, from its pods.
//
// Pure; threads: any.
#pragma once
#include <string>
#include <vector>

#include "pintle/json.h"

namespace pintle::replicaset {

struct Failure {
  std::string reason, message;  // "FailedCreate", "FailedDelete"; "" = none
};

// `pods`: all that the set owns, also terminating ones. `again_ns` is lowered to when a pod becomes available.
json::Value status_of(const json::Value& set, const std::vector<json::Value>& pods, const Failure& failure, int64_t wall_ns, int64_t* again_ns);

// A merge patch of status that turns `old` into `fresh`; null when they are equal.
json::Value status_patch(const json::Value& old, const json::Value& fresh);

// A new pod of the set, without a name (generateName is set).
json::Value new_pod(const json::Value& set);

}  // namespace pintle::replicaset

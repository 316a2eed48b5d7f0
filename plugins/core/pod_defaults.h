// Defaults of pods that a schema cannot express, and what creation adds.
//
// Threads: any; pure functions of their arguments.
#pragma once
#include <string_view>

#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::core {

// The fields of a PodSpec that hold containers, in the order in which they start.
inline constexpr const char* kContainerLists[] = {"initContainers", "containers"};

// Wherever a PodSpec occurs (also in templates): emptyDir for volumes without a source, imagePullPolicy by tag,
// host ports under hostNetwork, the old name of serviceAccountName.
void default_pod_spec(json::Value& spec);
// Pods only: requests from limits.
void default_pod(json::Value& pod);

// "Guaranteed", "Burstable" or "BestEffort", from the cpu and memory of all containers.
std::string_view qos_class(const json::Value& spec);

// What the priority class is worth; there are the two of every cluster. FORBIDDEN when the pod brings another number.
Result<int64_t> pod_priority(const json::Value& spec);

// What admission adds to a new pod: service account "default", tolerations of unready and unreachable nodes for 300 s,
// the priority, status Pending.
void complete_new_pod(json::Value& pod);

}  // namespace pintle::core

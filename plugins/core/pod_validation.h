// What must hold between the fields of a PodSpec, with Kubernetes' field paths and wording. Single fields (required, enums,
// ranges) are the schema's.
//
// Threads: any; pure functions of their arguments.
#pragma once
#include "plugins/core/causes.h"

namespace pintle::core {

// Paths start below the spec: "containers[0].name".
void validate_pod_spec(const json::Value& spec, Causes& causes);
// One container; `init`: of initContainers. Exposed for pod_validation.cc's parts.
void validate_container(const json::Value& container, const json::Value& spec, bool init, const std::string& path, Causes& causes);
// Of a pod or of a container.
void check_seccomp(const json::Value& profile, const std::string& path, Causes& causes);
void validate_volumes(const json::Value& volumes, Causes& causes);
void validate_placement(const json::Value& spec, Causes& causes);

// What an update of a pod may change. Paths start at the pod.
void validate_pod_update(const json::Value& pod, const json::Value& old, Causes& causes);

}  // namespace pintle::core

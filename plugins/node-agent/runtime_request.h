// From a pod's spec to what the runtime driver is asked: sandbox and container requests of pintle.runtime/1.
//
// Threads: pure functions.
#pragma once
#include <string>
#include <vector>

#include "pintle/json.h"
#include "pintle/result.h"
#include "pod_env.h"
#include "pod_spec.h"

namespace pintle::node_agent {

struct NodeFacts {
  std::string name, root;
  std::string cluster_dns, cluster_domain;
  int64_t memory = 0;  // bytes
};

// `attempt`: of the sandbox.
json::Value sandbox_request(const json::Value& pod, int64_t attempt, const NodeFacts& node);

struct ContainerInputs {
  std::string sandbox_id;
  int64_t attempt = 0;
  std::string image_id;
  std::string image_user;  // of the image's configuration, "" = root
  Env env;
  std::vector<json::Value> mounts;  // {"hostPath","containerPath","readOnly","propagation"}
};
// INVALID with the sentence for CreateContainerConfigError (e.g. runAsNonRoot).
Result<json::Value> container_request(const json::Value& pod, const ContainerSpec& c, const ContainerInputs& in, const NodeFacts& node);

// {"cpuShares","cpuQuota","cpuPeriod","memoryBytes","oomScoreAdj"}
json::Value runtime_resources(const json::Value& pod, const json::Value& container, int64_t node_memory);

}  // namespace pintle::node_agent

// Environment, command and arguments of a container, and the downward API.
//
// Threads: pure functions; `Sources` are called on the caller's thread.
#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::node_agent {

// What the environment is made of besides the pod itself.
struct Sources {
  std::function<Result<json::Value>(const std::string& name)> config_map;  // of the pod's namespace; NOT_FOUND when absent
  std::function<Result<json::Value>(const std::string& name)> secret;
  std::vector<json::Value> services;  // that the pod sees: of its namespace, and default/kubernetes
  std::vector<std::string> pod_ips;
  std::string host_ip;
  json::Value allocatable;  // of the node; stands in for limits that are not set
};

using Env = std::vector<std::pair<std::string, std::string>>;

// $(NAME) from `env` (the last of that name counts), $$ is a $; an unknown name stays as it is.
std::string expand(std::string_view text, const Env& env);

// Later ones of the same name have replaced earlier ones. Errors: sentences as they belong into CreateContainerConfigError.
Result<Env> container_env(const json::Value& pod, const json::Value& container, const Sources& sources);

// Value of a fieldRef ("metadata.labels['a']", "status.podIP"); INVALID names the path.
Result<std::string> field_value(const json::Value& pod, std::string_view path, const Sources& sources);
// Value of a resourceFieldRef for a container of the pod.
Result<std::string> resource_value(const json::Value& pod, std::string_view container, const json::Value& ref, const Sources& sources);

// Standard base64 to bytes; nullopt: not base64.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace pintle::node_agent

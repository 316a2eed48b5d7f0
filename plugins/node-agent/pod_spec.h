// Readings of a pod's JSON that several parts need: containers and their kinds, resources, quality of service.
//
// Threads: pure functions.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "pintle/json.h"

namespace pintle::node_agent {

enum class ContainerType : uint8_t { kInit, kSidecar, kMain };
const char* type_name(ContainerType t);  // "init", "sidecar", "container"

struct ContainerSpec {
  const json::Value* spec;  // into the pod
  ContainerType type;
  std::string_view name() const { return (*spec)["name"].as_string(); }
};
// Init containers first (sidecars among them), each list in its order.
std::vector<ContainerSpec> containers_of(const json::Value& pod);

// "default/web"
std::string pod_key(const json::Value& pod);
// "web_default(uid)", as it appears in messages.
std::string pod_tag(const json::Value& pod);

// Requests of the whole pod in scheduler's units (milli CPU, bytes): the larger of all init containers' and of all others' sum, sidecars
// in both, plus overhead.
std::map<std::string, int64_t> pod_requests(const json::Value& pod);

// "Guaranteed", "Burstable" or "BestEffort"
std::string qos_class(const json::Value& pod);
int64_t oom_score_adj(std::string_view qos, int64_t memory_request, int64_t node_memory);

struct HostPort {
  std::string ip, protocol;
  int64_t port;
};
std::vector<HostPort> host_ports(const json::Value& pod);
bool ports_collide(const HostPort& a, const HostPort& b);

// Of name and image; another hash than the running container's means that it has to be replaced.
std::string container_hash(const json::Value& container);

// "Always", "OnFailure" or "Never", as it holds for this container.
std::string_view restart_policy(const json::Value& pod, const ContainerSpec& c);
// Always for :latest and no tag, else IfNotPresent, unless given.
std::string pull_policy(const json::Value& container);

}  // namespace pintle::node_agent

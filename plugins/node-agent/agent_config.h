// The configuration of the agent, filled up with what the machine is.
//
// Threads: values. read_host_facts reads files of the machine.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::node_agent {

struct HostFacts {
  std::string hostname, ip, arch, kernel, os_image, machine_id, boot_id;
  int64_t cpus = 1, memory = 0, disk = 0;  // bytes
};
HostFacts read_host_facts(const std::string& root);

struct NodeConfig {
  std::string name, hostname, ip, runtime;  // runtime: slot
  bool simulated = false;
  json::Value labels, annotations, taints;
  json::Value capacity, allocatable;  // resource -> quantity
};

struct AgentConfig {
  std::vector<NodeConfig> nodes;
  std::string root, cluster_dns, cluster_domain;
  uint64_t heartbeat_ns = 10'000'000'000, proxy_wait_ns = 5'000'000'000;
};
// INVALID names the member.
Result<AgentConfig> read_config(const json::Value& config, const HostFacts& host);

}  // namespace pintle::node_agent

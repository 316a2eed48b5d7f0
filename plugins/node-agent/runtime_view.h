// What the runtime knows of a pod: its answer to `list`, in structs.
//
// Threads: values.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pintle/json.h"

namespace pintle::node_agent {

// Labels that every sandbox and container of ours carries, so that a restart finds them again.
inline constexpr const char* kLabelUid = "io.pintle.pod.uid";
inline constexpr const char* kLabelNamespace = "io.pintle.pod.namespace";
inline constexpr const char* kLabelPod = "io.pintle.pod.name";
inline constexpr const char* kLabelNode = "io.pintle.node";
inline constexpr const char* kLabelContainer = "io.pintle.container.name";
inline constexpr const char* kLabelType = "io.pintle.container.type";  // init, sidecar, container
inline constexpr const char* kLabelAttempt = "io.pintle.container.attempt";
inline constexpr const char* kLabelHash = "io.pintle.container.hash";

struct ContainerView {
  enum class State : uint8_t { kCreated, kRunning, kExited, kUnknown };
  std::string id, pod_id, pod_uid, name, image, image_id, reason, message, hash;
  int64_t attempt = 0, created_ns = 0, started_ns = 0, finished_ns = 0;  // wall
  int exit_code = 0;
  State state = State::kUnknown;
};

struct SandboxView {
  std::string id, uid, ns, name;
  int64_t attempt = 0, created_ns = 0;
  bool ready = false;
  std::vector<std::string> ips;
};

struct PodView {
  std::vector<SandboxView> sandboxes;     // by attempt, ascending
  std::vector<ContainerView> containers;  // by name and attempt, ascending

  const SandboxView* ready_sandbox() const;
  const ContainerView* latest(std::string_view name) const;                        // highest attempt
  const ContainerView* attempt(std::string_view name, int64_t number) const;
  const ContainerView* before_latest(std::string_view name) const;                 // second highest
  bool anything_running() const;
  bool empty() const { return sandboxes.empty() && containers.empty(); }
};

// Per pod uid, of a reply to `list`.
std::map<std::string, PodView> read_list(const json::Value& reply);

}  // namespace pintle::node_agent

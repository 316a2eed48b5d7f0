// One probe or hook: an exec, an HTTP GET, a TCP connection or a sleep, with a time limit.
//
// Threads: run from any thread; `done` runs on `strand`, exactly once, unless the strand was closed.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "context.h"
#include "pintle/json.h"
#include "runtime_link.h"

namespace pintle::node_agent {

struct ActionTarget {
  std::shared_ptr<const RuntimeLink> runtime;
  std::string node, container_id, pod_ip;
  json::Value ports;  // of the container, for named ports
};

struct ActionResult {
  enum class Outcome : uint8_t { kSuccess, kFailure, kError } outcome = Outcome::kSuccess;  // error: it could not be tried
  std::string text;
};

// `handler`: a probe's or hook's object with exec, httpGet, tcpSocket or sleep.
void run_action(Context& context, const Strand& strand, const json::Value& handler, const ActionTarget& target, uint64_t timeout_ns,
                std::function<void(ActionResult)> done);

// Port by number or by the name of a container port; 0 = there is none of that name.
int64_t port_number(const json::Value& port, const json::Value& container_ports);

// The path of an httpGet as it goes into a request: what a URL may not hold is escaped. What is no URL (control characters, a "%" that
// escapes nothing) is taken as a path from end to end.
std::string request_path(std::string_view path);

}  // namespace pintle::node_agent

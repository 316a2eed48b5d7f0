// Before a pod's processes are told to stop, traffic has to have left it: no EndpointSlice lists it as ready, and every service
// proxy says that it has that state in the packet filter. Bounded; where nobody proxies there is nothing to wait for.
//
// Threads: on the strand that was given.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "context.h"
#include "pintle/json.h"

namespace pintle::node_agent {

class EndpointGate : public std::enable_shared_from_this<EndpointGate> {
 public:
  EndpointGate(Context& context, const Strand& strand, std::string ns, std::string uid)
      : context_(context), strand_(strand), ns_(std::move(ns)), uid_(std::move(uid)) {}
  // `open(in_time)` once; not when the gate was destroyed before.
  void wait(uint64_t limit_ns, std::function<void(bool in_time)> open);

 private:
  void look();
  bool clear() const;
  Context& context_;
  const Strand& strand_;
  const std::string ns_, uid_;
  uint64_t until_ = 0, pause_ = 20'000'000;
  std::function<void(bool)> open_;
  Timer timer_;
};

// Does the slice list the pod as ready?
bool lists_as_ready(const json::Value& endpoint_slice, std::string_view pod_uid);

}  // namespace pintle::node_agent

// Nodes as API objects: registered once, alive by their leases, their conditions kept true.
//
// Heartbeats of many nodes are spread over the interval and written in batches. Threads: any.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "context.h"
#include "pintle/json.h"

namespace pintle::node_agent {

struct RuntimeState {
  bool known = false;  // false: it has not said anything to this agent yet
  bool ready = false;
  std::string message, name, version;
};

// The Node object as it should be. `old`: as it is, or null; what others own (spec.unschedulable, taints, foreign labels) is kept, and what the runtime
// said to an earlier agent until it is known what it says now: a node that is not ready takes its pods out of service. Pure.
json::Value node_object(const NodeConfig& config, const HostFacts& host, const RuntimeState& runtime, const json::Value& old, int64_t now);

class Registration {
 public:
  const Strand& strand() const { return strand_; }
  Registration(Context& context, HostFacts host) : context_(context), host_(std::move(host)), strand_(context.host) {}
  ~Registration() { stop(); }
  void activate(const std::vector<const NodeConfig*>& nodes);  // adds to those that are active
  void runtime_state(const std::string& slot, RuntimeState state);
  void stop();

 private:
  static constexpr uint64_t kStatusEvery = 300'000'000'000;  // heartbeat of the conditions; the lease is what counts
  struct One {
    const NodeConfig* config;
    bool registered = false, leased = false, busy = false;
    uint64_t status_at = 0;
    bool dirty = true;
  };
  void tick();
  void register_node(One& one);
  void beat(std::vector<One*> batch);
  RuntimeState state_of(const NodeConfig& config) const;

  Context& context_;
  const HostFacts host_;
  Strand strand_;
  std::vector<std::unique_ptr<One>> nodes_;
  std::map<std::string, RuntimeState> runtimes_;
  size_t next_ = 0;
  bool ticking_ = false;
  Timer timer_;
};

}  // namespace pintle::node_agent

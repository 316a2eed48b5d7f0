// Watches over nodes: a node whose heartbeat stays away becomes unknown and tainted, its pods are marked unready and leave
// when their tolerations end; pods of a node that no longer exists are removed.
//
//   Ready True     no taints of ours
//   Ready False    node.kubernetes.io/not-ready    NoSchedule, NoExecute
//   Ready Unknown  node.kubernetes.io/unreachable  NoSchedule, NoExecute
//
// When no node at all is ready, the fault is rather here (a suspended machine, a cut network): nobody is then evicted.
// A heartbeat is judged by when a change of it was seen here, never by comparing clocks of two machines.
//
// Threads: any.
#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "pintle/host.h"
#include "plugins/core/namespaces.h"

namespace pintle::core {

class NodeLifecycle {
 public:
  NodeLifecycle(Host host, uint64_t grace_ns) : host_(host), grace_(grace_ns) {}
  void reconcile(const std::string& node, Answered answered);
  static json::Value map(const json::Value& request);  // of a pod: its node's key

 private:
  struct Seen {
    std::string beat;      // what the last heartbeat looked like
    uint64_t at = 0;       // host now() when it was new
    uint64_t gone_at = 0;  // when the node was first missed
  };
  uint64_t silent_for(const std::string& node, const json::Value& object);
  bool any_ready() const;
  void bury(const std::string& node, Answered answered);
  void write_unknown(const Object& stored, json::Value node, Answered answered);
  void settle_pods(const json::Value& node, const json::Value& ready, uint64_t again_ns, Answered answered);

  const Host host_;
  const uint64_t grace_;
  std::mutex mutex_;
  std::map<std::string, Seen> seen_;  // guarded by mutex_
};

// The taints that a node should have, from its Ready condition and `unschedulable`; those of others are kept. Exposed for tests.
json::Value wanted_taints(const json::Value& node, bool evict, const std::string& now);
// Seconds (from the taint) that the pod may stay; -1 = for ever, 0 = not at all. Exposed for tests.
int64_t tolerated_seconds(const json::Value& tolerations, const json::Value& taint);

}  // namespace pintle::core

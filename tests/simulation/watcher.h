// Reads the change log of a simulated cluster and says what must never be: on every change, not at the end only.
//
//   Watcher watcher(cluster.plane().store(), cluster.executor());
//   ... run ...
//   watcher.violations()   // empty: nothing was wrong
//
// Threads: one. It must end before the cluster.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernel/run/simulated_executor.h"
#include "kernel/store/store.h"
#include "pintle/json.h"
#include "pintle/scheduling/resources.h"

namespace pintle::kernel::simulation {

class Watcher {
 public:
  Watcher(Store& store, SimulatedExecutor& executor);
  ~Watcher();
  Watcher(const Watcher&) = delete;

  const std::vector<std::string>& violations() const { return violations_; }
  uint64_t changes() const { return changes_; }
  // Of every change: when, what, and the object to the byte.
  uint64_t hash() const { return hash_; }
  // Gets one line per change.
  std::function<void(const std::string&)> trace;

  // What is not at its goal yet: "" when all Deployments are complete and the EndpointSlices name the ready pods.
  // Cheap to ask again as long as nothing has changed.
  const std::string& unfinished();

 private:
  struct Pod {
    std::string uid, node, owner, ip, ns;
    std::map<std::string, std::string> labels;
    scheduling::Amounts requests;
    bool active = false, finished = false, ready = false;
  };
  struct Set {
    std::string owner, name;
    int64_t wished = 0, noted = -1, most = -1;
    std::deque<std::pair<uint64_t, int64_t>> available;  // since when, how many; newest last
  };
  struct Wish {
    uint64_t since = 0;
    int64_t replicas = 0, surge = 0, unavailable = 0;
    bool rolling = true;
  };
  struct Rollout {
    std::string name;
    std::deque<Wish> wishes;
    uint64_t pods_over_since = 0, wished_over_since = 0;  // 0 = within its bounds
  };
  void see(const Change& change);
  void see_pod(const Change& change, const json::Value& object);
  void see_set(const Change& change, const json::Value& object);
  void see_deployment(const Change& change, const json::Value& object);
  void see_ledger(const Change& change, const json::Value& object);
  void see_service(const Change& change, const json::Value& object);
  void check_node(const std::string& node);
  void check_bounds();
  void wrong(const std::string& text);
  // The largest bound of the recent past: controllers may act on what they read a moment ago.
  int64_t most(const Rollout& r) const;
  int64_t least(const Rollout& r) const;
  int64_t available(const Set& s) const;
  std::string judge() const;

  Store& store_;
  SimulatedExecutor& executor_;
  uint64_t subscription_ = 0, changes_ = 0, hash_ = 0xcbf29ce484222325ull;
  uint64_t judged_ = UINT64_MAX;  // changes() when `verdict_` was found
  std::string verdict_;
  std::vector<std::string> violations_;
  std::map<std::string, Pod> pods_;                         // by namespace/name
  std::map<std::string, std::set<std::string>> on_node_;    // pods by node
  std::map<std::string, scheduling::Amounts> allocatable_;
  std::map<std::string, Set> sets_;                         // by uid
  std::map<std::string, Rollout> rollouts_;                 // by uid
  std::map<std::string, std::string> addresses_;            // Service by clusterIP
};

}  // namespace pintle::kernel::simulation

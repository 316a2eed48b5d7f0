// A scheduler's inside: filter steps say which nodes are possible, score steps which is best.
//
//   class Mine : public pintle::Plugin, public pintle::SchedulerProvider {
//     void observe(json::Value r, Call c) override { engine_.observe(r); c.reply(); }
//     void schedule(json::Value r, Call c) override { c.reply(engine_.schedule(r)); }
//     void explain(json::Value r, Call c) override { c.reply(engine_.explain(r)); }
//     scheduling::Engine engine_{{scheduling::standard_filters(), {scheduling::least_allocated(1)}}};
//   };
//
// Deciding is pure: equal state and equal question give the equal answer; ties fall by a hash of the pod's uid and the node's name.
// Threads: one call at a time.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pintle/scheduling/cluster.h"

namespace pintle::scheduling {

// Why a node is not possible.
struct Why {
  std::string reason;  // as Kubernetes words it, equal for nodes with the equal problem: "Insufficient cpu"
  std::string detail;  // with this node's numbers; empty = the reason says it all
  void add(std::string r, std::string d = {});  // several reasons of one step
  std::vector<std::pair<std::string, std::string>> all;
};

// One pod's question, with what is worked out once per pod.
struct Question {
  const Cluster& cluster;
  const Pending& pod;

  struct Spread {
    const SpreadConstraint* constraint;
    const DomainCounter* counter = nullptr;                  // every node counts
    std::unordered_map<std::string, int64_t> own;            // otherwise: counts over the nodes that do
    int64_t smallest = 0;
    int64_t in_domain(std::string_view value) const;
  };
  std::vector<Spread> spread;
  std::vector<const DomainCounter*> affinity, anti;          // in the order of the pod's terms
  bool first_of_its_kind = false;                            // required affinity that so far only the pod itself fulfils
  std::vector<const TermHolders*> forbidding;                // anti-affinity of others that means this pod
  std::vector<std::pair<const TermHolders*, int64_t>> wishing;  // preferences of others, with weight
  std::vector<std::pair<const DomainCounter*, int64_t>> wishes; // own preferences, with weight
  const DomainCounter* alike = nullptr;                      // pods with the same labels, per node
  const DomainCounter* alike_zone = nullptr;

  static Question make(Cluster& cluster, const Pending& pod);
};

struct Filter {
  std::string name;
  // true: possible. `why` is null when nobody asks.
  std::function<bool(const Question&, const Node&, Why* why)> passes;
  std::function<bool(const Question&)> needed;  // may be empty: always
};

struct Score {
  std::string name;
  int64_t weight = 1;
  // One value per node, 0 (worst) to 100 (best).
  std::function<void(const Question&, const std::vector<const Node*>& nodes, std::vector<int64_t>& values)> rate;
};

// NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts, NodeResourcesFit, InterPodAffinity, PodTopologySpread.
std::vector<Filter> standard_filters();

Score least_allocated(int64_t weight);      // the emptier after placement, the better (cpu and memory)
Score most_allocated(int64_t weight);       // the fuller after placement, the better
Score balanced_allocation(int64_t weight);  // cpu and memory used to the same degree
Score node_affinity(int64_t weight);        // preferred node affinity
Score taint_toleration(int64_t weight);     // fewer untolerated PreferNoSchedule taints
Score pod_affinity(int64_t weight);         // preferred pod (anti-)affinity, both directions
Score topology_spread(int64_t weight);      // ScheduleAnyway constraints; without any: away from pods with the same labels
Score image_locality(int64_t weight);       // nodes that have the images

struct Policy {
  std::vector<Filter> filters = {};
  std::vector<Score> scores = {};
  // Stop looking after so many possible nodes: at least 100, and this part of all. 0 = falls with size, from 50 to 5 percent.
  int64_t percent_of_nodes = 0;
};

class Engine {
 public:
  explicit Engine(Policy policy) : policy_(std::move(policy)) {}
  void observe(const json::Value& request) { cluster_.observe(request); }
  json::Value schedule(const json::Value& request);
  json::Value explain(const json::Value& request);
  Cluster& cluster() { return cluster_; }
  void set_policy(Policy policy) { policy_ = std::move(policy); }

 private:
  const Filter* first_failing(const Question& q, const std::vector<const Filter*>& active, const Node& n, Why* why) const;
  std::vector<const Filter*> active_filters(const Question& q) const;
  std::vector<int64_t> totals(const Question& q, const std::vector<const Node*>& nodes, std::vector<std::vector<int64_t>>* each) const;
  json::Value decide(const Pending& pod);
  json::Value refuse(const Question& q, const std::vector<const Filter*>& active) const;

  Policy policy_;
  Cluster cluster_;
};

}  // namespace pintle::scheduling

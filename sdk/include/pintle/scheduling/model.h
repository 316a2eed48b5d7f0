// Nodes, pods and what pods demand of nodes, parsed once from the messages of pintle.scheduler/1.
//
// Threads: values; a scheduler is called one call at a time and needs no lock.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "pintle/labels.h"
#include "pintle/scheduling/resources.h"

namespace pintle::scheduling {

struct Taint {
  std::string key, value, effect;
  std::string text() const { return "{" + key + ": " + value + "}"; }
};

struct Toleration {
  std::string key, value, effect;
  bool exists = false;
  bool tolerates(const Taint& taint) const;
};

struct HostPort {
  std::string ip, protocol;
  int64_t port = 0;
  bool conflicts(const HostPort& o) const;
};

// A topology term of pod (anti-)affinity or of topology spread: which pods count, and in which domains.
struct PodTerm {
  std::string topology_key;
  Selector selector;
  std::vector<std::string> namespaces;            // sorted
  std::optional<Selector> namespace_selector;     // matched against the namespace's labels
  int64_t weight = 0;                             // preferred terms; negative = anti
  std::string signature;                          // equal text = equal meaning (without topology key and weight)
};

struct Pod {
  std::string uid, ns, name, node;
  json::Value labels;
  Amounts requests;
  std::vector<HostPort> host_ports;
  bool terminating = false;
  std::vector<PodTerm> required_affinity, required_anti, preferred;  // preferred: anti terms have negative weights
};

struct Node {
  std::string name;
  json::Value labels;
  std::vector<Taint> taints;  // a node that is not ready has the not-ready taint in any case
  bool unschedulable = false, ready = true;
  Amounts allocatable, requested;
  int64_t scored_cpu = 0, scored_memory = 0;  // requests where pods without any count with a small default
  std::unordered_set<std::string> images;
  std::vector<Pod*> pods;
  std::string_view label(std::string_view key, bool* present = nullptr) const;
};

struct NodeTerm {
  std::vector<LabelRequirement> expressions, fields;  // fields: metadata.name only
  int64_t weight = 0;
  bool matches(const Node& node) const;
};

struct SpreadConstraint {
  PodTerm term;
  int64_t max_skew = 1, min_domains = 0;
  bool hard = true, honor_affinity = true, honor_taints = false;
  bool counts_itself = false;
};

// A pod that waits for a node.
struct Pending : Pod {
  int64_t priority = 0;
  std::string wanted_node;  // spec.nodeName of a what-if
  Selector node_selector;
  bool has_node_terms = false;
  std::vector<NodeTerm> node_terms;  // any of them
  std::vector<NodeTerm> preferred_nodes;
  std::vector<Toleration> tolerations;
  std::vector<SpreadConstraint> spread;
  std::vector<std::string> images;
  std::string impossible;  // why no node can ever do, or ""

  bool node_matches(const Node& on) const;                // nodeSelector and required node affinity
  const Taint* untolerated(const Node& on) const;         // NoSchedule and NoExecute
};

Node parse_node(const json::Value& node);
Pod parse_pod(const json::Value& pod);
Pending parse_pending(const json::Value& pending);

bool term_matches(const PodTerm& term, const std::string& ns, const json::Value& labels,
                  const std::map<std::string, json::Value>& namespaces);

constexpr int64_t kScoredCpu = 100;                     // milli, of a pod that asks for none
constexpr int64_t kScoredMemory = 200ll * 1024 * 1024;  // bytes

}  // namespace pintle::scheduling

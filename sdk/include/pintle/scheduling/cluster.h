// The cluster as a scheduler sees it: nodes, assigned pods, and counts per topology domain that follow every change.
//
// Counts are made on first use and then kept up to date pod by pod; changes of a node's labels, or its removal, drop them.
// Threads: one call at a time.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "pintle/scheduling/model.h"

namespace pintle::scheduling {

// How many matching pods each domain of one topology key has.
class DomainCounter {
 public:
  const std::string& topology_key() const { return topology_key_; }
  int64_t in_domain(std::string_view value) const;
  int64_t on_node(const Node* node) const;
  int64_t total() const { return total_; }
  size_t domains() const { return by_value_.size(); }
  int64_t smallest() const { return histogram_.empty() ? 0 : histogram_.begin()->first; }  // over the domains that have nodes
  const std::unordered_map<std::string, int64_t>& by_value() const { return by_value_; }

 private:
  friend class Cluster;
  std::string topology_key_;
  std::vector<PodTerm> terms_;  // a pod counts when it matches all of them
  bool skip_terminating_ = false;
  int64_t total_ = 0;
  std::unordered_map<std::string, int64_t> by_value_;
  std::map<int64_t, int64_t> histogram_;  // count -> number of domains with it
  std::unordered_map<const Node*, int64_t> by_node_;
  void change(const Node& node, int64_t by);
  void add_domain(const Node& node);
};

// Pods that hold a term of their own (anti-affinity, preferences) and so speak about pods to come.
struct TermHolders {
  enum class Kind : uint8_t { kAnti, kAffinity, kPreferred } kind;
  PodTerm term;
  std::unordered_map<std::string, int64_t> by_value;  // domain -> number of holders in it
};

class Cluster {
 public:
  // The request of `observe`.
  void observe(const json::Value& request);
  void set_node(Node node);
  void remove_node(const std::string& name);
  void set_pod(Pod pod);  // assigned or assumed; replaces the one of the same uid
  void remove_pod(const std::string& uid);
  void set_namespace(const std::string& name, json::Value labels);
  void clear();

  const std::vector<Node*>& nodes() const { return order_; }  // in order of arrival
  const Node* node(std::string_view name) const;
  const std::map<std::string, json::Value>& namespaces() const { return namespaces_; }
  size_t pod_count() const { return pods_.size(); }
  size_t nodes_with(const std::string& topology_key) const;
  size_t nodes_with_image(const std::string& image) const;

  // Valid until the next change of a node or namespace, or trim().
  const DomainCounter& counter(const std::string& topology_key, const std::vector<PodTerm>& terms, bool skip_terminating);
  const std::unordered_map<std::string, std::unique_ptr<TermHolders>>& holders() const { return holders_; }
  void trim();  // call between decisions: keeps the number of counters bounded

 private:
  void account(Node& node, Pod& pod, int direction);
  void forget_counts();
  void hold(const Node& node, const Pod& pod, int direction);
  bool counts(const DomainCounter& c, const Pod& pod) const;

  std::unordered_map<std::string, std::unique_ptr<Node>> nodes_;
  std::vector<Node*> order_;
  std::unordered_map<std::string, std::unique_ptr<Pod>> pods_;
  std::unordered_map<std::string, std::vector<Pod*>> waiting_;  // pods whose node is not known (yet)
  std::map<std::string, json::Value> namespaces_;
  std::unordered_map<std::string, std::unique_ptr<DomainCounter>> counters_;
  std::unordered_map<std::string, std::unique_ptr<TermHolders>> holders_;
  mutable std::unordered_map<std::string, size_t> nodes_with_;
  std::unordered_map<std::string, size_t> images_;
};

}  // namespace pintle::scheduling

#include "pintle/scheduling/cluster.h"

#include <algorithm>

namespace pintle::scheduling {
namespace {

constexpr size_t kMostCounters = 512;

std::string holder_key(TermHolders::Kind kind, const PodTerm& t) {
  return std::to_string(static_cast<int>(kind)) + "/" + std::to_string(t.weight) + "/" + t.topology_key + "/" + t.signature;
}

}  // namespace

int64_t DomainCounter::in_domain(std::string_view value) const {
  const auto it = by_value_.find(std::string(value));
  return it == by_value_.end() ? 0 : it->second;
}

int64_t DomainCounter::on_node(const Node* node) const {
  const auto it = by_node_.find(node);
  return it == by_node_.end() ? 0 : it->second;
}

void DomainCounter::add_domain(const Node& node) {
  bool present = false;
  const std::string_view value = node.label(topology_key_, &present);
  if (present && by_value_.try_emplace(std::string(value), 0).second) ++histogram_[0];
}

void DomainCounter::change(const Node& node, int64_t by) {
  bool present = false;
  const std::string_view value = node.label(topology_key_, &present);
  if (!present) return;
  int64_t& count = by_value_[std::string(value)];
  const auto it = histogram_.find(count);
  if (it != histogram_.end() && --it->second == 0) histogram_.erase(it);
  count += by;
  ++histogram_[count];
  total_ += by;
  if ((by_node_[&node] += by) == 0) by_node_.erase(&node);
}

void Cluster::observe(const json::Value& request) {
  if (request["reset"].as_bool()) clear();
  for (const auto& n : request["namespaces"].items()) set_namespace(std::string(n["name"].as_string()), n["labels"]);
  for (const auto& n : request["removedNodes"].items()) remove_node(std::string(n.as_string()));
  for (const auto& n : request["nodes"].items()) set_node(parse_node(n));
  for (const auto& p : request["removedPods"].items()) remove_pod(std::string(p.as_string()));
  for (const auto& p : request["pods"].items()) set_pod(parse_pod(p));
}

void Cluster::clear() {
  counters_.clear();
  holders_.clear();
  nodes_with_.clear();
  images_.clear();
  namespaces_.clear();
  waiting_.clear();
  pods_.clear();
  order_.clear();
  nodes_.clear();
}

void Cluster::forget_counts() {
  counters_.clear();
  nodes_with_.clear();
  holders_.clear();
  for (Node* n : order_)
    for (Pod* p : n->pods) hold(*n, *p, +1);
}

const Node* Cluster::node(std::string_view name) const {
  const auto it = nodes_.find(std::string(name));
  return it == nodes_.end() ? nullptr : it->second.get();
}

void Cluster::set_node(Node fresh) {
  const std::string name = fresh.name;
  auto& slot = nodes_[name];
  for (const auto& i : fresh.images) ++images_[i];
  if (slot) {
    for (const auto& i : slot->images)
      if (--images_[i] == 0) images_.erase(i);
    fresh.requested = slot->requested;
    fresh.scored_cpu = slot->scored_cpu;
    fresh.scored_memory = slot->scored_memory;
    fresh.pods = std::move(slot->pods);
    const bool moved = fresh.labels != slot->labels;
    *slot = std::move(fresh);  // the address stays: counters and pods point to it
    if (moved) forget_counts();
    return;
  }
  slot = std::make_unique<Node>(std::move(fresh));
  Node& node = *slot;
  order_.push_back(&node);
  nodes_with_.clear();
  for (auto& [key, c] : counters_) c->add_domain(node);
  const auto it = waiting_.find(name);
  if (it == waiting_.end()) return;
  const std::vector<Pod*> here = std::move(it->second);
  waiting_.erase(it);
  for (Pod* p : here) account(node, *p, +1);
}

void Cluster::remove_node(const std::string& name) {
  const auto it = nodes_.find(name);
  if (it == nodes_.end()) return;
  Node* node = it->second.get();
  // Pods of a node that is gone wait for it: it may come back, and each of them is removed by name.
  if (!node->pods.empty()) waiting_[name] = node->pods;
  for (const auto& i : node->images)
    if (--images_[i] == 0) images_.erase(i);
  order_.erase(std::find(order_.begin(), order_.end(), node));
  nodes_.erase(it);
  forget_counts();
}

void Cluster::set_pod(Pod fresh) {
  remove_pod(fresh.uid);
  const std::string uid = fresh.uid;
  auto& slot = pods_[uid];
  slot = std::make_unique<Pod>(std::move(fresh));
  const auto it = nodes_.find(slot->node);
  if (it == nodes_.end()) waiting_[slot->node].push_back(slot.get());
  else account(*it->second, *slot, +1);
}

void Cluster::remove_pod(const std::string& uid) {
  const auto it = pods_.find(uid);
  if (it == pods_.end()) return;
  Pod& pod = *it->second;
  const auto n = nodes_.find(pod.node);
  if (n != nodes_.end()) {
    account(*n->second, pod, -1);
  } else if (const auto w = waiting_.find(pod.node); w != waiting_.end()) {
    std::erase(w->second, &pod);
    if (w->second.empty()) waiting_.erase(w);
  }
  pods_.erase(it);
}

void Cluster::set_namespace(const std::string& name, json::Value labels) {
  const auto it = namespaces_.find(name);
  if (it != namespaces_.end() && it->second == labels) return;
  namespaces_[name] = std::move(labels);
  // Terms with a namespace selector may count differently now.
  std::erase_if(counters_, [](const auto& e) {
    return std::any_of(e.second->terms_.begin(), e.second->terms_.end(), [](const PodTerm& t) { return t.namespace_selector.has_value(); });
  });
}

void Cluster::account(Node& node, Pod& pod, int direction) {
  if (direction > 0) {
    node.pods.push_back(&pod);
    node.requested.add(pod.requests);
  } else {
    std::erase(node.pods, &pod);
    node.requested.subtract(pod.requests);
  }
  const int64_t cpu = pod.requests.get("cpu"), memory = pod.requests.get("memory");
  node.scored_cpu += direction * (cpu ? cpu : kScoredCpu);
  node.scored_memory += direction * (memory ? memory : kScoredMemory);
  for (auto& [key, c] : counters_)
    if (counts(*c, pod)) c->change(node, direction);
  hold(node, pod, direction);
}

void Cluster::hold(const Node& node, const Pod& pod, int direction) {
  const auto one = [&](TermHolders::Kind kind, const PodTerm& term) {
    bool present = false;
    const std::string value(node.label(term.topology_key, &present));
    if (!present) return;
    const std::string key = holder_key(kind, term);
    auto it = holders_.find(key);
    if (it == holders_.end()) {
      if (direction < 0) return;
      it = holders_.emplace(key, std::make_unique<TermHolders>(TermHolders{kind, term, {}})).first;
    }
    auto& by_value = it->second->by_value;
    if ((by_value[value] += direction) <= 0) by_value.erase(value);
    if (by_value.empty()) holders_.erase(it);
  };
  for (const auto& t : pod.required_anti) one(TermHolders::Kind::kAnti, t);
  for (const auto& t : pod.required_affinity) one(TermHolders::Kind::kAffinity, t);
  for (const auto& t : pod.preferred) one(TermHolders::Kind::kPreferred, t);
}

bool Cluster::counts(const DomainCounter& c, const Pod& pod) const {
  if (c.skip_terminating_ && pod.terminating) return false;
  return std::all_of(c.terms_.begin(), c.terms_.end(),
                     [&](const PodTerm& t) { return term_matches(t, pod.ns, pod.labels, namespaces_); });
}

const DomainCounter& Cluster::counter(const std::string& topology_key, const std::vector<PodTerm>& terms, bool skip_terminating) {
  std::string key = topology_key + (skip_terminating ? "/1" : "/0");
  for (const auto& t : terms) key += "/" + t.signature;
  auto& slot = counters_[key];
  if (slot) return *slot;
  slot = std::make_unique<DomainCounter>();
  slot->topology_key_ = topology_key;
  slot->terms_ = terms;
  slot->skip_terminating_ = skip_terminating;
  for (const Node* n : order_) {
    slot->add_domain(*n);
    for (const Pod* p : n->pods)
      if (counts(*slot, *p)) slot->change(*n, +1);
  }
  return *slot;
}

void Cluster::trim() {
  if (counters_.size() > kMostCounters) counters_.clear();
}

size_t Cluster::nodes_with(const std::string& topology_key) const {
  const auto it = nodes_with_.find(topology_key);
  if (it != nodes_with_.end()) return it->second;
  const size_t n = static_cast<size_t>(
      std::count_if(order_.begin(), order_.end(), [&](const Node* x) { return x->labels.contains(topology_key); }));
  nodes_with_[topology_key] = n;
  return n;
}

size_t Cluster::nodes_with_image(const std::string& image) const {
  const auto it = images_.find(image);
  return it == images_.end() ? 0 : it->second;
}

}  // namespace pintle::scheduling

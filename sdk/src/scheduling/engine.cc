#include "pintle/scheduling/engine.h"

#include <algorithm>
#include <map>
#include <set>

namespace pintle::scheduling {
namespace {

uint64_t hash(std::string_view a, std::string_view b) {
  uint64_t h = 1469598103934665603ull;
  for (const std::string_view s : {a, std::string_view("/"), b})
    for (const char c : s) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdull;
  return h ^ (h >> 29);
}

size_t enough_nodes(size_t all, int64_t percent) {
  if (all < 100) return all;
  if (percent <= 0) percent = std::max<int64_t>(5, 50 - static_cast<int64_t>(all) / 125);
  if (percent >= 100) return all;
  return std::max<size_t>(100, all * static_cast<size_t>(percent) / 100);
}

json::Value names(const std::set<std::string>& s) {
  json::Value v = json::Value::array();
  for (const auto& x : s) v.push(x);
  return v;
}

json::Value unschedulable(const Pending& pod, std::string message, json::Value filters) {
  return json::Value::object(
      {{"uid", pod.uid}, {"unschedulable", json::Value::object({{"message", std::move(message)}, {"filters", std::move(filters)}})}});
}

// "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable."
std::string summary(size_t available, size_t all, const std::map<std::string, size_t>& reasons) {
  std::string text = std::to_string(available) + "/" + std::to_string(all) + " nodes are available";
  std::vector<std::string> parts;
  parts.reserve(reasons.size());
  for (const auto& [reason, n] : reasons) parts.push_back(std::to_string(n) + " " + reason);
  std::sort(parts.begin(), parts.end());
  for (size_t i = 0; i < parts.size(); ++i) text += (i ? ", " : ": ") + parts[i];
  return text + ".";
}

}  // namespace

std::vector<const Filter*> Engine::active_filters(const Question& q) const {
  std::vector<const Filter*> active;
  for (const auto& f : policy_.filters)
    if (!f.needed || f.needed(q)) active.push_back(&f);
  return active;
}

const Filter* Engine::first_failing(const Question& q, const std::vector<const Filter*>& active, const Node& n, Why* why) const {
  for (const Filter* f : active)
    if (!f->passes(q, n, why)) return f;
  return nullptr;
}

std::vector<int64_t> Engine::totals(const Question& q, const std::vector<const Node*>& nodes,
                                    std::vector<std::vector<int64_t>>* each) const {
  std::vector<int64_t> total(nodes.size()), values;
  for (const auto& s : policy_.scores) {
    values.assign(nodes.size(), 0);
    s.rate(q, nodes, values);
    for (size_t i = 0; i < nodes.size(); ++i) total[i] += values[i] * s.weight;
    if (each) each->push_back(values);
  }
  return total;
}

json::Value Engine::refuse(const Question& q, const std::vector<const Filter*>& active) const {
  std::map<std::string, size_t> reasons;
  std::set<std::string> failed;
  for (const Node* n : cluster_.nodes()) {
    Why why;
    const Filter* f = first_failing(q, active, *n, &why);
    if (!f) continue;
    failed.insert(f->name);
    for (const auto& [reason, detail] : why.all) ++reasons[reason];
  }
  return unschedulable(q.pod, summary(0, cluster_.nodes().size(), reasons), names(failed));
}

json::Value Engine::decide(const Pending& pod) {
  const auto& nodes = cluster_.nodes();
  if (!pod.impossible.empty()) return unschedulable(pod, pod.impossible, json::Value::array({"Volumes"}));
  if (nodes.empty()) return unschedulable(pod, "no nodes available to schedule pods", json::Value::array({"Nodes"}));
  cluster_.trim();
  const Question q = Question::make(cluster_, pod);
  const auto active = active_filters(q);
  const size_t wanted = enough_nodes(nodes.size(), policy_.percent_of_nodes);
  std::vector<const Node*> possible;
  const size_t start = wanted < nodes.size() ? hash(pod.uid, "start") % nodes.size() : 0;
  for (size_t i = 0; i < nodes.size() && possible.size() < wanted; ++i) {
    const Node* n = nodes[(start + i) % nodes.size()];
    if (!first_failing(q, active, *n, nullptr)) possible.push_back(n);
  }
  if (possible.empty()) return refuse(q, active);
  const std::vector<int64_t> total = totals(q, possible, nullptr);
  size_t best = 0;
  uint64_t best_tie = hash(pod.uid, possible[0]->name);
  for (size_t i = 1; i < possible.size(); ++i) {
    if (total[i] < total[best]) continue;
    const uint64_t tie = hash(pod.uid, possible[i]->name);
    if (total[i] > total[best] || tie > best_tie) {
      best = i;
      best_tie = tie;
    }
  }
  Pod assumed = static_cast<const Pod&>(pod);  // what it asks for ends here, what it is stays
  assumed.node = possible[best]->name;
  json::Value decision = json::Value::object({{"uid", pod.uid}, {"node", assumed.node}});
  cluster_.set_pod(std::move(assumed));
  return decision;
}

json::Value Engine::schedule(const json::Value& request) {
  json::Value decisions = json::Value::array();
  for (const auto& p : request["pods"].items()) decisions.push(decide(parse_pending(p)));
  return json::Value::object({{"decisions", std::move(decisions)}});
}

json::Value Engine::explain(const json::Value& request) {
  const Pending pod = parse_pending(request["pod"]);
  json::Value rows = json::Value::array();
  if (!pod.impossible.empty()) return json::Value::object({{"message", pod.impossible}, {"nodes", rows}});
  if (cluster_.nodes().empty()) return json::Value::object({{"message", "no nodes available to schedule pods"}, {"nodes", rows}});
  cluster_.trim();
  const Question q = Question::make(cluster_, pod);
  const auto active = active_filters(q);
  std::vector<const Node*> possible;
  std::map<std::string, size_t> reasons;
  json::Array refused;
  for (const Node* n : cluster_.nodes()) {
    Why why;
    const Filter* f = first_failing(q, active, *n, &why);
    if (!f) {
      possible.push_back(n);
      continue;
    }
    for (const auto& [reason, detail] : why.all) ++reasons[reason];
    refused.push_back(json::Value::object({{"name", n->name}, {"filter", f->name}, {"reason", why.detail}}));
  }
  std::vector<std::vector<int64_t>> each;
  const std::vector<int64_t> total = totals(q, possible, &each);
  std::vector<size_t> order(possible.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (total[a] != total[b]) return total[a] > total[b];
    return hash(pod.uid, possible[a]->name) > hash(pod.uid, possible[b]->name);
  });
  for (const size_t i : order) {
    json::Value scores = json::Value::object();
    for (size_t s = 0; s < policy_.scores.size(); ++s) scores.set(policy_.scores[s].name, each[s][i]);
    rows.push(json::Value::object({{"name", possible[i]->name}, {"scores", std::move(scores)}, {"total", total[i]}}));
  }
  for (auto& r : refused) rows.push(std::move(r));
  return json::Value::object({{"message", summary(possible.size(), cluster_.nodes().size(), reasons)}, {"nodes", std::move(rows)}});
}

}  // namespace pintle::scheduling

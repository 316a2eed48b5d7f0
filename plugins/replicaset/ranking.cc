#include "ranking.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <numeric>

#include "pintle/timestamp.h"
#include "pintle/workload.h"

namespace pintle::replicaset {
namespace {

struct Rank {
  std::string node, uid;
  int phase = 0;  // pending 0, unknown 1, running 2
  bool ready = false;
  int64_t cost = 0, related = 0, ready_age = -1, restarts = 0, created = 0;
};

int64_t power_of(int64_t age_ns) { return age_ns > 0 ? std::bit_width(static_cast<uint64_t>(age_ns)) : -1; }

Rank rank_of(const json::Value& pod, const std::map<std::string, int64_t>& related, int64_t wall_ns) {
  Rank r;
  r.uid = pod.at("metadata.uid").as_string();
  r.node = pod.at("spec.nodeName").as_string();
  const std::string_view phase = pod.at("status.phase").as_string("Pending");
  r.phase = phase == "Pending" ? 0 : phase == "Running" ? 2 : 1;
  r.ready = pod_ready(pod);
  const std::string_view cost = pod.at("metadata.annotations[controller.kubernetes.io/pod-deletion-cost]").as_string();
  std::from_chars(cost.data(), cost.data() + cost.size(), r.cost);
  const auto it = related.find(r.node);
  r.related = r.node.empty() || it == related.end() ? 0 : it->second;
  if (r.ready)
    if (const auto since = parse_time(condition_of(pod, "Ready")["lastTransitionTime"].as_string())) r.ready_age = wall_ns - *since;
  for (const auto& c : pod.at("status.containerStatuses").items()) r.restarts = std::max(r.restarts, c["restartCount"].as_int());
  r.created = parse_time(pod.at("metadata.creationTimestamp").as_string()).value_or(0);
  return r;
}

bool goes_first(const Rank& a, const Rank& b, int64_t wall_ns) {
  if (a.node.empty() != b.node.empty()) return a.node.empty();
  if (a.phase != b.phase) return a.phase < b.phase;
  if (a.ready != b.ready) return !a.ready;
  if (a.cost != b.cost) return a.cost < b.cost;
  if (a.related != b.related) return a.related > b.related;
  if (a.ready && a.ready_age != b.ready_age) {
    const int64_t pa = power_of(a.ready_age), pb = power_of(b.ready_age);
    if (pa != pb) return pa < pb;
    return a.uid < b.uid;
  }
  if (a.restarts != b.restarts) return a.restarts > b.restarts;
  if (a.created != b.created) {
    const int64_t pa = power_of(wall_ns - a.created), pb = power_of(wall_ns - b.created);
    if (pa != pb) return pa < pb;
  }
  return a.uid < b.uid;
}

}  // namespace

std::vector<size_t> pods_to_delete(const std::vector<json::Value>& pods, size_t count, const std::map<std::string, int64_t>& related,
                                   int64_t wall_ns) {
  std::vector<Rank> ranks;
  for (const auto& p : pods) ranks.push_back(rank_of(p, related, wall_ns));
  std::vector<size_t> order(pods.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // "Ready for a time of the same power" is no strict order together with what follows it, but sorts the same set every time.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return goes_first(ranks[a], ranks[b], wall_ns); });
  order.resize(std::min(count, order.size()));
  return order;
}

}  // namespace pintle::replicaset

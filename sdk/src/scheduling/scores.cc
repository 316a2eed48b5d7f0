#include <algorithm>
#include <cmath>
#include <limits>

#include "pintle/scheduling/engine.h"

namespace pintle::scheduling {
namespace {

struct Use {
  double cpu, memory;  // part of the allocatable that is asked for once the pod is there; 1 = full
};

Use use_after(const Question& q, const Node& n) {
  const int64_t cpu = q.pod.requests.get("cpu"), memory = q.pod.requests.get("memory");
  const auto part = [](int64_t used, int64_t has) {
    return has <= 0 ? 1.0 : std::min(1.0, static_cast<double>(used) / static_cast<double>(has));
  };
  return {part(n.scored_cpu + (cpu ? cpu : kScoredCpu), n.allocatable.get("cpu")),
          part(n.scored_memory + (memory ? memory : kScoredMemory), n.allocatable.get("memory"))};
}

int64_t percent(double v) { return static_cast<int64_t>(std::lround(std::clamp(v, 0.0, 1.0) * 100)); }

Score per_node(std::string name, int64_t weight, int64_t (*rate)(const Question&, const Node&)) {
  return {std::move(name), weight, [rate](const Question& q, const std::vector<const Node*>& nodes, std::vector<int64_t>& values) {
            for (size_t i = 0; i < nodes.size(); ++i) values[i] = rate(q, *nodes[i]);
          }};
}

// Raw values to 0..100, the largest becoming 100; reverse: the largest becomes 0.
void scale_to_largest(std::vector<int64_t>& values, bool reverse) {
  const int64_t most = values.empty() ? 0 : *std::max_element(values.begin(), values.end());
  for (auto& v : values) {
    v = most == 0 ? 0 : v * 100 / most;
    if (reverse) v = 100 - v;
  }
}

void spread_over(std::vector<int64_t>& values) {
  if (values.empty()) return;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const int64_t least = *low, range = *high - *low;
  for (auto& v : values) v = range == 0 ? 0 : (v - least) * 100 / range;
}

}  // namespace

Score least_allocated(int64_t weight) {
  return per_node("LeastAllocated", weight, [](const Question& q, const Node& n) {
    const Use u = use_after(q, n);
    return percent((1 - u.cpu + 1 - u.memory) / 2);
  });
}

Score most_allocated(int64_t weight) {
  return per_node("MostAllocated", weight, [](const Question& q, const Node& n) {
    const Use u = use_after(q, n);
    return percent((u.cpu + u.memory) / 2);
  });
}

Score balanced_allocation(int64_t weight) {
  return per_node("BalancedAllocation", weight, [](const Question& q, const Node& n) {
    const Use u = use_after(q, n);
    return percent(1 - std::abs(u.cpu - u.memory) / 2);
  });
}

Score node_affinity(int64_t weight) {
  return {"NodeAffinity", weight, [](const Question& q, const std::vector<const Node*>& nodes, std::vector<int64_t>& values) {
            if (q.pod.preferred_nodes.empty()) return;
            for (size_t i = 0; i < nodes.size(); ++i)
              for (const auto& t : q.pod.preferred_nodes)
                if (t.matches(*nodes[i])) values[i] += t.weight;
            scale_to_largest(values, false);
          }};
}

Score taint_toleration(int64_t weight) {
  return {"TaintToleration", weight, [](const Question& q, const std::vector<const Node*>& nodes, std::vector<int64_t>& values) {
            for (size_t i = 0; i < nodes.size(); ++i)
              for (const auto& t : nodes[i]->taints)
                if (t.effect == "PreferNoSchedule" &&
                    std::none_of(q.pod.tolerations.begin(), q.pod.tolerations.end(), [&](const auto& x) { return x.tolerates(t); }))
                  ++values[i];
            scale_to_largest(values, true);
          }};
}

Score pod_affinity(int64_t weight) {
  return {"InterPodAffinity", weight, [](const Question& q, const std::vector<const Node*>& nodes, std::vector<int64_t>& values) {
            if (q.wishes.empty() && q.wishing.empty()) return;
            for (size_t i = 0; i < nodes.size(); ++i) {
              for (const auto& [counter, w] : q.wishes) {
                bool present = false;
                const std::string_view value = nodes[i]->label(counter->topology_key(), &present);
                if (present) values[i] += w * counter->in_domain(value);
              }
              for (const auto& [holders, w] : q.wishing) {
                bool present = false;
                const std::string value(nodes[i]->label(holders->term.topology_key, &present));
                const auto it = present ? holders->by_value.find(value) : holders->by_value.end();
                if (it != holders->by_value.end()) values[i] += w * it->second;
              }
            }
            spread_over(values);
          }};
}

Score topology_spread(int64_t weight) {
  return {"PodTopologySpread", weight, [](const Question& q, const std::vector<const Node*>& nodes, std::vector<int64_t>& values) {
            bool any = false;
            constexpr int64_t kMissing = std::numeric_limits<int64_t>::max();
            for (const auto& s : q.spread) {
              if (s.constraint->hard) continue;
              any = true;
              for (size_t i = 0; i < nodes.size(); ++i) {
                bool present = false;
                const std::string_view value = nodes[i]->label(s.constraint->term.topology_key, &present);
                if (!present || values[i] == kMissing) values[i] = kMissing;
                else values[i] += 10 * s.in_domain(value) + (s.constraint->max_skew - 1);
              }
            }
            if (!any && q.alike) {
              any = true;
              for (size_t i = 0; i < nodes.size(); ++i)
                values[i] = 5 * q.alike->on_node(nodes[i]) + q.alike_zone->in_domain(nodes[i]->label("topology.kubernetes.io/zone"));
            }
            if (!any) return;
            int64_t least = kMissing, most = 0;
            for (const int64_t v : values)
              if (v != kMissing) {
                least = std::min(least, v);
                most = std::max(most, v);
              }
            for (auto& v : values) v = v == kMissing ? 0 : most == least ? 100 : 100 * (most - v) / (most - least);
          }};
}

Score image_locality(int64_t weight) {
  return {"ImageLocality", weight, [](const Question& q, const std::vector<const Node*>& nodes, std::vector<int64_t>& values) {
            if (q.pod.images.empty() || q.cluster.nodes().empty()) return;
            for (const auto& image : q.pod.images) {
              // An image that few nodes have attracts less: otherwise the first node to pull it would get every pod.
              const int64_t share = static_cast<int64_t>(100 * q.cluster.nodes_with_image(image) / q.cluster.nodes().size());
              if (share == 0) continue;
              for (size_t i = 0; i < nodes.size(); ++i)
                if (nodes[i]->images.contains(image)) values[i] += share;
            }
            for (auto& v : values) v /= static_cast<int64_t>(q.pod.images.size());
          }};
}

}  // namespace pintle::scheduling

#include <algorithm>
#include <limits>

#include "pintle/scheduling/engine.h"

namespace pintle::scheduling {
namespace {

bool node_unschedulable(const Question& q, const Node& n, Why* why) {
  if (!n.unschedulable) return true;
  const Taint taint{"node.kubernetes.io/unschedulable", "", "NoSchedule"};
  for (const auto& t : q.pod.tolerations)
    if (t.tolerates(taint)) return true;
  if (why) why->add("node(s) were unschedulable", "the node is cordoned (spec.unschedulable)");
  return false;
}

bool node_name(const Question& q, const Node& n, Why* why) {
  if (q.pod.wanted_node.empty() || q.pod.wanted_node == n.name) return true;
  if (why) why->add("node(s) didn't match the requested node name", "the pod asks for node \"" + q.pod.wanted_node + "\"");
  return false;
}

bool taint_toleration_filter(const Question& q, const Node& n, Why* why) {
  const Taint* t = q.pod.untolerated(n);
  if (!t) return true;
  if (why) why->add("node(s) had untolerated taint " + t->text(), "untolerated taint " + t->text() + ", effect " + t->effect);
  return false;
}

bool node_affinity_filter(const Question& q, const Node& n, Why* why) {
  if (q.pod.node_matches(n)) return true;
  if (why) {
    std::string detail;
    for (const auto& r : q.pod.node_selector.requirements()) {
      bool present = false;
      const std::string_view value = n.label(r.key, &present);
      if (r.matches(present ? &value : nullptr)) continue;
      detail = "wants " + r.text() + ", the node has " + (present ? r.key + "=" + std::string(value) : "no label " + r.key);
      break;
    }
    if (detail.empty()) detail = "no term of the required node affinity matches the node's labels";
    why->add("node(s) didn't match Pod's node affinity/selector", detail);
  }
  return false;
}

bool node_ports(const Question& q, const Node& n, Why* why) {
  for (const Pod* p : n.pods)
    for (const auto& used : p->host_ports)
      for (const auto& wanted : q.pod.host_ports)
        if (used.conflicts(wanted)) {
          if (why)
            why->add("node(s) didn't have free ports for the requested pod ports",
                     "host port " + std::to_string(wanted.port) + "/" + wanted.protocol + " is taken by pod \"" + p->ns + "/" + p->name + "\"");
          return false;
        }
  return true;
}

bool resources_fit(const Question& q, const Node& n, Why* why) {
  bool fits = true;
  for (const auto& [resource, wanted] : q.pod.requests.items()) {
    if (wanted <= 0) continue;
    const int64_t has = n.allocatable.get(resource), used = n.requested.get(resource);
    if (wanted <= has - used) continue;
    fits = false;
    if (!why) return false;
    if (resource == "pods") {
      why->add("Too many pods", "Too many pods: " + std::to_string(used) + " of " + std::to_string(has) + " are there");
    } else {
      why->add("Insufficient " + resource, "Insufficient " + resource + ": needs " + amount_text(resource, wanted) + ", " +
                                               amount_text(resource, std::max<int64_t>(0, has - used)) + " of " +
                                               amount_text(resource, has) + " free");
    }
  }
  return fits;
}

bool inter_pod_affinity(const Question& q, const Node& n, Why* why) {
  for (size_t i = 0; i < q.affinity.size(); ++i) {
    bool present = false;
    const std::string_view value = n.label(q.affinity[i]->topology_key(), &present);
    if (present && (q.first_of_its_kind || q.affinity[i]->in_domain(value) > 0)) continue;
    if (why)
      why->add("node(s) didn't match pod affinity rules",
               present ? "no pod that matches " + q.pod.required_affinity[i].selector.text() + " in " + q.affinity[i]->topology_key() +
                             "=" + std::string(value)
                       : "the node has no label " + q.affinity[i]->topology_key());
    return false;
  }
  for (size_t i = 0; i < q.anti.size(); ++i) {
    bool present = false;
    const std::string_view value = n.label(q.anti[i]->topology_key(), &present);
    const int64_t count = present ? q.anti[i]->in_domain(value) : 0;
    if (count == 0) continue;
    if (why)
      why->add("node(s) didn't match pod anti-affinity rules",
               std::to_string(count) + " pod(s) that match " + q.pod.required_anti[i].selector.text() + " in " +
                   q.anti[i]->topology_key() + "=" + std::string(value));
    return false;
  }
  for (const TermHolders* h : q.forbidding) {
    bool present = false;
    const std::string value(n.label(h->term.topology_key, &present));
    if (!present || !h->by_value.contains(value)) continue;
    if (why)
      why->add("node(s) didn't satisfy existing pods anti-affinity rules",
               "a pod in " + h->term.topology_key + "=" + value + " wants no pod that matches " + h->term.selector.text());
    return false;
  }
  return true;
}

bool topology_spread_filter(const Question& q, const Node& n, Why* why) {
  for (const auto& s : q.spread) {
    if (!s.constraint->hard) continue;
    const std::string& key = s.constraint->term.topology_key;
    bool present = false;
    const std::string_view value = n.label(key, &present);
    if (!present) {
      if (why)
        why->add("node(s) didn't match pod topology spread constraints (missing required label)", "the node has no label " + key);
      return false;
    }
    const int64_t count = s.in_domain(value);
    const int64_t skew = count + (s.constraint->counts_itself ? 1 : 0) - s.smallest;
    if (skew <= s.constraint->max_skew) continue;
    if (why)
      why->add("node(s) didn't match pod topology spread constraints",
               std::to_string(count) + " matching pod(s) in " + key + "=" + std::string(value) + ", the least is " +
                   std::to_string(s.smallest) + ": the skew would be " + std::to_string(skew) + ", at most " +
                   std::to_string(s.constraint->max_skew) + " is allowed");
    return false;
  }
  return true;
}

// Does a node take part in counting for this constraint?
bool takes_part(const Question& q, const SpreadConstraint& c, const std::vector<const SpreadConstraint*>& together, const Node& n) {
  for (const SpreadConstraint* other : together)
    if (!n.labels.contains(other->term.topology_key)) return false;
  if (c.honor_affinity && !q.pod.node_matches(n)) return false;
  return !c.honor_taints || !q.pod.untolerated(n);
}

void prepare_spread(Question& q, Cluster& cluster) {
  const Pending& pod = q.pod;
  const bool picky = !pod.node_selector.empty() || pod.has_node_terms;
  for (const bool hard : {true, false}) {
    std::vector<const SpreadConstraint*> together;
    bool everywhere = true;
    for (const auto& c : pod.spread)
      if (c.hard == hard) {
        together.push_back(&c);
        everywhere &= cluster.nodes_with(c.term.topology_key) == cluster.nodes().size();
      }
    for (const SpreadConstraint* c : together) {
      Question::Spread s{c, nullptr, {}, 0};
      const DomainCounter& counter = cluster.counter(c->term.topology_key, {c->term}, true);
      size_t domains = 0;
      const bool all = (everywhere || together.size() == 1) && !(picky && c->honor_affinity) && !c->honor_taints;
      if (all) {
        s.counter = &counter;
        s.smallest = counter.smallest();
        domains = counter.domains();
      } else {
        for (const Node* n : cluster.nodes())
          if (takes_part(q, *c, together, *n)) s.own[std::string(n->label(c->term.topology_key))] += counter.on_node(n);
        s.smallest = s.own.empty() ? 0 : std::numeric_limits<int64_t>::max();
        for (const auto& [value, count] : s.own) s.smallest = std::min(s.smallest, count);
        domains = s.own.size();
      }
      if (c->min_domains > 0 && domains < static_cast<size_t>(c->min_domains)) s.smallest = 0;
      q.spread.push_back(std::move(s));
    }
  }
}

bool matches_all(const std::vector<PodTerm>& terms, const Pod& pod, const Cluster& cluster) {
  return std::all_of(terms.begin(), terms.end(),
                     [&](const PodTerm& t) { return term_matches(t, pod.ns, pod.labels, cluster.namespaces()); });
}

}  // namespace

void Why::add(std::string r, std::string d) {
  if (reason.empty()) {
    reason = r;
    detail = d.empty() ? r : d;
  } else {
    detail += "; " + (d.empty() ? r : d);
  }
  all.emplace_back(std::move(r), std::move(d));
}

int64_t Question::Spread::in_domain(std::string_view value) const {
  if (counter) return counter->in_domain(value);
  const auto it = own.find(std::string(value));
  return it == own.end() ? 0 : it->second;
}

Question Question::make(Cluster& cluster, const Pending& pod) {
  Question q{cluster, pod, {}, {}, {}, false, {}, {}, {}, nullptr, nullptr};
  prepare_spread(q, cluster);
  int64_t matching = 0;
  for (const auto& t : pod.required_affinity) {
    q.affinity.push_back(&cluster.counter(t.topology_key, pod.required_affinity, false));
    matching += q.affinity.back()->total();
  }
  q.first_of_its_kind = matching == 0 && matches_all(pod.required_affinity, pod, cluster);
  for (const auto& t : pod.required_anti) q.anti.push_back(&cluster.counter(t.topology_key, {t}, false));
  for (const auto& t : pod.preferred) q.wishes.emplace_back(&cluster.counter(t.topology_key, {t}, false), t.weight);
  for (const auto& [key, h] : cluster.holders()) {
    if (!term_matches(h->term, pod.ns, pod.labels, cluster.namespaces())) continue;
    switch (h->kind) {
      case TermHolders::Kind::kAnti: q.forbidding.push_back(h.get()); break;
      case TermHolders::Kind::kAffinity: q.wishing.emplace_back(h.get(), 1); break;
      case TermHolders::Kind::kPreferred: q.wishing.emplace_back(h.get(), h->term.weight); break;
    }
  }
  if (pod.spread.empty() && !pod.labels.empty()) {
    PodTerm alike;
    alike.selector = Selector::from_map(pod.labels);
    alike.namespaces = {pod.ns};
    alike.signature = pod.ns + ",|" + alike.selector.text();
    q.alike = &cluster.counter("kubernetes.io/hostname", {alike}, true);
    q.alike_zone = &cluster.counter("topology.kubernetes.io/zone", {alike}, true);
  }
  return q;
}

std::vector<Filter> standard_filters() {
  return {
      {"NodeUnschedulable", node_unschedulable, {}},
      {"NodeName", node_name, [](const Question& q) { return !q.pod.wanted_node.empty(); }},
      {"TaintToleration", taint_toleration_filter, {}},
      {"NodeAffinity", node_affinity_filter,
       [](const Question& q) { return !q.pod.node_selector.empty() || q.pod.has_node_terms; }},
      {"NodePorts", node_ports, [](const Question& q) { return !q.pod.host_ports.empty(); }},
      {"NodeResourcesFit", resources_fit, {}},
      {"InterPodAffinity", inter_pod_affinity,
       [](const Question& q) { return !q.affinity.empty() || !q.anti.empty() || !q.forbidding.empty(); }},
      {"PodTopologySpread", topology_spread_filter,
       [](const Question& q) {
         return std::any_of(q.spread.begin(), q.spread.end(), [](const auto& s) { return s.constraint->hard; });
       }},
  };
}

}  // namespace pintle::scheduling

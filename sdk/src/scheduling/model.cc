#include "pintle/scheduling/model.h"

#include <algorithm>

namespace pintle::scheduling {
namespace {

std::string text_of(const json::Value& v) { return std::string(v.as_string()); }

// An image's name as nodes report it: with a tag.
std::string full_image(std::string_view image) {
  std::string s(image);
  const size_t slash = s.rfind('/');
  if (s.find('@') == std::string::npos && s.find(':', slash == std::string::npos ? 0 : slash) == std::string::npos) s += ":latest";
  return s;
}

PodTerm parse_term(const json::Value& v, const std::string& own_ns, const json::Value& own_labels, int64_t weight) {
  PodTerm t;
  t.topology_key = text_of(v["topologyKey"]);
  auto selector = Selector::from_object(v["labelSelector"]);
  t.selector = selector.ok() ? *selector : Selector::nothing();
  const auto bind_keys = [&](const char* member, LabelOp op) {
    for (const auto& key : v[member].items())
      if (const json::Value* value = own_labels.find(key.as_string()))
        t.selector.add({text_of(key), op, {text_of(*value)}});
  };
  bind_keys("matchLabelKeys", LabelOp::kIn);
  bind_keys("mismatchLabelKeys", LabelOp::kNotIn);
  for (const auto& ns : v["namespaces"].items()) t.namespaces.push_back(text_of(ns));
  const json::Value& by_label = v["namespaceSelector"];
  if (!by_label.is_null()) {
    auto s = Selector::from_object(by_label);
    t.namespace_selector = s.ok() ? *s : Selector::nothing();
  }
  if (t.namespaces.empty() && !t.namespace_selector) t.namespaces.push_back(own_ns);
  std::sort(t.namespaces.begin(), t.namespaces.end());
  t.weight = weight;
  for (const auto& ns : t.namespaces) t.signature += ns + ",";
  if (t.namespace_selector) t.signature += "|" + t.namespace_selector->text();
  t.signature += t.selector.matches_nothing() ? "|nothing" : "|" + t.selector.text();
  return t;
}

void parse_pod_affinity(const json::Value& affinity, Pod& pod) {
  const json::Value &for_it = affinity["podAffinity"], &against = affinity["podAntiAffinity"];
  const char* const required = "requiredDuringSchedulingIgnoredDuringExecution";
  const char* const preferred = "preferredDuringSchedulingIgnoredDuringExecution";
  for (const auto& t : for_it[required].items()) pod.required_affinity.push_back(parse_term(t, pod.ns, pod.labels, 0));
  for (const auto& t : against[required].items()) pod.required_anti.push_back(parse_term(t, pod.ns, pod.labels, 0));
  for (const auto& t : for_it[preferred].items())
    pod.preferred.push_back(parse_term(t["podAffinityTerm"], pod.ns, pod.labels, t["weight"].as_int()));
  for (const auto& t : against[preferred].items())
    pod.preferred.push_back(parse_term(t["podAffinityTerm"], pod.ns, pod.labels, -t["weight"].as_int()));
}

NodeTerm parse_node_term(const json::Value& v, int64_t weight) {
  NodeTerm t;
  t.weight = weight;
  const auto read = [](const json::Value& list, std::vector<LabelRequirement>& out) {
    for (const auto& e : list.items()) {
      auto r = label_requirement(e);
      // A malformed requirement matches nothing.
      out.push_back(r.ok() ? *r : LabelRequirement{"", LabelOp::kIn, {}});
    }
  };
  read(v["matchExpressions"], t.expressions);
  read(v["matchFields"], t.fields);
  return t;
}

void parse_common(const json::Value& v, Pod& p) {
  p.uid = text_of(v["uid"]);
  p.ns = text_of(v["namespace"]);
  p.name = text_of(v["name"]);
  p.labels = v["labels"];
  p.requests = Amounts::from_numbers(v["requests"]);
  if (!p.requests.contains("pods")) p.requests.set("pods", 1);
  for (const auto& h : v["hostPorts"].items())
    p.host_ports.push_back({text_of(h["ip"]), std::string(h["protocol"].as_string("TCP")), h["port"].as_int()});
}

SpreadConstraint parse_spread(const json::Value& v, const Pending& p) {
  SpreadConstraint c;
  c.term = parse_term(v, p.ns, p.labels, 0);
  c.max_skew = std::max<int64_t>(1, v["maxSkew"].as_int(1));
  c.min_domains = v["minDomains"].as_int(0);
  c.hard = v["whenUnsatisfiable"].as_string("DoNotSchedule") != "ScheduleAnyway";
  c.honor_affinity = v["nodeAffinityPolicy"].as_string("Honor") == "Honor";
  c.honor_taints = v["nodeTaintsPolicy"].as_string("Ignore") == "Honor";
  c.counts_itself = c.term.selector.matches(p.labels);
  return c;
}

}  // namespace

bool Toleration::tolerates(const Taint& taint) const {
  if (!effect.empty() && effect != taint.effect) return false;
  if (!key.empty() && key != taint.key) return false;
  if (key.empty() && !exists) return false;
  return exists || value == taint.value;
}

bool HostPort::conflicts(const HostPort& o) const {
  if (port != o.port || protocol != o.protocol) return false;
  const auto any = [](const std::string& a) { return a.empty() || a == "0.0.0.0" || a == "::"; };
  return any(ip) || any(o.ip) || ip == o.ip;
}

std::string_view Node::label(std::string_view key, bool* present) const {
  const json::Value* v = labels.find(key);
  if (present) *present = v != nullptr;
  return v ? v->as_string() : std::string_view();
}

bool NodeTerm::matches(const Node& node) const {
  if (expressions.empty() && fields.empty()) return false;  // an empty term matches no node
  for (const auto& r : expressions) {
    bool present = false;
    const std::string_view value = node.label(r.key, &present);
    if (!r.matches(present ? &value : nullptr)) return false;
  }
  for (const auto& r : fields) {
    const std::string_view name = node.name;
    if (!r.matches(r.key == "metadata.name" ? &name : nullptr)) return false;
  }
  return true;
}

bool Pending::node_matches(const Node& on) const {
  if (!node_selector.matches(on.labels)) return false;
  if (!has_node_terms) return true;
  return std::any_of(node_terms.begin(), node_terms.end(), [&](const NodeTerm& t) { return t.matches(on); });
}

const Taint* Pending::untolerated(const Node& on) const {
  for (const auto& t : on.taints) {
    if (t.effect != "NoSchedule" && t.effect != "NoExecute") continue;
    if (std::none_of(tolerations.begin(), tolerations.end(), [&](const Toleration& x) { return x.tolerates(t); })) return &t;
  }
  return nullptr;
}

Node parse_node(const json::Value& v) {
  Node n;
  n.name = text_of(v["name"]);
  n.labels = v["labels"];
  n.unschedulable = v["unschedulable"].as_bool();
  n.ready = v["ready"].as_bool(true);
  n.allocatable = Amounts::from_numbers(v["allocatable"]);
  for (const auto& t : v["taints"].items()) n.taints.push_back({text_of(t["key"]), text_of(t["value"]), text_of(t["effect"])});
  const auto not_ready = [](const Taint& t) {
    return t.key == "node.kubernetes.io/not-ready" || t.key == "node.kubernetes.io/unreachable";
  };
  if (!n.ready && std::none_of(n.taints.begin(), n.taints.end(), not_ready))
    n.taints.push_back({"node.kubernetes.io/not-ready", "", "NoSchedule"});
  for (const auto& i : v["images"].items()) n.images.insert(text_of(i));
  return n;
}

Pod parse_pod(const json::Value& v) {
  Pod p;
  parse_common(v, p);
  p.node = text_of(v["node"]);
  p.terminating = v["terminating"].as_bool();
  parse_pod_affinity(v["affinity"], p);
  return p;
}

Pending parse_pending(const json::Value& v) {
  Pending p;
  parse_common(v, p);
  const json::Value& spec = v["spec"];
  p.priority = v["priority"].as_int();
  p.wanted_node = text_of(spec["nodeName"]);
  p.node_selector = Selector::from_map(spec["nodeSelector"]);
  const json::Value& node_affinity = spec.at("affinity.nodeAffinity");
  const json::Value& required = node_affinity["requiredDuringSchedulingIgnoredDuringExecution"];
  p.has_node_terms = required.is_object();
  for (const auto& t : required["nodeSelectorTerms"].items()) p.node_terms.push_back(parse_node_term(t, 0));
  for (const auto& t : node_affinity["preferredDuringSchedulingIgnoredDuringExecution"].items())
    p.preferred_nodes.push_back(parse_node_term(t["preference"], t["weight"].as_int()));
  for (const auto& t : spec["tolerations"].items())
    p.tolerations.push_back({text_of(t["key"]), text_of(t["value"]), text_of(t["effect"]), t["operator"].as_string() == "Exists"});
  parse_pod_affinity(spec["affinity"], p);
  for (const auto& c : spec["topologySpreadConstraints"].items()) p.spread.push_back(parse_spread(c, p));
  for (const char* list : {"containers", "initContainers"})
    for (const auto& c : spec[list].items()) p.images.push_back(full_image(c["image"].as_string()));
  for (const auto& volume : spec["volumes"].items()) {
    if (const json::Value* claim = volume.find("persistentVolumeClaim"))
      p.impossible = "persistentvolumeclaim \"" + text_of((*claim)["claimName"]) + "\" not found: persistent volumes are not served";
    else if (volume.contains("ephemeral"))
      p.impossible = "volume \"" + text_of(volume["name"]) + "\" is ephemeral: persistent volumes are not served";
  }
  if (!spec["resourceClaims"].empty()) p.impossible = "resource claims are not served";
  return p;
}

bool term_matches(const PodTerm& term, const std::string& ns, const json::Value& labels,
                  const std::map<std::string, json::Value>& namespaces) {
  bool in_namespace = std::binary_search(term.namespaces.begin(), term.namespaces.end(), ns);
  if (!in_namespace && term.namespace_selector) {
    const auto it = namespaces.find(ns);
    in_namespace = term.namespace_selector->matches(it == namespaces.end() ? json::Value() : it->second);
  }
  return in_namespace && term.selector.matches(labels);
}

}  // namespace pintle::scheduling

#include "endpoints.h"

#include <algorithm>
#include <map>
#include <utility>

namespace pintle::service {
namespace {

using json::Value;

constexpr size_t kMaxPerSlice = 100;
constexpr size_t kMaxEndpoints = 1000;
constexpr char kServiceName[] = "kubernetes.io/service-name";
constexpr char kManagedByLabel[] = "endpointslice.kubernetes.io/managed-by";

bool pod_ready(const Value& pod) {
  for (const Value& c : pod.at("status.conditions").items())
    if (c["type"].as_string() == "Ready") return c["status"].as_string() == "True";
  return false;
}

bool pod_counts(const Value& pod) {
  const std::string_view phase = pod.at("status.phase").as_string();
  return !pod.at("status.podIP").as_string().empty() && phase != "Succeeded" && phase != "Failed";
}

// The pod's number for a Service port; 0 when a named port is not there.
int64_t target_port(const Value& port, const Value& pod) {
  const Value& target = port["targetPort"];
  if (target.is_int()) return target.as_int();
  if (!target.is_string()) return port["port"].as_int();
  for (const char* list : {"spec.containers", "spec.initContainers"})
    for (const Value& c : pod.at(list).items())
      for (const Value& p : c["ports"].items())
        if (p["name"] == target && p["protocol"].as_string("TCP") == port["protocol"].as_string("TCP")) return p["containerPort"].as_int();
  return 0;
}

Value slice_ports(const Value& service, const Value& pod) {
  Value out = Value::array();
  for (const Value& p : service.at("spec.ports").items()) {
    const int64_t n = target_port(p, pod);
    if (n == 0) continue;
    Value port = Value::object({{"name", p["name"].as_string()}, {"protocol", p["protocol"].as_string("TCP")}, {"port", n}});
    if (!p["appProtocol"].is_null()) port.set("appProtocol", p["appProtocol"]);
    out.push(std::move(port));
  }
  return out;
}

Value pod_reference(const Value& pod) {
  return Value::object({{"kind", "Pod"}, {"namespace", pod.at("metadata.namespace")}, {"name", pod.at("metadata.name")}, {"uid", pod.at("metadata.uid")}});
}

// The pod's name below the Service, when it asks for one there.
std::string hostname_of(const Value& service, const Value& pod) {
  return pod.at("spec.subdomain") == service.at("metadata.name") ? std::string(pod.at("spec.hostname").as_string()) : std::string();
}

Value slice_endpoint(const Value& service, const Value& pod) {
  const bool ready = pod_ready(pod);
  const bool terminating = !pod.at("metadata.deletionTimestamp").is_null();
  const bool publish = service.at("spec.publishNotReadyAddresses").as_bool();
  Value e = Value::object({{"addresses", Value::array({pod.at("status.podIP")})},
                           {"conditions", Value::object({{"ready", publish || (ready && !terminating)}, {"serving", ready}, {"terminating", terminating}})}});
  if (const std::string hostname = hostname_of(service, pod); !hostname.empty()) e.set("hostname", hostname);
  e.set("targetRef", pod_reference(pod));
  if (!pod.at("spec.nodeName").is_null()) e.set("nodeName", pod.at("spec.nodeName"));
  return e;
}

Value owner_of(const Value& object, const char* api_version, const char* kind) {
  return Value::array({Value::object({{"apiVersion", api_version}, {"kind", kind}, {"name", object.at("metadata.name")}, {"uid", object.at("metadata.uid")},
                                      {"controller", true}, {"blockOwnerDeletion", true}})});
}

Value slice_labels(const Value& service, const char* managed_by) {
  Value labels = Value::object();
  for (const auto& m : service.at("metadata.labels").members()) labels.set(m.key, m.value);
  labels.set(kManagedByLabel, managed_by);
  labels.set(kServiceName, service.at("metadata.name"));
  if (service.at("spec.clusterIP").as_string() == "None") labels.set("service.kubernetes.io/headless", "");
  return labels;
}

// Ports as a key that does not depend on the order of members.
std::string ports_key(const Value& ports) {
  std::string key;
  for (const Value& p : ports.items())
    key += std::string(p["name"].as_string()) + "/" + std::string(p["protocol"].as_string("TCP")) + "/" + std::to_string(p["port"].as_int()) + "/" +
           std::string(p["appProtocol"].as_string()) + ";";
  return key;
}

std::string address_of(const Value& endpoint) { return std::string(endpoint.at("addresses[0]").as_string()) + " " + std::string(endpoint.at("targetRef.uid").as_string()); }

}  // namespace

std::vector<Op> plan_slices(const Value& service, const std::vector<Value>& pods, const std::vector<Value>& existing,
                            const std::function<bool(const Value& slice)>& forget) {
  const std::string ns(service.at("metadata.namespace").as_string()), name(service.at("metadata.name").as_string());
  // Wished endpoints by the ports they serve: a slice has one set of ports.
  std::map<std::string, std::map<std::string, Value>> wished;  // ports as text -> address -> endpoint
  std::map<std::string, Value> ports_of;
  for (const Value& pod : pods) {
    if (!pod_counts(pod)) continue;
    Value ports = slice_ports(service, pod);
    const std::string key = ports_key(ports);
    Value e = slice_endpoint(service, pod);
    wished[key][address_of(e)] = std::move(e);
    ports_of.emplace(key, std::move(ports));
  }
  const Value labels = slice_labels(service, kManagedBy);
  std::vector<Op> ops;
  struct Kept {
    const Value* slice;
    Value endpoints;
    bool changed;
  };
  std::map<std::string, std::vector<Kept>> kept;
  for (const Value& slice : existing) {
    if (slice.at(std::string("metadata.labels[") + kManagedByLabel + "]").as_string() != kManagedBy) continue;
    const std::string key = ports_key(slice["ports"]);
    auto it = wished.find(key);
    Kept k{&slice, Value::array(), slice.at("metadata.labels") != labels};
    for (const Value& e : slice["endpoints"].items()) {
      auto found = it == wished.end() ? std::map<std::string, Value>::iterator{} : it->second.find(address_of(e));
      if (it == wished.end() || found == it->second.end()) {
        k.changed = true;
        continue;
      }
      if (found->second != e) k.changed = true;
      k.endpoints.push(std::move(found->second));
      it->second.erase(found);
    }
    kept[key].push_back(std::move(k));
  }
  for (auto& [key, rest] : wished) {
    auto& slices = kept[key];
    for (Kept& k : slices)
      while (!rest.empty() && k.endpoints.size() < kMaxPerSlice) {
        k.endpoints.push(std::move(rest.begin()->second));
        rest.erase(rest.begin());
        k.changed = true;
      }
    while (!rest.empty()) {
      Value endpoints = Value::array();
      while (!rest.empty() && endpoints.size() < kMaxPerSlice) {
        endpoints.push(std::move(rest.begin()->second));
        rest.erase(rest.begin());
      }
      Value slice = Value::object(
          {{"apiVersion", "discovery.k8s.io/v1"},
           {"kind", "EndpointSlice"},
           {"metadata", Value::object({{"generateName", name + "-"}, {"namespace", ns}, {"labels", labels}, {"ownerReferences", owner_of(service, "v1", "Service")}})},
           {"addressType", "IPv4"},
           {"endpoints", std::move(endpoints)},
           {"ports", ports_of[key]}});
      ops.push_back(Op::create("endpointslices.discovery.k8s.io", ns, slice));
    }
  }
  // Slices that have become empty go, except one: an empty slice says "no endpoints" where none would say "not yet looked".
  size_t alive = ops.size();
  for (auto& [key, slices] : kept)
    for (Kept& k : slices) alive += !k.endpoints.empty();
  bool keep_one = alive == 0;
  for (auto& [key, slices] : kept)
    for (Kept& k : slices) {
      const std::string slice_name(k.slice->at("metadata.name").as_string());
      if (k.endpoints.empty() && !std::exchange(keep_one, false) && (*k.slice)["endpoints"].empty() && forget(*k.slice)) {
        ops.push_back(Op::remove("endpointslices.discovery.k8s.io", ns, slice_name, std::string(k.slice->at("metadata.uid").as_string())));
        continue;
      }
      if (!k.changed) continue;
      Value slice = *k.slice;
      slice.set("endpoints", std::move(k.endpoints));
      slice.make("metadata.labels") = labels;
      ops.push_back(Op::update("endpointslices.discovery.k8s.io", ns, slice_name, slice));
    }
  if (alive == 0 && kept.empty()) {
    const Value slice = Value::object(
        {{"apiVersion", "discovery.k8s.io/v1"},
         {"kind", "EndpointSlice"},
         {"metadata", Value::object({{"generateName", name + "-"}, {"namespace", ns}, {"labels", labels}, {"ownerReferences", owner_of(service, "v1", "Service")}})},
         {"addressType", "IPv4"},
         {"endpoints", Value::array()},
         {"ports", Value::array()}});
    ops.push_back(Op::create("endpointslices.discovery.k8s.io", ns, slice));
  }
  return ops;
}

Value make_endpoints(const Value& service, const std::vector<Value>& pods) {
  std::map<std::string, Value> subsets;  // ports as text -> subset
  size_t count = 0;
  bool truncated = false;
  const bool publish = service.at("spec.publishNotReadyAddresses").as_bool();
  for (const Value& pod : pods) {
    // A terminating pod is in no list of Endpoints: it must not get new connections.
    if (!pod_counts(pod) || (!publish && !pod.at("metadata.deletionTimestamp").is_null())) continue;
    if (count == kMaxEndpoints) {
      truncated = true;
      break;
    }
    ++count;
    Value ports = Value::array();
    for (const Value& p : service.at("spec.ports").items()) {
      const int64_t n = target_port(p, pod);
      if (n == 0) continue;
      Value port = Value::object();
      if (!p["name"].as_string().empty()) port.set("name", p["name"]);
      port.set("port", n);
      port.set("protocol", p["protocol"].as_string("TCP"));
      ports.push(std::move(port));
    }
    Value& subset = subsets[ports.dump()];
    if (subset.is_null()) subset = Value::object({{"addresses", Value::array()}, {"notReadyAddresses", Value::array()}, {"ports", std::move(ports)}});
    Value address = Value::object({{"ip", pod.at("status.podIP")}});
    if (!pod.at("spec.nodeName").is_null()) address.set("nodeName", pod.at("spec.nodeName"));
    address.set("targetRef", pod_reference(pod));
    if (const std::string hostname = hostname_of(service, pod); !hostname.empty()) address.set("hostname", hostname);
    const bool ready = publish || pod_ready(pod);
    subset.set(ready ? "addresses" : "notReadyAddresses").push(std::move(address));
  }
  Value list = Value::array();
  for (auto& [key, subset] : subsets) {
    for (const char* f : {"addresses", "notReadyAddresses", "ports"})
      if (subset[f].empty()) subset.erase(f);
    list.push(std::move(subset));
  }
  Value labels = Value::object();
  for (const auto& m : service.at("metadata.labels").members()) labels.set(m.key, m.value);
  // Endpoints made by us need no mirror slices.
  labels.set("endpoints.kubernetes.io/managed-by", "endpoint-controller");
  Value metadata = Value::object({{"name", service.at("metadata.name")}, {"namespace", service.at("metadata.namespace")}, {"labels", std::move(labels)}});
  if (truncated) metadata.make("annotations").set("endpoints.kubernetes.io/over-capacity", "truncated");
  Value out = Value::object({{"apiVersion", "v1"}, {"kind", "Endpoints"}, {"metadata", std::move(metadata)}});
  if (!list.empty()) out.set("subsets", std::move(list));
  return out;
}

std::vector<Op> plan_mirror(const Value& hand_made, const std::vector<Value>& existing) {
  const bool wished = hand_made.at("metadata.labels[endpointslice.kubernetes.io/skip-mirror]").as_string() != "true" &&
                      hand_made.at("metadata.labels[endpoints.kubernetes.io/managed-by]").as_string() != "endpoint-controller";
  const Value endpoints = wished ? hand_made : Value::object();
  const std::string name(endpoints.at("metadata.name").as_string());
  std::string ns(endpoints.at("metadata.namespace").as_string());
  std::vector<const Value*> ours;
  for (const Value& s : existing)
    if (s.at(std::string("metadata.labels[") + kManagedByLabel + "]").as_string() == kMirroredBy) ours.push_back(&s);
  if (ns.empty() && !ours.empty()) ns = std::string(ours[0]->at("metadata.namespace").as_string());
  std::vector<Op> ops;
  size_t i = 0;
  for (const Value& subset : endpoints["subsets"].items()) {
    Value list = Value::array();
    for (const char* member : {"addresses", "notReadyAddresses"})
      for (const Value& a : subset[member].items()) {
        Value e = Value::object({{"addresses", Value::array({a["ip"]})}, {"conditions", Value::object({{"ready", std::string_view(member) == "addresses"}})}});
        if (!a["hostname"].is_null()) e.set("hostname", a["hostname"]);
        if (!a["targetRef"].is_null()) e.set("targetRef", a["targetRef"]);
        if (!a["nodeName"].is_null()) e.set("nodeName", a["nodeName"]);
        list.push(std::move(e));
      }
    Value ports = Value::array();
    for (const Value& p : subset["ports"].items()) {
      Value port = Value::object({{"name", p["name"].as_string()}, {"protocol", p["protocol"].as_string("TCP")}, {"port", p["port"]}});
      if (!p["appProtocol"].is_null()) port.set("appProtocol", p["appProtocol"]);
      ports.push(std::move(port));
    }
    if (i < ours.size()) {
      Value slice = *ours[i];
      slice.set("endpoints", std::move(list));
      slice.set("ports", std::move(ports));
      if (slice != *ours[i]) ops.push_back(Op::update("endpointslices.discovery.k8s.io", ns, std::string(slice.at("metadata.name").as_string()), slice));
    } else {
      Value labels = Value::object();
      labels.set(kManagedByLabel, kMirroredBy);
      labels.set(kServiceName, name);
      ops.push_back(Op::create("endpointslices.discovery.k8s.io", ns,
                               Value::object({{"apiVersion", "discovery.k8s.io/v1"},
                                              {"kind", "EndpointSlice"},
                                              {"metadata", Value::object({{"generateName", name + "-"}, {"namespace", ns}, {"labels", labels},
                                                                          {"ownerReferences", owner_of(endpoints, "v1", "Endpoints")}})},
                                              {"addressType", "IPv4"},
                                              {"endpoints", std::move(list)},
                                              {"ports", std::move(ports)}})));
    }
    ++i;
  }
  for (; i < ours.size(); ++i) ops.push_back(Op::remove("endpointslices.discovery.k8s.io", ns, std::string(ours[i]->at("metadata.name").as_string())));
  return ops;
}

}  // namespace pintle::service

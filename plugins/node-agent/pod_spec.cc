#include "pod_spec.h"

#include <algorithm>

#include "pintle/quantity.h"

namespace pintle::node_agent {

using json::Value;

const char* type_name(ContainerType t) {
  return t == ContainerType::kInit ? "init" : t == ContainerType::kSidecar ? "sidecar" : "container";
}

std::vector<ContainerSpec> containers_of(const Value& pod) {
  std::vector<ContainerSpec> out;
  for (const auto& c : pod["spec"]["initContainers"].items())
    out.push_back({&c, c["restartPolicy"].as_string() == "Always" ? ContainerType::kSidecar : ContainerType::kInit});
  for (const auto& c : pod["spec"]["containers"].items()) out.push_back({&c, ContainerType::kMain});
  return out;
}

std::string pod_key(const Value& pod) {
  return std::string(pod["metadata"]["namespace"].as_string()) + "/" + std::string(pod["metadata"]["name"].as_string());
}
std::string pod_tag(const Value& pod) {
  return std::string(pod["metadata"]["name"].as_string()) + "_" + std::string(pod["metadata"]["namespace"].as_string()) + "(" +
         std::string(pod["metadata"]["uid"].as_string()) + ")";
}

std::map<std::string, int64_t> pod_requests(const Value& pod) {
  using Amounts = std::map<std::string, int64_t>;
  const auto add = [](Amounts& to, const Value& list) {
    for (const auto& m : list.members()) {
      const std::string text = m.value.is_string() ? std::string(m.value.as_string()) : m.value.dump();
      to[m.key] += resource_amount(m.key, text).value_or(0);
    }
  };
  const auto requests = [&](const Value& resources) {
    Amounts out;
    add(out, resources["requests"]);
    for (const auto& m : resources["limits"].members())
      if (!out.count(m.key)) {
        const std::string text = m.value.is_string() ? std::string(m.value.as_string()) : m.value.dump();
        out[m.key] = resource_amount(m.key, text).value_or(0);
      }
    return out;
  };
  Amounts sidecars, peak, sum;
  for (const auto& c : containers_of(pod)) {
    const Amounts mine = requests((*c.spec)["resources"]);
    if (c.type == ContainerType::kSidecar)
      for (const auto& [k, v] : mine) sidecars[k] += v;
    if (c.type == ContainerType::kMain) {
      for (const auto& [k, v] : mine) sum[k] += v;
      continue;
    }
    Amounts at_this_time = sidecars;  // an init container runs beside the sidecars started before it
    if (c.type == ContainerType::kInit)
      for (const auto& [k, v] : mine) at_this_time[k] += v;
    for (const auto& [k, v] : at_this_time) peak[k] = std::max(peak[k], v);
  }
  for (const auto& [k, v] : sidecars) sum[k] += v;
  for (const auto& [k, v] : peak) sum[k] = std::max(sum[k], v);
  add(sum, pod["spec"]["overhead"]);
  return sum;
}

std::string qos_class(const Value& pod) {
  bool any = false, guaranteed = true;
  for (const auto& c : containers_of(pod)) {
    const Value& r = (*c.spec)["resources"];
    for (const char* key : {"cpu", "memory"}) {
      const Value &limit = r["limits"][key], &request = r["requests"][key];
      const auto amount = [&](const Value& v) {
        return v.is_null() ? 0 : resource_amount(key, v.is_string() ? std::string(v.as_string()) : v.dump()).value_or(0);
      };
      const int64_t l = amount(limit), q = request.is_null() ? l : amount(request);
      if (l > 0 || q > 0) any = true;
      if (l <= 0 || l != q) guaranteed = false;
    }
  }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

int64_t oom_score_adj(std::string_view qos, int64_t memory_request, int64_t node_memory) {
  if (qos == "Guaranteed") return -997;
  if (qos == "BestEffort" || node_memory <= 0) return 1000;
  const int64_t score = 1000 - static_cast<int64_t>(1000.0 * static_cast<double>(memory_request) / static_cast<double>(node_memory));
  return std::clamp<int64_t>(score, 3, 999);
}

std::vector<HostPort> host_ports(const Value& pod) {
  std::vector<HostPort> out;
  const bool host_network = pod["spec"]["hostNetwork"].as_bool();
  for (const auto& c : containers_of(pod)) {
    if (c.type == ContainerType::kInit) continue;
    for (const auto& p : (*c.spec)["ports"].items()) {
      int64_t port = p["hostPort"].as_int();
      if (port == 0 && host_network) port = p["containerPort"].as_int();
      if (port > 0) out.push_back({std::string(p["hostIP"].as_string()), std::string(p["protocol"].as_string("TCP")), port});
    }
  }
  return out;
}

bool ports_collide(const HostPort& a, const HostPort& b) {
  const auto any = [](const std::string& ip) { return ip.empty() || ip == "0.0.0.0" || ip == "::"; };
  return a.port == b.port && a.protocol == b.protocol && (any(a.ip) || any(b.ip) || a.ip == b.ip);
}

std::string container_hash(const Value& container) {
  // The image is all that a live pod may change of a container. Nothing else is part of it, so that new defaults of a new
  // release do not replace what runs.
  const std::string text = container["name"].dump() + container["image"].dump();
  uint64_t h = 1469598103934665603ull;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  static const char* digits = "0123456789abcdef";
  std::string out(16, '0');
  for (int i = 15; i >= 0; --i, h >>= 4) out[static_cast<size_t>(i)] = digits[h & 15];
  return out;
}

std::string_view restart_policy(const Value& pod, const ContainerSpec& c) {
  if (c.type == ContainerType::kSidecar) return "Always";
  const std::string_view policy = pod["spec"]["restartPolicy"].as_string("Always");
  // An init container that did its work is done.
  if (c.type == ContainerType::kInit && policy == "Always") return "OnFailure";
  return policy;
}

std::string pull_policy(const Value& container) {
  if (const auto p = container["imagePullPolicy"].as_string(); !p.empty()) return std::string(p);
  const std::string_view image = container["image"].as_string();
  if (image.find('@') != std::string_view::npos) return "IfNotPresent";
  const size_t slash = image.rfind('/'), colon = image.rfind(':');
  const bool tagged = colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  return !tagged || image.substr(colon + 1) == "latest" ? "Always" : "IfNotPresent";
}

}  // namespace pintle::node_agent

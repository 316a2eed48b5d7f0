#include "service_spec.h"

#include <algorithm>
#include <cctype>

#include "pintle/format.h"

namespace pintle::service {
namespace {

using json::Value;

std::string lower(std::string_view s) {
  std::string out(s);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string port_key(const Value& port) {
  return std::to_string(port["nodePort"].as_int()) + "-" + lower(port["protocol"].as_string("TCP"));
}

void invalid_value(std::vector<Cause>& causes, std::string field, std::string_view value, const std::string& why) {
  causes.push_back({"FieldValueInvalid", std::move(field), "Invalid value: " + json::quote(value) + ": " + why});
}
void check_value(std::vector<Cause>& causes, std::string field, Format format, std::string_view value) {
  if (const std::string wrong = check_format(format, value); !wrong.empty()) invalid_value(causes, std::move(field), value, wrong);
}

}  // namespace

bool needs_cluster_ip(const Value& spec) {
  return spec["type"].as_string("ClusterIP") != "ExternalName" && spec["clusterIP"].as_string() != "None";
}
bool reached_from_outside(const Value& spec) {
  const std::string_view type = spec["type"].as_string("ClusterIP");
  return type == "NodePort" || type == "LoadBalancer" || (type == "ClusterIP" && !spec["externalIPs"].empty());
}
bool needs_node_ports(const Value& spec) {
  const std::string_view type = spec["type"].as_string("ClusterIP");
  return type == "NodePort" || (type == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"].as_bool(true));
}

void default_service(Value& service) {
  Value& spec = service.set("spec");
  const std::string type(spec["type"].as_string("ClusterIP"));
  if (spec["clusterIP"].as_string().empty() && !spec["clusterIPs"].empty()) spec.set("clusterIP", spec.at("clusterIPs[0]"));
  if (!spec["clusterIP"].as_string().empty() && spec["clusterIPs"].empty())
    spec.set("clusterIPs", Value::array({spec["clusterIP"]}));
  if (spec["sessionAffinity"].as_string() == "ClientIP" && spec.at("sessionAffinityConfig.clientIP.timeoutSeconds").is_null())
    spec.make("sessionAffinityConfig.clientIP.timeoutSeconds") = 10800;
  if (type == "ExternalName") return;
  if (spec["internalTrafficPolicy"].is_null()) spec.set("internalTrafficPolicy", "Cluster");
  if ((type == "NodePort" || type == "LoadBalancer") && spec["externalTrafficPolicy"].is_null()) spec.set("externalTrafficPolicy", "Cluster");
  if (type == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"].is_null()) spec.set("allocateLoadBalancerNodePorts", true);
  if (spec["ipFamilies"].empty()) spec.set("ipFamilies", Value::array({"IPv4"}));
  if (spec["ipFamilyPolicy"].is_null()) spec.set("ipFamilyPolicy", "SingleStack");
  if (!spec["ports"].is_array()) return;
  for (Value& port : spec.set("ports").make_array()) {
    if (port["protocol"].is_null()) port.set("protocol", "TCP");
    const Value& target = port["targetPort"];
    if (target.is_null() || (target.is_int() && target.as_int() == 0) || (target.is_string() && target.as_string().empty()))
      port.set("targetPort", port["port"]);
  }
}

std::vector<Cause> validate_service(const Value& service, const Value& old) {
  std::vector<Cause> causes;
  const auto add = [&](const char* reason, std::string field, std::string message) {
    causes.push_back({reason, std::move(field), std::move(message)});
  };
  const auto check = [&](std::string field, Format format, std::string_view value) { check_value(causes, std::move(field), format, value); };
  const Value& spec = service["spec"];
  const std::string_view type = spec["type"].as_string("ClusterIP");
  const bool headless = spec["clusterIP"].as_string() == "None";
  for (const auto& m : spec["selector"].members()) {
    check("spec.selector", Format::kLabelKey, m.key);
    check("spec.selector", Format::kLabelValue, m.value.as_string());
  }
  const auto& ports = spec["ports"].items();
  if (ports.empty() && !headless && type != "ExternalName") add("FieldValueRequired", "spec.ports", "Required value");
  if (type == "ExternalName") {
    std::string_view name = spec["externalName"].as_string();
    if (!name.empty() && name.back() == '.') name.remove_suffix(1);
    if (name.empty()) add("FieldValueRequired", "spec.externalName", "Required value");
    else check("spec.externalName", Format::kDns1123Subdomain, name);
    if (!spec["clusterIP"].as_string().empty() && !headless)
      add("FieldValueForbidden", "spec.clusterIPs", "Forbidden: may not be set for ExternalName services");
    if (headless) add("FieldValueInvalid", "spec.clusterIPs[0]", "Invalid value: \"None\": may not be set to 'None' for ExternalName services");
  }
  if (headless && (type == "NodePort" || type == "LoadBalancer"))
    add("FieldValueInvalid", "spec.clusterIPs[0]", "Invalid value: \"None\": may not be set to 'None' for " + std::string(type) + " services");
  if (spec["clusterIPs"].size() > 1)
    add("FieldValueInvalid", "spec.clusterIPs", "Invalid value: " + spec["clusterIPs"].dump() + ": only one address is supported: this cluster is single-stack IPv4");
  for (const Value& f : spec["ipFamilies"].items())
    if (f.as_string() != "IPv4")
      add("FieldValueInvalid", "spec.ipFamilies[0]", "Invalid value: " + f.dump() + ": not configured on this cluster");
  if (spec["ipFamilyPolicy"].as_string() == "RequireDualStack")
    add("FieldValueInvalid", "spec.ipFamilyPolicy", "Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services");
  if (!headless && type != "ExternalName") {
    const std::string_view ip = spec["clusterIP"].as_string();
    if (!ip.empty() && !parse_ipv4(ip))
      add("FieldValueInvalid", "spec.clusterIPs[0]", "Invalid value: " + json::quote(ip) + ": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
  }
  std::set<std::string> names, keys, node_ports;
  for (size_t i = 0; i < ports.size(); ++i) {
    const Value& p = ports[i];
    const std::string at = "spec.ports[" + std::to_string(i) + "]";
    const std::string name(p["name"].as_string());
    if (name.empty() && ports.size() > 1) add("FieldValueRequired", at + ".name", "Required value");
    if (!name.empty() && !names.insert(name).second) add("FieldValueDuplicate", at + ".name", "Duplicate value: " + json::quote(name));
    const std::string key = std::to_string(p["port"].as_int()) + "/" + std::string(p["protocol"].as_string());
    if (!keys.insert(key).second)
      add("FieldValueDuplicate", at,
          "Duplicate value: {\"port\":" + std::to_string(p["port"].as_int()) + ",\"protocol\":" + json::quote(p["protocol"].as_string()) + "}");
    if (p["nodePort"].as_int() != 0) {
      if (!needs_node_ports(spec)) add("FieldValueForbidden", at + ".nodePort", "Forbidden: may not be used when `type` is '" + std::string(type) + "'");
      else if (!node_ports.insert(port_key(p)).second)
        add("FieldValueDuplicate", at + ".nodePort", "Duplicate value: " + std::to_string(p["nodePort"].as_int()));
    }
    const Value& target = p["targetPort"];
    if (target.is_int() && (target.as_int() < 1 || target.as_int() > 65535))
      add("FieldValueInvalid", at + ".targetPort", "Invalid value: " + target.dump() + ": must be between 1 and 65535, inclusive");
    if (target.is_string()) check(at + ".targetPort", Format::kPortName, target.as_string());
  }
  const auto& ranges = spec["loadBalancerSourceRanges"].items();
  if (!ranges.empty() && type != "LoadBalancer")
    add("FieldValueForbidden", "spec.loadBalancerSourceRanges", "Forbidden: may only be used when `type` is 'LoadBalancer'");
  for (size_t i = 0; i < ranges.size(); ++i) {
    std::string_view range = ranges[i].as_string();  // spaces around it are let pass, as ever
    while (range.starts_with(' ')) range.remove_prefix(1);
    while (range.ends_with(' ')) range.remove_suffix(1);
    check("spec.loadBalancerSourceRanges[" + std::to_string(i) + "]", Format::kCidr, range);
  }
  if (const int64_t port = spec["healthCheckNodePort"].as_int(); port != 0) {
    const std::string value = "Invalid value: " + std::to_string(port) + ": ";
    if (type != "LoadBalancer" || spec["externalTrafficPolicy"].as_string() != "Local")
      add("FieldValueInvalid", "spec.healthCheckNodePort", value + "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    else if (port < 1 || port > 65535) add("FieldValueInvalid", "spec.healthCheckNodePort", value + "must be between 1 and 65535, inclusive");
  }
  if (!spec["externalTrafficPolicy"].is_null() && !reached_from_outside(spec))
    add("FieldValueInvalid", "spec.externalTrafficPolicy", "Invalid value: " + spec["externalTrafficPolicy"].dump() + ": may only be set for externally-accessible services");
  const auto& outside = spec["externalIPs"].items();
  for (size_t i = 0; i < outside.size(); ++i) {
    const auto a = parse_ipv4(outside[i].as_string());
    const std::string at = "spec.externalIPs[" + std::to_string(i) + "]", value = "Invalid value: " + outside[i].dump() + ": ";
    if (!a) add("FieldValueInvalid", at, value + "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    else if (*a == 0) add("FieldValueInvalid", at, value + "may not be unspecified (0.0.0.0)");
    else if (*a >> 24 == 127) add("FieldValueInvalid", at, value + "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    else if (*a >> 16 == 0xA9FE) add("FieldValueInvalid", at, value + "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    else if (*a >> 28 == 0xE) add("FieldValueInvalid", at, value + "may not be a multicast address");
  }
  if (!old.is_null()) {
    const Value& before = old["spec"];
    if (before["type"].as_string() != "ExternalName" && type != "ExternalName" && !before["clusterIP"].as_string().empty() &&
        before["clusterIP"] != spec["clusterIP"])
      add("FieldValueInvalid", "spec.clusterIPs[0]", "Invalid value: " + spec["clusterIPs"].dump() + ": may not change once set");
  }
  return causes;
}

std::vector<Cause> validate_slice(const Value& slice) {
  std::vector<Cause> causes;
  const auto check = [&](std::string field, Format format, std::string_view value) { check_value(causes, std::move(field), format, value); };
  const std::string_view type = slice["addressType"].as_string();
  const auto& endpoints = slice["endpoints"].items();
  for (size_t i = 0; i < endpoints.size(); ++i) {
    const std::string at = "endpoints[" + std::to_string(i) + "]";
    const auto& addresses = endpoints[i]["addresses"].items();
    for (size_t k = 0; k < addresses.size(); ++k) {
      const std::string field = at + ".addresses[" + std::to_string(k) + "]";
      std::string_view address = addresses[k].as_string();
      if (type == "IPv4") check(field, Format::kIpv4, address);
      if (type == "IPv6") check(field, Format::kIpv6, address);
      if (type != "FQDN") continue;
      const std::string_view whole = address;
      if (address.ends_with('.')) address.remove_suffix(1);
      if (whole.empty()) causes.push_back({"FieldValueRequired", field, "Required value"});
      else if (const std::string wrong = check_format(Format::kDns1123Subdomain, address); !wrong.empty()) invalid_value(causes, field, whole, wrong);
      else if (address.find('.') == address.npos) invalid_value(causes, field, whole, "should be a domain with at least two segments separated by dots");
    }
    if (const auto node = endpoints[i]["nodeName"].as_string(); !node.empty()) check(at + ".nodeName", Format::kDns1123Subdomain, node);
  }
  std::set<std::string> names;
  const auto& ports = slice["ports"].items();
  for (size_t i = 0; i < ports.size(); ++i) {
    const std::string name(ports[i]["name"].as_string());
    if (!names.insert(name).second)
      causes.push_back({"FieldValueDuplicate", "ports[" + std::to_string(i) + "].name", "Duplicate value: " + json::quote(name)});
    if (const auto p = ports[i]["appProtocol"].as_string(); !p.empty()) check("ports[" + std::to_string(i) + "].appProtocol", Format::kQualifiedName, p);
  }
  return causes;
}

Needs needs_of(const Value& service) {
  Needs n;
  const Value& spec = service["spec"];
  if (needs_cluster_ip(spec) && !spec["clusterIP"].as_string().empty()) n.addresses.emplace_back(spec["clusterIP"].as_string());
  if (needs_node_ports(spec))
    for (const Value& p : spec["ports"].items())
      if (p["nodePort"].as_int() != 0) n.ports.push_back(port_key(p));
  return n;
}

Error invalid(const Value& service, const std::vector<Cause>& causes) {
  const std::string name(service.at("metadata.name").as_string());
  std::string text;
  Value list = Value::array();
  for (const Cause& c : causes) {
    if (!text.empty()) text += ", ";
    text += c.field + ": " + c.message;
    list.push(Value::object({{"reason", c.reason}, {"message", c.message}, {"field", c.field}}));
  }
  if (causes.size() > 1) text = "[" + text + "]";
  text = "Service \"" + name + "\" is invalid: " + text;
  return Error(PINTLE_INVALID, text,
               Value::object({{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", Value::object()}, {"status", "Failure"}, {"message", text},
                              {"reason", "Invalid"},
                              {"details", Value::object({{"name", name}, {"kind", "Service"}, {"causes", list}})}, {"code", 422}}));
}

Result<void> allocate(Value& service, const Value& old, const Ranges& ranges, uint64_t random,
                      const std::function<bool(std::string_view, const std::string&)>& taken) {
  Value& spec = service.set("spec");
  const Value& before = old["spec"];
  const Needs held = old.is_null() ? Needs{} : needs_of(old);
  const auto held_address = [&](const std::string& a) { return std::count(held.addresses.begin(), held.addresses.end(), a) > 0; };
  // Fields that came with the old type and were left as they were go with it.
  const auto left = [&](const char* field) { return !before[field].is_null() && before[field] == spec[field]; };
  const std::string_view type = spec["type"].as_string("ClusterIP");
  if (type == "ExternalName" && left("internalTrafficPolicy")) spec.erase("internalTrafficPolicy");
  if (!reached_from_outside(spec) && left("externalTrafficPolicy")) spec.erase("externalTrafficPolicy");
  if (type != "LoadBalancer")
    for (const char* f : {"allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"})
      if (left(f)) spec.erase(f);
  const auto held_port = [&](const std::string& p) { return std::count(held.ports.begin(), held.ports.end(), p) > 0; };

  if (needs_cluster_ip(spec)) {
    std::string ip(spec["clusterIP"].as_string());
    if (ip.empty() && !held.addresses.empty()) ip = held.addresses.front();
    if (ip.empty()) {
      const uint32_t chosen = ranges.addresses.choose(random, [&](uint32_t a) { return taken("ipaddresses", ipv4_text(a)); });
      if (chosen == 0)
        return Error(PINTLE_INTERNAL, "Internal error occurred: failed to allocate a serviceIP: range is full");
      ip = ipv4_text(chosen);
    } else if (!held_address(ip)) {
      const auto a = parse_ipv4(ip);
      if (!a || !ranges.addresses.contains(*a))
        return invalid(service, {{"FieldValueInvalid", "spec.clusterIPs", "Invalid value: [" + json::quote(ip) + "]: failed to allocate IP " + ip + ": the provided IP (" + ip +
                                                                             ") is not in the valid range. The range of valid IPs is " + ranges.addresses.text()}});
      if (taken("ipaddresses", ip))
        return invalid(service, {{"FieldValueInvalid", "spec.clusterIPs",
                                  "Invalid value: [" + json::quote(ip) + "]: failed to allocate IP " + ip + ": provided IP is already allocated"}});
    }
    spec.set("clusterIP", ip);
    spec.set("clusterIPs", Value::array({ip}));
  } else if (spec["type"].as_string() == "ExternalName" && !before.is_null() && before["clusterIP"] == spec["clusterIP"] && before["clusterIP"].as_string() != "None") {
    for (const char* f : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"}) spec.erase(f);
  }

  if (!spec["ports"].is_array()) return {};
  std::set<std::string> used;  // in this service
  auto& ports = spec.set("ports").make_array();
  for (const Value& p : ports)
    if (p["nodePort"].as_int() != 0) used.insert(port_key(p));
  for (size_t i = 0; i < ports.size(); ++i) {
    Value& p = ports[i];
    if (!needs_node_ports(spec)) {
      // What the Service had while its type was another goes; one that is asked for now is for the rules to refuse.
      if (held_port(port_key(p)) || p["nodePort"].as_int() == 0) p.erase("nodePort");
      continue;
    }
    const std::string protocol = lower(p["protocol"].as_string("TCP"));
    if (p["nodePort"].as_int() == 0) {
      for (const Value& b : before["ports"].items()) {  // keep the port that the same port had
        if (b["nodePort"].as_int() == 0 || b["port"] != p["port"] || b["protocol"] != p["protocol"]) continue;
        if (held_port(port_key(b)) && !used.count(port_key(b))) p.set("nodePort", b["nodePort"]);
      }
    }
    const uint32_t span = uint32_t{ranges.port_to} - ranges.port_from + 1;
    if (p["nodePort"].as_int() == 0) {
      for (uint32_t k = 0; k < span; ++k) {
        const uint32_t n = ranges.port_from + static_cast<uint32_t>((random / 7 + i * 131 + k) % span);
        const std::string key = std::to_string(n) + "-" + protocol;
        if (used.count(key) || taken("nodeports", key)) continue;
        p.set("nodePort", n);
        break;
      }
      if (p["nodePort"].as_int() == 0)
        return Error(PINTLE_INTERNAL, "Internal error occurred: failed to allocate a nodePort: range is full");
    } else if (!held_port(port_key(p))) {
      const int64_t n = p["nodePort"].as_int();
      const std::string field = "spec.ports[" + std::to_string(i) + "].nodePort";
      if (n < ranges.port_from || n > ranges.port_to)
        return invalid(service, {{"FieldValueInvalid", field,
                                  "Invalid value: " + std::to_string(n) + ": provided port is not in the valid range. The range of valid ports is " +
                                      std::to_string(ranges.port_from) + "-" + std::to_string(ranges.port_to)}});
      if (taken("nodeports", port_key(p)))
        return invalid(service, {{"FieldValueInvalid", field, "Invalid value: " + std::to_string(n) + ": provided port is already allocated"}});
    }
    used.insert(port_key(p));
  }
  return {};
}

std::string ports_text(const Value& spec) {
  std::string out;
  for (const Value& p : spec["ports"].items()) {
    if (!out.empty()) out += ",";
    out += std::to_string(p["port"].as_int());
    if (p["nodePort"].as_int() != 0) out += ":" + std::to_string(p["nodePort"].as_int());
    out += "/" + std::string(p["protocol"].as_string("TCP"));
  }
  return out.empty() ? "<none>" : out;
}

}  // namespace pintle::service

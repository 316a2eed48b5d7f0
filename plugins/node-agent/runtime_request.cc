#include "runtime_request.h"

#include <algorithm>

#include "pintle/quantity.h"
#include "runtime_view.h"

namespace pintle::node_agent {

using json::Value;

namespace {

Value labels_of(const Value& pod, const NodeFacts& node) {
  Value out = Value::object();
  for (const auto& m : pod["metadata"]["labels"].members()) out.set(m.key, m.value);
  out.set(kLabelUid, pod["metadata"]["uid"]);
  out.set(kLabelNamespace, pod["metadata"]["namespace"]);
  out.set(kLabelPod, pod["metadata"]["name"]);
  out.set(kLabelNode, node.name);
  return out;
}

// One word of a line of /etc/hosts or /etc/resolv.conf. The API refuses others; here they are left out whoever wrote the pod, so that
// no field of it can begin a line of its own.
bool one_word(const Value& v) {
  const std::string_view s = v.as_string();
  return !s.empty() && std::none_of(s.begin(), s.end(), [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7f; });
}

Value dns_of(const Value& pod, const NodeFacts& node) {
  const Value& spec = pod["spec"];
  std::string policy = str(spec["dnsPolicy"]);
  if (policy.empty()) policy = "ClusterFirst";
  if (policy == "ClusterFirst" && spec["hostNetwork"].as_bool()) policy = "Default";
  Value servers = Value::array(), searches = Value::array(), options = Value::array();
  if ((policy == "ClusterFirst" || policy == "ClusterFirstWithHostNet") && !node.cluster_dns.empty()) {
    const std::string ns = str(pod["metadata"]["namespace"]);
    servers.push(node.cluster_dns);
    searches.push(ns + ".svc." + node.cluster_domain);
    searches.push("svc." + node.cluster_domain);
    searches.push(node.cluster_domain);
    options.push("ndots:5");
  }
  const Value& extra = spec["dnsConfig"];
  for (const auto& s : extra["nameservers"].items())
    if (one_word(s)) servers.push(s);
  for (const auto& s : extra["searches"].items())
    if (one_word(s)) searches.push(s);
  for (const auto& o : extra["options"].items()) {
    if (!one_word(o["name"]) || (!o["value"].as_string().empty() && !one_word(o["value"]))) continue;
    const std::string name = str(o["name"]), text = o.contains("value") ? name + ":" + str(o["value"]) : name;
    Value kept = Value::array();  // an option of the pod replaces ours of the same name
    for (const auto& known : options.items())
      if (known.as_string() != name && !known.as_string().starts_with(name + ":")) kept.push(known);
    kept.push(text);
    options = std::move(kept);
  }
  return Value::object({{"servers", std::move(servers)}, {"searches", std::move(searches)}, {"options", std::move(options)}});
}

const Value& either(const Value& container, const Value& pod, const char* key) {
  const Value& mine = container["securityContext"][key];
  return mine.is_null() ? pod["spec"]["securityContext"][key] : mine;
}

std::string profile_text(const Value& profile, const char* otherwise) {
  const std::string_view type = profile["type"].as_string();
  if (type == "Localhost") return "Localhost/" + str(profile["localhostProfile"]);
  return type.empty() ? otherwise : std::string(type);
}

Result<Value> security_of(const Value& pod, const ContainerSpec& c, const ContainerInputs& in) {
  const Value& spec = *c.spec;
  const Value& sc = spec["securityContext"];
  Value out = Value::object();
  const Value &user = either(spec, pod, "runAsUser"), &group = either(spec, pod, "runAsGroup");
  if (either(spec, pod, "runAsNonRoot").as_bool()) {
    const std::string who = "container \"" + std::string(c.name()) + "\" of pod \"" + pod_tag(pod) + "\"";
    if (user.is_int() && user.as_int() == 0) return Error(PINTLE_INVALID, "container's runAsUser breaks non-root policy: " + who);
    if (!user.is_int()) {
      const std::string image_user = in.image_user.substr(0, in.image_user.find(':'));
      if (image_user.empty() || image_user == "0" || image_user == "root")
        return Error(PINTLE_INVALID, "container has runAsNonRoot and image will run as root: " + who);
      if (!std::all_of(image_user.begin(), image_user.end(), [](char x) { return x >= '0' && x <= '9'; }))
        return Error(PINTLE_INVALID, "container has runAsNonRoot and image has non-numeric user (" + image_user + "), cannot verify user is non-root: " + who);
    }
  }
  if (user.is_int()) out.set("user", user);
  if (group.is_int()) out.set("group", group);
  Value groups = Value::array();
  for (const auto& g : pod["spec"]["securityContext"]["supplementalGroups"].items()) groups.push(g);
  if (const Value& fs = pod["spec"]["securityContext"]["fsGroup"]; fs.is_int()) groups.push(fs);
  if (!groups.empty()) out.set("supplementalGroups", std::move(groups));
  const bool privileged = sc["privileged"].as_bool();
  if (privileged) out.set("privileged", true);
  if (sc["readOnlyRootFilesystem"].as_bool()) out.set("readOnlyRoot", true);
  if (sc["allowPrivilegeEscalation"].is_bool() && !sc["allowPrivilegeEscalation"].as_bool()) out.set("noNewPrivileges", true);
  if (!sc["capabilities"].empty()) {
    Value caps = Value::object({{"add", Value::array()}, {"drop", Value::array()}});
    for (const char* key : {"add", "drop"})
      for (const auto& v : sc["capabilities"][key].items()) caps.set(key).push(v);
    out.set("capabilities", std::move(caps));
  }
  // The driver's default profile also when nothing was asked for; privileged containers have none.
  out.set("seccomp", profile_text(either(spec, pod, "seccompProfile"), privileged ? "Unconfined" : "RuntimeDefault"));
  const Value& armor = either(spec, pod, "appArmorProfile");
  if (!armor.is_null()) out.set("apparmor", profile_text(armor, "RuntimeDefault"));
  return out;
}

// Of the sandbox and of each container in it.
void set_shared_namespaces(Value& rq, const Value& spec) {
  if (spec["hostPID"].as_bool()) rq.set("hostPid", true);
  if (spec["hostIPC"].as_bool()) rq.set("hostIpc", true);
  if (spec["shareProcessNamespace"].as_bool()) rq.set("sharePid", true);
}

}  // namespace

Value sandbox_request(const Value& pod, int64_t attempt, const NodeFacts& node) {
  const Value &meta = pod["metadata"], &spec = pod["spec"];
  const bool host_network = spec["hostNetwork"].as_bool();
  Value rq = Value::object({{"node", node.name}, {"uid", meta["uid"]}, {"namespace", meta["namespace"]}, {"name", meta["name"]}, {"attempt", attempt},
                            {"labels", labels_of(pod, node)}, {"annotations", meta["annotations"].is_object() ? meta["annotations"] : Value::object()},
                            {"network", host_network ? "host" : "pod"}, {"dns", dns_of(pod, node)}});
  std::string hostname = str(spec["hostname"]);
  if (hostname.empty()) hostname = str(meta["name"]);
  if (hostname.size() > 63) {
    hostname.resize(63);
    while (!hostname.empty() && (hostname.back() == '-' || hostname.back() == '.')) hostname.pop_back();
  }
  const std::string subdomain = str(spec["subdomain"]);
  std::string fqdn;
  if (!subdomain.empty()) fqdn = hostname + "." + subdomain + "." + str(meta["namespace"]) + ".svc." + node.cluster_domain;
  if (spec["setHostnameAsFQDN"].as_bool() && !fqdn.empty()) hostname = fqdn;
  if (const auto o = spec["hostnameOverride"].as_string(); one_word(spec["hostnameOverride"])) hostname = std::string(o);
  if (!host_network) rq.set("hostname", hostname);
  if (!fqdn.empty()) rq.set("fqdn", fqdn);
  Value hosts = Value::array();
  for (const auto& a : spec["hostAliases"].items()) {
    if (!one_word(a["ip"])) continue;
    Value names = Value::array();
    for (const auto& n : a["hostnames"].items())
      if (one_word(n)) names.push(n);
    hosts.push(Value::object({{"ip", a["ip"]}, {"hostnames", std::move(names)}}));
  }
  if (!hosts.empty()) rq.set("hosts", std::move(hosts));
  Value ports = Value::array();
  if (!host_network)
    for (const auto& c : containers_of(pod))
      for (const auto& p : (*c.spec)["ports"].items())
        if (p["hostPort"].as_int() > 0 && c.type != ContainerType::kInit)
          ports.push(Value::object({{"hostIp", str(p["hostIP"])}, {"hostPort", p["hostPort"]}, {"containerPort", p["containerPort"]}, {"protocol", p["protocol"].as_string("TCP")}}));
  if (!ports.empty()) rq.set("portMappings", std::move(ports));
  set_shared_namespaces(rq, spec);
  if (const Value& sysctls = spec["securityContext"]["sysctls"]; !sysctls.empty()) {
    Value map = Value::object();
    for (const auto& s : sysctls.items()) map.set(s["name"].as_string(), s["value"]);
    rq.set("sysctls", std::move(map));
  }
  rq.set("logDirectory", node.root + "/pods/" + str(meta["uid"]) + "/logs");
  return rq;
}

Value runtime_resources(const Value& pod, const Value& container, int64_t node_memory) {
  const Value& r = container["resources"];
  const auto amount = [&](const char* list, const char* key) -> int64_t {
    const Value& v = r[list][key];
    if (v.is_null()) return 0;
    return resource_amount(key, v.is_string() ? str(v) : v.dump()).value_or(0);
  };
  const int64_t cpu_limit = amount("limits", "cpu"), memory_limit = amount("limits", "memory");
  const int64_t cpu = r["requests"].contains("cpu") ? amount("requests", "cpu") : cpu_limit;
  const int64_t memory = r["requests"].contains("memory") ? amount("requests", "memory") : memory_limit;
  Value out = Value::object({{"cpuShares", std::clamp<int64_t>(cpu * 1024 / 1000, 2, 262144)}});
  if (cpu_limit > 0) {
    out.set("cpuPeriod", 100000);
    out.set("cpuQuota", std::max<int64_t>(1000, cpu_limit * 100));
  }
  if (memory_limit > 0) out.set("memoryBytes", memory_limit);
  out.set("oomScoreAdj", oom_score_adj(qos_class(pod), memory, node_memory));
  return out;
}

Result<Value> container_request(const Value& pod, const ContainerSpec& c, const ContainerInputs& in, const NodeFacts& node) {
  const Value& spec = *c.spec;
  auto security = security_of(pod, c, in);
  if (!security) return security.error();
  Value labels = labels_of(pod, node);
  labels.set(kLabelContainer, spec["name"]);
  labels.set(kLabelType, type_name(c.type));
  labels.set(kLabelAttempt, std::to_string(in.attempt));
  labels.set(kLabelHash, container_hash(spec));
  Value env = Value::array();
  for (const auto& [k, v] : in.env) env.push(Value::object({{"name", k}, {"value", v}}));
  Value command = Value::array(), args = Value::array(), mounts = Value::array();
  for (const auto& w : spec["command"].items()) command.push(expand(w.as_string(), in.env));
  for (const auto& w : spec["args"].items()) args.push(expand(w.as_string(), in.env));
  for (const auto& m : in.mounts) mounts.push(m);
  Value rq = Value::object({{"node", node.name}, {"podId", in.sandbox_id}, {"podUid", pod["metadata"]["uid"]}, {"name", spec["name"]}, {"attempt", in.attempt},
                            {"image", spec["image"]}, {"imageId", in.image_id}, {"command", std::move(command)}, {"args", std::move(args)}, {"env", std::move(env)},
                            {"mounts", std::move(mounts)}, {"labels", std::move(labels)}, {"security", std::move(*security)},
                            {"resources", runtime_resources(pod, spec, node.memory)},
                            {"logPath", str(spec["name"]) + "/" + std::to_string(in.attempt) + ".log"}});
  if (const auto w = spec["workingDir"].as_string(); !w.empty()) rq.set("workingDir", expand(w, in.env));
  for (const char* flag : {"tty", "stdin", "stdinOnce"})
    if (spec[flag].as_bool()) rq.set(flag, true);
  if (const auto s = spec["lifecycle"]["stopSignal"].as_string(); !s.empty()) rq.set("stopSignal", s);
  set_shared_namespaces(rq, pod["spec"]);
  return rq;
}

}  // namespace pintle::node_agent

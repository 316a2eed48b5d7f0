#include "messages.h"

#include <algorithm>

#include "pintle/timestamp.h"

namespace pintle::runtime_docker {
namespace {

using json::Value;

// Docker's names: [a-zA-Z0-9][a-zA-Z0-9_.-]+; ours never hold anything else, but an id must not depend on that.
std::string name_part(std::string_view s) {
  std::string out;
  for (char c : s) out += std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' ? c : '-';
  return out;
}

Value labels_of(const Value& request, const DriverConfig& config, const char* kind) {
  Value labels = Value::object();
  for (const auto& m : request["labels"].members()) labels.set(m.key, m.value);
  labels.set(kClusterLabel, config.cluster);
  labels.set(kKindLabel, kind);
  return labels;
}

const Value& state_of(const Value& inspect) { return inspect["State"]; }

}  // namespace

std::string sandbox_name(const DriverConfig& config, const Value& rq) {
  return "pintle_" + name_part(config.cluster) + "_pod_" + name_part(rq["name"].as_string()) + "_" + name_part(rq["namespace"].as_string()) + "_" +
         name_part(rq["uid"].as_string()) + "_" + std::to_string(rq["attempt"].as_int());
}
std::string container_name(const DriverConfig& config, const Value& rq) {
  return "pintle_" + name_part(config.cluster) + "_" + name_part(rq["name"].as_string()) + "_" + name_part(rq["podUid"].as_string()) + "_" +
         std::to_string(rq["attempt"].as_int());
}

Result<Value> sandbox_body(const DriverConfig& config, const Value& rq) {
  const bool host_network = rq["network"].as_string() == "host";
  Value labels = labels_of(rq, config, "sandbox");
  labels.set("io.pintle.pod.uid", rq["uid"]);
  labels.set("io.pintle.pod.namespace", rq["namespace"]);
  labels.set("io.pintle.pod.name", rq["name"]);
  labels.set("io.pintle.attempt", std::to_string(rq["attempt"].as_int()));
  for (const auto& m : rq["annotations"].members()) labels.set("annotation." + m.key, m.value);
  Value host = Value::object({{"RestartPolicy", Value::object({{"Name", "no"}})},
                              {"NetworkMode", host_network ? "host" : "default"},
                              {"IpcMode", rq["hostIpc"].as_bool() ? "host" : "shareable"},
                              {"PidMode", rq["hostPid"].as_bool() ? "host" : ""},
                              {"OomScoreAdj", std::max<int64_t>(-998, config.lowest_oom_score_adj)},
                              {"LogConfig", Value::object({{"Type", "none"}})}});
  if (!rq["cgroupParent"].as_string().empty()) host.set("CgroupParent", rq["cgroupParent"]);
  if (!rq["sysctls"].empty()) host.set("Sysctls", rq["sysctls"]);
  const Value& dns = rq["dns"];
  if (!dns["servers"].empty()) host.set("Dns", dns["servers"]);
  if (!dns["searches"].empty()) host.set("DnsSearch", dns["searches"]);
  if (!dns["options"].empty()) host.set("DnsOptions", dns["options"]);
  Value extra = Value::array();
  for (const Value& h : rq["hosts"].items())
    for (const Value& n : h["hostnames"].items()) extra.push(str(n) + ":" + str(h["ip"]));
  if (!extra.empty()) host.set("ExtraHosts", std::move(extra));
  Value body = Value::object({{"Image", config.sandbox_image}, {"Labels", std::move(labels)}, {"NetworkDisabled", false}});
  if (const std::string name = str(rq["hostname"]); !host_network && !name.empty()) {
    body.set("Hostname", name);
    // The engine writes "name.domain" into /etc/hosts.
    if (const std::string full = str(rq["fqdn"]); full.starts_with(name + ".")) body.set("Domainname", full.substr(name.size() + 1));
  }
  if (!host_network && !rq["portMappings"].empty()) {
    Value exposed = Value::object(), bindings = Value::object();
    for (const Value& p : rq["portMappings"].items()) {
      if (p["hostPort"].as_int() == 0) continue;
      std::string protocol = str(p["protocol"]);
      std::transform(protocol.begin(), protocol.end(), protocol.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      const std::string key = std::to_string(p["containerPort"].as_int()) + "/" + (protocol.empty() ? "tcp" : protocol);
      exposed.set(key, Value::object());
      bindings.set(key).push(Value::object({{"HostIp", p["hostIp"].as_string()}, {"HostPort", std::to_string(p["hostPort"].as_int())}}));
    }
    body.set("ExposedPorts", std::move(exposed));
    host.set("PortBindings", std::move(bindings));
  }
  body.set("HostConfig", std::move(host));
  return body;
}

Value resources_body(const Value& r) {
  Value out = Value::object();
  if (r["cpuShares"].as_int() > 0) out.set("CpuShares", r["cpuShares"]);
  if (r["cpuQuota"].as_int() > 0) {
    out.set("CpuQuota", r["cpuQuota"]);
    out.set("CpuPeriod", r["cpuPeriod"].as_int(100000));
  }
  if (r["memoryBytes"].as_int() > 0) {
    out.set("Memory", r["memoryBytes"]);
    out.set("MemorySwap", r["memoryBytes"]);  // the limit means memory: no swap on top
  }
  return out;
}

Result<Value> container_body(const DriverConfig& config, const Value& rq) {
  const Value& security = rq["security"];
  Value labels = labels_of(rq, config, "container");
  labels.set("io.pintle.pod.uid", rq["podUid"]);
  labels.set("io.pintle.sandbox.id", rq["podId"]);
  labels.set("io.pintle.container.name", rq["name"]);
  labels.set("io.pintle.attempt", std::to_string(rq["attempt"].as_int()));
  labels.set("io.pintle.image", rq["image"]);
  const std::string sandbox = "container:" + str(rq["podId"]);
  Value host = resources_body(rq["resources"]);
  if (!rq.at("resources.oomScoreAdj").is_null()) host.set("OomScoreAdj", std::max(rq.at("resources.oomScoreAdj").as_int(), config.lowest_oom_score_adj));
  host.set("RestartPolicy", Value::object({{"Name", "no"}}));
  host.set("NetworkMode", sandbox);
  host.set("IpcMode", rq["hostIpc"].as_bool() ? "host" : sandbox);
  if (rq["hostPid"].as_bool()) host.set("PidMode", "host");
  else if (rq["sharePid"].as_bool()) host.set("PidMode", sandbox);
  if (!rq["cgroupParent"].as_string().empty()) host.set("CgroupParent", rq["cgroupParent"]);
  host.set("LogConfig", Value::object({{"Type", "json-file"}, {"Config", Value::object({{"max-size", config.log_max_size}, {"max-file", "2"}})}}));
  host.set("Privileged", security["privileged"].as_bool());
  host.set("ReadonlyRootfs", security["readOnlyRoot"].as_bool());
  if (!security.at("capabilities.add").empty()) host.set("CapAdd", security.at("capabilities.add"));
  if (!security.at("capabilities.drop").empty()) host.set("CapDrop", security.at("capabilities.drop"));
  if (!security["supplementalGroups"].empty()) {
    Value groups = Value::array();
    for (const Value& g : security["supplementalGroups"].items()) groups.push(std::to_string(g.as_int()));
    host.set("GroupAdd", std::move(groups));
  }
  Value options = Value::array();
  if (security["noNewPrivileges"].as_bool()) options.push("no-new-privileges:true");
  const std::string_view seccomp = security["seccomp"].as_string("RuntimeDefault");
  if (seccomp == "Unconfined") options.push("seccomp=unconfined");
  else if (seccomp != "RuntimeDefault" && !seccomp.empty())
    return Error(PINTLE_UNSUPPORTED, "securityContext.seccompProfile.type Localhost is not supported by runtime-docker: use RuntimeDefault or Unconfined");
  const std::string_view apparmor = security["apparmor"].as_string();
  if (apparmor == "Unconfined") options.push("apparmor=unconfined");
  else if (apparmor.starts_with("Localhost/")) options.push("apparmor=" + std::string(apparmor.substr(10)));
  if (!options.empty()) host.set("SecurityOpt", std::move(options));
  Value mounts = Value::array();
  for (const Value& m : rq["mounts"].items()) {
    const std::string_view propagation = m["propagation"].as_string("private");
    mounts.push(Value::object({{"Type", "bind"},
                               {"Source", m["hostPath"]},
                               {"Target", m["containerPath"]},
                               {"ReadOnly", m["readOnly"].as_bool()},
                               {"BindOptions", Value::object({{"Propagation", propagation == "shared" ? "rshared" : propagation == "slave" ? "rslave" : "rprivate"}})}}));
  }
  if (!mounts.empty()) host.set("Mounts", std::move(mounts));

  Value body = Value::object({{"Image", rq["imageId"].as_string().empty() ? rq["image"] : rq["imageId"]},
                              {"Labels", std::move(labels)},
                              {"Tty", rq["tty"].as_bool()},
                              {"OpenStdin", rq["stdin"].as_bool()},
                              {"StdinOnce", rq["stdinOnce"].as_bool()},
                              {"Healthcheck", Value::object({{"Test", Value::array({"NONE"})}})}});
  if (!rq["command"].empty()) body.set("Entrypoint", rq["command"]);
  if (!rq["args"].empty()) body.set("Cmd", rq["args"]);
  if (!rq["workingDir"].as_string().empty()) body.set("WorkingDir", rq["workingDir"]);
  if (!rq["stopSignal"].as_string().empty()) body.set("StopSignal", rq["stopSignal"]);
  Value env = Value::array();
  for (const Value& e : rq["env"].items()) env.push(str(e["name"]) + "=" + str(e["value"]));
  body.set("Env", std::move(env));
  std::string user;
  if (!security["user"].is_null()) user = std::to_string(security["user"].as_int());
  else if (!security["userName"].as_string().empty()) user = str(security["userName"]);
  if (!security["group"].is_null()) {
    // "user:group" needs a user; without one the image's is root.
    user += (user.empty() ? "0:" : ":") + std::to_string(security["group"].as_int());
  }
  if (!user.empty()) body.set("User", user);
  body.set("HostConfig", std::move(host));
  return body;
}

int64_t engine_time(std::string_view text) {
  if (text.empty() || text.substr(0, 4) == "0001") return 0;
  return parse_time(text).value_or(0);
}

Value pod_entry(const Value& i) {
  const Value& labels = i.at("Config.Labels");
  Value annotations = Value::object(), rest = Value::object();
  for (const auto& m : labels.members()) {
    if (m.key.rfind("annotation.", 0) == 0) annotations.set(m.key.substr(11), m.value);
    else rest.set(m.key, m.value);
  }
  Value ips = Value::array();
  const std::string_view ip = i.at("NetworkSettings.IPAddress").as_string();
  if (!ip.empty()) ips.push(ip);
  return Value::object({{"id", i["Id"]},
                        {"uid", labels["io.pintle.pod.uid"]},
                        {"namespace", labels["io.pintle.pod.namespace"]},
                        {"name", labels["io.pintle.pod.name"]},
                        {"attempt", static_cast<long long>(std::atoll(str(labels["io.pintle.attempt"]).c_str()))},
                        {"state", state_of(i)["Running"].as_bool() ? "ready" : "notready"},
                        {"createdAt", static_cast<long long>(engine_time(i["Created"].as_string()))},
                        {"ips", std::move(ips)},
                        {"labels", std::move(rest)},
                        {"annotations", std::move(annotations)}});
}

Value container_entry(const Value& i) {
  const Value& labels = i.at("Config.Labels");
  const Value& s = state_of(i);
  const std::string_view status = s["Status"].as_string();
  const char* state = status == "created"                                                     ? "created"
                      : status == "running" || status == "paused" || status == "restarting"   ? "running"
                      : status == "exited" || status == "dead" || status == "removing"        ? "exited"
                                                                                              : "unknown";
  const int64_t exit_code = s["ExitCode"].as_int();
  // A start that failed leaves a container in state created with an error and an exit code.
  const bool failed_start = status == "created" && exit_code != 0 && !s["Error"].as_string().empty();
  Value out = Value::object({{"id", i["Id"]},
                             {"podId", labels["io.pintle.sandbox.id"]},
                             {"podUid", labels["io.pintle.pod.uid"]},
                             {"name", labels["io.pintle.container.name"]},
                             {"attempt", static_cast<long long>(std::atoll(str(labels["io.pintle.attempt"]).c_str()))},
                             {"image", labels["io.pintle.image"]},
                             {"imageId", i["Image"]},
                             {"state", failed_start ? "exited" : state},
                             {"createdAt", static_cast<long long>(engine_time(i["Created"].as_string()))},
                             {"startedAt", static_cast<long long>(engine_time(s["StartedAt"].as_string()))},
                             {"finishedAt", static_cast<long long>(engine_time(failed_start ? i["Created"].as_string() : s["FinishedAt"].as_string()))},
                             {"exitCode", exit_code},
                             {"pid", s["Pid"]},
                             {"labels", labels}});
  if (std::string_view(state) == "exited" || failed_start) {
    out.set("reason", s["OOMKilled"].as_bool() ? "OOMKilled" : failed_start ? "ContainerCannotRun" : exit_code == 0 ? "Completed" : "Error");
    out.set("message", s["Error"]);
  }
  return out;
}

std::string query_escape(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (unsigned char c : text) {
    if (std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
      out += static_cast<char>(c);
    } else {
      out += '%';
      out += kHex[c >> 4];
      out += kHex[c & 15];
    }
  }
  return out;
}

std::string base64url(std::string_view in) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  for (size_t i = 0; i < in.size(); i += 3) {
    uint32_t v = static_cast<unsigned char>(in[i]) << 16;
    if (i + 1 < in.size()) v |= static_cast<unsigned char>(in[i + 1]) << 8;
    if (i + 2 < in.size()) v |= static_cast<unsigned char>(in[i + 2]);
    out += kAlphabet[v >> 18];
    out += kAlphabet[v >> 12 & 63];
    out += i + 1 < in.size() ? kAlphabet[v >> 6 & 63] : '=';
    out += i + 2 < in.size() ? kAlphabet[v & 63] : '=';
  }
  return out;
}

Error engine_error(int status, std::string_view body) {
  const Value v = json::parse_or_null(body);
  std::string text(v["message"].as_string());
  if (text.empty()) text = "the Docker Engine answered " + std::to_string(status);
  switch (status) {
    case 400: return Error(PINTLE_INVALID, text);
    case 401: case 403: return Error(PINTLE_FORBIDDEN, text);
    case 404: return Error(PINTLE_NOT_FOUND, text);
    case 409: return Error(PINTLE_CONFLICT, text);
    case 503: return Error(PINTLE_UNAVAILABLE, text);
    default: return Error(PINTLE_INTERNAL, text);
  }
}

}  // namespace pintle::runtime_docker

#include "unsupported.h"

#include "pod_spec.h"

namespace pintle::node_agent {

using json::Value;

namespace {

std::string at(std::string path, std::string_view what) { return path + ": " + std::string(what) + " is not supported by this node"; }

std::string in_volume(const Value& v) {
  static const char* known[] = {"name", "emptyDir", "hostPath", "configMap", "secret", "projected", "downwardAPI"};
  const std::string path = "spec.volumes[" + std::string(v["name"].as_string()) + "]";
  for (const auto& m : v.members()) {
    bool ok = false;
    for (const char* k : known) ok |= m.key == k;
    if (!ok) return at(path + "." + m.key, "this kind of volume");
  }
  const std::string_view medium = v["emptyDir"]["medium"].as_string();
  if (!medium.empty() && medium != "Memory") return at(path + ".emptyDir.medium", "\"" + std::string(medium) + "\"");
  size_t i = 0;
  for (const auto& s : v["projected"]["sources"].items()) {
    for (const auto& m : s.members())
      if (m.key != "configMap" && m.key != "secret" && m.key != "downwardAPI")
        return at(path + ".projected.sources[" + std::to_string(i) + "]." + m.key, "this source");
    ++i;
  }
  return {};
}

std::string in_container(const ContainerSpec& c) {
  const Value& v = *c.spec;
  const std::string path = std::string(c.type == ContainerType::kMain ? "spec.containers[" : "spec.initContainers[") + std::string(c.name()) + "]";
  for (const char* probe : {"livenessProbe", "readinessProbe", "startupProbe"}) {
    if (v[probe].contains("grpc")) return at(path + "." + probe + ".grpc", "a gRPC probe");
    if (v[probe]["httpGet"]["scheme"].as_string() == "HTTPS") return at(path + "." + probe + ".httpGet.scheme", "HTTPS");
  }
  for (const char* hook : {"postStart", "preStop"}) {
    if (v["lifecycle"][hook].contains("tcpSocket")) return at(path + ".lifecycle." + hook + ".tcpSocket", "this hook");
    if (v["lifecycle"][hook]["httpGet"]["scheme"].as_string() == "HTTPS") return at(path + ".lifecycle." + hook + ".httpGet.scheme", "HTTPS");
  }
  if (!v["volumeDevices"].empty()) return at(path + ".volumeDevices", "a block device");
  if (!v["restartPolicyRules"].empty()) return at(path + ".restartPolicyRules", "a restart rule");
  if (c.type == ContainerType::kMain && v.contains("restartPolicy")) return at(path + ".restartPolicy", "a restart policy of its own");
  if (!v["resources"]["claims"].empty()) return at(path + ".resources.claims", "a resource claim");
  if (v["securityContext"].contains("windowsOptions")) return at(path + ".securityContext.windowsOptions", "Windows");
  if (!v["securityContext"]["seLinuxOptions"].empty()) return at(path + ".securityContext.seLinuxOptions", "SELinux");
  if (v["securityContext"]["procMount"].as_string("Default") != "Default") return at(path + ".securityContext.procMount", "this mount");
  for (const auto& m : v["volumeMounts"].items())
    if (m["recursiveReadOnly"].as_string() == "Enabled") return at(path + ".volumeMounts[" + std::string(m["mountPath"].as_string()) + "].recursiveReadOnly", "Enabled");
  for (const auto& e : v["env"].items())
    if (e["valueFrom"].contains("fileKeyRef")) return at(path + ".env[" + std::string(e["name"].as_string()) + "].valueFrom.fileKeyRef", "this source");
  return {};
}

}  // namespace

std::string unsupported(const Value& pod) {
  const Value& spec = pod["spec"];
  if (spec["os"]["name"].as_string("linux") != "linux") return at("spec.os.name", "\"" + std::string(spec["os"]["name"].as_string()) + "\"");
  if (spec.contains("hostUsers") && !spec["hostUsers"].as_bool(true)) return at("spec.hostUsers", "a user namespace");
  if (!spec["ephemeralContainers"].empty()) return at("spec.ephemeralContainers", "an ephemeral container");
  if (!spec["resourceClaims"].empty()) return at("spec.resourceClaims", "a resource claim");
  if (!spec["resources"].empty()) return at("spec.resources", "a limit for the whole pod");
  const Value& sc = spec["securityContext"];
  if (sc.contains("windowsOptions")) return at("spec.securityContext.windowsOptions", "Windows");
  if (!sc["seLinuxOptions"].empty()) return at("spec.securityContext.seLinuxOptions", "SELinux");
  if (sc["supplementalGroupsPolicy"].as_string("Merge") != "Merge") return at("spec.securityContext.supplementalGroupsPolicy", "Strict");
  for (const auto& v : spec["volumes"].items())
    if (auto text = in_volume(v); !text.empty()) return text;
  for (const auto& c : containers_of(pod))
    if (auto text = in_container(c); !text.empty()) return text;
  return {};
}

std::string not_enforced(const Value& pod) {
  std::string fields;
  const auto add = [&](const std::string& field) { fields += (fields.empty() ? "" : ", ") + field; };
  for (const auto& v : pod["spec"]["volumes"].items())
    if (v["emptyDir"].contains("sizeLimit") && v["emptyDir"]["medium"].as_string() != "Memory") add("spec.volumes[" + std::string(v["name"].as_string()) + "].emptyDir.sizeLimit");
  for (const auto& c : containers_of(pod))
    if ((*c.spec)["resources"]["limits"].contains("ephemeral-storage")) add("the ephemeral-storage limit of container \"" + std::string(c.name()) + "\"");
  return fields.empty() ? fields : "not enforced by this node: " + fields;
}

}  // namespace pintle::node_agent

#include "plugins/core/pod_validation.h"

#include <set>

#include "plugins/core/pod_defaults.h"

namespace pintle::core {
namespace {

// An init container may not have the name of a container either; within each list the schema sees to it.
void check_names(const json::Value& spec, Causes& causes) {
  std::set<std::string> seen;
  for (const auto& c : spec["containers"].items()) seen.emplace(c["name"].as_string());
  size_t i = 0;
  for (const auto& c : spec["initContainers"].items()) {
    const auto name = c["name"].as_string();
    const std::string at = index("initContainers", i++) + ".name";
    if (!name.empty() && seen.count(std::string(name))) causes.duplicate(at, name);
  }
}

// hostPort: one container per protocol, address and port. Init containers that end do not hold theirs.
void check_host_ports(const json::Value& spec, Causes& causes) {
  std::set<std::string> taken;
  for (const char* list : kContainerLists) {
    size_t i = 0;
    for (const auto& c : spec[list].items()) {
      const std::string path = index(list, i++);
      if (list == kContainerLists[0] && c["restartPolicy"].as_string() != "Always") continue;
      size_t p = 0;
      for (const auto& port : c["ports"].items()) {
        const std::string at = index(path + ".ports", p++);
        const int64_t host = port["hostPort"].as_int();
        if (host == 0) continue;
        const std::string text = std::string(port["protocol"].as_string("TCP")) + "/" +
                                 std::string(port["hostIP"].as_string()) + "/" + std::to_string(host);
        if (!taken.insert(text).second) causes.duplicate(at + ".hostPort", text);
        if (spec["hostNetwork"].as_bool() && host != port["containerPort"].as_int())
          causes.invalid(at + ".containerPort", port["containerPort"], "must match `hostPort` when `hostNetwork` is true");
      }
    }
  }
}

void check_dns(const json::Value& spec, Causes& causes) {
  const json::Value& config = spec["dnsConfig"];
  if (spec["dnsPolicy"].as_string() == "None") {
    if (!config.is_object()) causes.required("dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None");
    else if (config["nameservers"].empty())
      causes.required("dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None");
  }
  if (config["nameservers"].size() > 3)
    causes.invalid("dnsConfig.nameservers", config["nameservers"], "must not have more than 3 nameservers");
  size_t i = 0;
  for (const auto& server : config["nameservers"].items()) causes.check(Format::kIp, index("dnsConfig.nameservers", i++), server.as_string());
  if (config["searches"].size() > 32)
    causes.invalid("dnsConfig.searches", config["searches"], "must not have more than 32 search paths");
  size_t length = 0;
  i = 0;
  for (const auto& domain : config["searches"].items()) {
    length += domain.as_string().size() + (i ? 1 : 0);
    causes.check(Format::kSearchDomain, index("dnsConfig.searches", i++), domain.as_string());
  }
  if (length > 2048)
    causes.invalid("dnsConfig.searches", config["searches"], "must not have more than 2048 characters (including spaces) in the search list");
  i = 0;
  for (const auto& option : config["options"].items()) {
    const std::string at = index("dnsConfig.options", i++);
    if (option["name"].as_string().empty()) causes.required(at, "must not be empty");
    for (const char* part : {"name", "value"})
      for (const char c : option[part].as_string())
        if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) {
          causes.invalid(at + "." + part, option[part], "must not contain whitespace or control characters");
          break;
        }
  }
}

void check_host_aliases(const json::Value& spec, Causes& causes) {
  size_t i = 0;
  for (const auto& alias : spec["hostAliases"].items()) {
    const std::string at = index("hostAliases", i++) + ".hostnames";
    size_t n = 0;
    for (const auto& name : alias["hostnames"].items()) causes.check(Format::kDns1123Subdomain, index(at, n++), name.as_string());
  }
}

void check_sysctls(const json::Value& sysctls, Causes& causes) {
  std::set<std::string> names;
  size_t i = 0;
  for (const auto& s : sysctls.items()) {
    const std::string at = index("securityContext.sysctls", i++) + ".name";
    const std::string name(s["name"].as_string());
    if (name.empty()) causes.required(at);
    else if (const std::string wrong = check_format(Format::kSysctl, name); !wrong.empty()) causes.invalid(at, name, wrong);
    else if (!names.insert(name).second) causes.duplicate(at, name);
  }
}

}  // namespace

void validate_pod_spec(const json::Value& spec, Causes& causes) {
  if (spec["containers"].is_array() && spec["containers"].empty()) causes.required("containers");
  check_names(spec, causes);
  validate_volumes(spec["volumes"], causes);
  for (const char* list : kContainerLists) {
    size_t i = 0;
    for (const auto& c : spec[list].items())
      validate_container(c, spec, list == kContainerLists[0], index(list, i++), causes);
  }
  check_host_ports(spec, causes);
  check_dns(spec, causes);
  check_host_aliases(spec, causes);
  if (const auto name = spec["hostnameOverride"].as_string(); !name.empty()) causes.check(Format::kDns1123Subdomain, "hostnameOverride", name);
  check_sysctls(spec["securityContext"]["sysctls"], causes);
  check_seccomp(spec["securityContext"]["seccompProfile"], "securityContext.seccompProfile", causes);
  validate_placement(spec, causes);
  if (spec["hostPID"].as_bool() && spec["shareProcessNamespace"].as_bool())
    causes.invalid("securityContext.shareProcessNamespace", true, "ShareProcessNamespace and HostPID cannot both be enabled");
}

}  // namespace pintle::core

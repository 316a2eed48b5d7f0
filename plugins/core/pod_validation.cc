#include "plugins/core/pod_validation.h"

#include <set>

#include "plugins/core/pod_defaults.h"

namespace pintle::core {
namespace {

void check_names(const json::Value& spec, Causes& causes) {
  std::set<std::string> seen;
  for (const char* list : {"containers", "initContainers"}) {
    size_t i = 0;
    for (const auto& c : spec[list].items()) {
      const auto name = c["name"].as_string();
      if (!name.empty() && !seen.emplace(name).second) causes.duplicate(index(list, i) + ".name", name);
      ++i;
    }
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
  if (config["searches"].size() > 32)
    causes.invalid("dnsConfig.searches", config["searches"], "must not have more than 32 search paths");
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
  validate_placement(spec, causes);
  if (spec["hostPID"].as_bool() && spec["shareProcessNamespace"].as_bool())
    causes.invalid("securityContext.shareProcessNamespace", true, "ShareProcessNamespace and HostPID cannot both be enabled");
}

}  // namespace pintle::core

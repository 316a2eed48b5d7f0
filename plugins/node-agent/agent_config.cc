#include "agent_config.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "pintle/quantity.h"

namespace pintle::node_agent {

using json::Value;

namespace {

std::string first_line(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string lower(std::string s) {
  for (char& c : s)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return s;
}

std::string first_address() {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return "127.0.0.1";
  std::string out;
  for (ifaddrs* a = all; a; a = a->ifa_next) {
    if (!a->ifa_addr || a->ifa_addr->sa_family != AF_INET || (a->ifa_flags & IFF_LOOPBACK) || !(a->ifa_flags & IFF_UP)) continue;
    const std::string name = a->ifa_name;
    if (name.starts_with("docker") || name.starts_with("br-") || name.starts_with("veth") || name.starts_with("pintle")) continue;
    char text[INET_ADDRSTRLEN];
    const auto* in = reinterpret_cast<const sockaddr_in*>(a->ifa_addr);
    if (inet_ntop(AF_INET, &in->sin_addr, text, sizeof text)) {
      out = text;
      break;
    }
  }
  freeifaddrs(all);
  return out.empty() ? "127.0.0.1" : out;
}

Value labels_of(const HostFacts& host, const std::string& hostname, const std::string& zone) {
  Value out = Value::object({{"kubernetes.io/os", "linux"}, {"kubernetes.io/arch", host.arch}, {"kubernetes.io/hostname", hostname},
                             {"beta.kubernetes.io/os", "linux"}, {"beta.kubernetes.io/arch", host.arch}});
  out.set("topology.kubernetes.io/zone", zone);
  out.set("topology.kubernetes.io/region", "local");
  return out;
}

void merge(Value& to, const Value& from) {
  for (const auto& m : from.members()) to.set(m.key, m.value);
}

Result<Value> minus(const Value& capacity, const Value& reserved) {
  Value out = capacity;
  for (const auto& m : reserved.members()) {
    auto have = Quantity::parse(capacity[m.key].as_string("0"));
    const auto less = Quantity::parse(m.value.as_string());
    if (!less || !have) return Error(PINTLE_INVALID, "reserved." + m.key + " is not a quantity");
    *have -= *less;
    out.set(m.key, have->text());
  }
  return out;
}

Result<NodeConfig> real_node(const Value& v, const HostFacts& host) {
  NodeConfig n;
  n.name = lower(str(v["name"]));
  if (n.name.empty()) n.name = lower(host.hostname);
  n.hostname = host.hostname;
  n.ip = v["ip"].as_string().empty() ? host.ip : str(v["ip"]);
  n.runtime = v["runtime"].as_string().empty() ? "runtime.docker" : str(v["runtime"]);
  n.labels = labels_of(host, n.name, "zone-1");
  merge(n.labels, v["labels"]);
  n.annotations = v["annotations"];
  n.taints = v["taints"];
  n.capacity = Value::object({{"cpu", std::to_string(host.cpus)}, {"memory", std::to_string(host.memory / 1024) + "Ki"},
                              {"ephemeral-storage", std::to_string(host.disk / 1024) + "Ki"}, {"pods", "110"}});
  merge(n.capacity, v["capacity"]);
  for (const auto& m : n.capacity.members())
    if (!Quantity::parse(m.value.as_string())) return Error(PINTLE_INVALID, "capacity." + m.key + " is not a quantity");
  Value reserved = v["reserved"];
  if (!reserved.contains("memory") && !v["capacity"].contains("memory") && host.memory > (int64_t{1} << 30)) reserved.set("memory", "100Mi");
  auto allocatable = minus(n.capacity, reserved);
  if (!allocatable) return allocatable.error();
  n.allocatable = std::move(*allocatable);
  return n;
}

void simulated_nodes(const Value& v, const HostFacts& host, std::vector<NodeConfig>& out) {
  const int64_t count = v["count"].as_int(0), zones = std::max<int64_t>(1, v["zones"].as_int(3));
  const std::string prefix = v.contains("prefix") ? str(v["prefix"]) : "sim-";
  for (int64_t i = 0; i < count; ++i) {
    NodeConfig n;
    n.name = prefix + std::to_string(i + 1);
    n.hostname = n.name;
    n.simulated = true;
    // Of a range that is for documentation only: nothing answers there.
    n.ip = "198.18." + std::to_string((i + 1) / 250 % 256) + "." + std::to_string((i + 1) % 250 + 1);
    n.runtime = v["runtime"].as_string().empty() ? "runtime.sim" : str(v["runtime"]);
    n.labels = labels_of(host, n.name, "zone-" + std::to_string(i % zones + 1));
    n.labels.set("pintle.dev/simulated", "true");
    merge(n.labels, v["labels"]);
    if (v["taint"].as_bool(true)) n.taints = Value::array({Value::object({{"key", "pintle.dev/simulated"}, {"effect", "NoSchedule"}})});
    n.capacity = Value::object({{"cpu", v["cpu"].as_string("8")}, {"memory", v["memory"].as_string("32Gi")},
                                {"ephemeral-storage", "100Gi"}, {"pods", v["pods"].as_string("110")}});
    n.allocatable = n.capacity;
    out.push_back(std::move(n));
  }
}

}  // namespace

HostFacts read_host_facts(const std::string& root) {
  HostFacts f;
  utsname u{};
  if (uname(&u) == 0) {
    f.kernel = u.release;
    f.hostname = u.nodename;
    const std::string machine = u.machine;
    f.arch = machine == "x86_64" ? "amd64" : machine == "aarch64" ? "arm64" : machine;
  }
  f.ip = first_address();
  f.cpus = std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
  f.memory = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
  struct statvfs fs {};
  if (statvfs(root.c_str(), &fs) == 0 || statvfs("/", &fs) == 0) f.disk = static_cast<int64_t>(fs.f_blocks) * static_cast<int64_t>(fs.f_frsize);
  f.machine_id = first_line("/etc/machine-id");
  f.boot_id = first_line("/proc/sys/kernel/random/boot_id");
  std::ifstream os("/etc/os-release");
  for (std::string line; std::getline(os, line);)
    if (line.starts_with("PRETTY_NAME=")) {
      f.os_image = line.substr(12);
      if (f.os_image.size() >= 2 && f.os_image.front() == '"') f.os_image = f.os_image.substr(1, f.os_image.size() - 2);
    }
  return f;
}

Result<AgentConfig> read_config(const Value& c, const HostFacts& host) {
  AgentConfig out;
  out.root = c["root"].as_string().empty() ? "/var/lib/pintle/node" : str(c["root"]);
  out.cluster_dns = str(c["clusterDNS"]);
  out.cluster_domain = c["clusterDomain"].as_string().empty() ? "cluster.local" : str(c["clusterDomain"]);
  out.heartbeat_ns = static_cast<uint64_t>(std::max<int64_t>(1, c["heartbeatSeconds"].as_int(10))) * 1'000'000'000;
  out.proxy_wait_ns = static_cast<uint64_t>(std::max<int64_t>(0, c["proxyWaitSeconds"].as_int(5))) * 1'000'000'000;
  const Value& sim = c["simulated"];
  const bool simulated = sim["count"].as_int(0) > 0;
  if (!simulated || sim["alongside"].as_bool()) {
    if (c["nodes"].empty()) {
      auto n = real_node(Value::object({{"name", c["nodeName"]}, {"ip", c["nodeIP"]}, {"runtime", c["runtime"]}}), host);
      if (!n) return n.error();
      out.nodes.push_back(std::move(*n));
    }
    size_t i = 0;
    for (const auto& v : c["nodes"].items()) {
      auto n = real_node(v, host);
      if (!n) return Error(PINTLE_INVALID, "nodes[" + std::to_string(i) + "]." + n.error().text);
      out.nodes.push_back(std::move(*n));
      ++i;
    }
  }
  if (simulated) {
    for (const char* key : {"cpu", "memory", "pods"})
      if (sim.contains(key) && !Quantity::parse(sim[key].as_string())) return Error(PINTLE_INVALID, std::string("simulated.") + key + " is not a quantity");
    simulated_nodes(sim, host, out.nodes);
  }
  std::set<std::string> names;
  for (const auto& n : out.nodes)
    if (!names.insert(n.name).second) return Error(PINTLE_INVALID, "two nodes are named \"" + n.name + "\"");
  return out;
}

}  // namespace pintle::node_agent

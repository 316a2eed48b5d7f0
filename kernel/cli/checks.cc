#include "kernel/cli/checks.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "kernel/cli/http.h"
#include "kernel/cli/process.h"

namespace pintle::cli {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kLeastDisk = 1ull << 30, kGoodDisk = 5ull << 30;
constexpr int kLeastKubectl = 30;

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool exists(const std::string& path) {
  std::error_code code;
  return fs::exists(path, code);
}

Finding check_root() {
  if (geteuid() == 0) return {"root", Verdict::kGood, "runs as root", ""};
  return {"root", Verdict::kBlocking, "not root: containers and Services need it", "sudo pintle preflight; without root: pintle up --config config/sim.yaml"};
}

Finding check_cgroups() {
  if (exists("/sys/fs/cgroup/cgroup.controllers")) {
    const std::string controllers = text_of("/sys/fs/cgroup/cgroup.controllers");
    for (const char* needed : {"cpu", "memory", "pids"})
      if (controllers.find(needed) == std::string::npos)
        return {"cgroups", Verdict::kWarning, std::string("version 2 without the controller ") + needed + ": its limits do not hold", "boot with cgroup_enable=" + std::string(needed)};
    return {"cgroups", Verdict::kGood, "version 2", ""};
  }
  if (exists("/sys/fs/cgroup/memory")) return {"cgroups", Verdict::kGood, "version 1", ""};
  return {"cgroups", Verdict::kBlocking, "not mounted at /sys/fs/cgroup", "mount -t cgroup2 none /sys/fs/cgroup"};
}

Finding check_nftables() {
  const Finished r = run_program({"nft", "list", "tables"});
  if (r.code == 0) return {"nftables", Verdict::kGood, "works", ""};
  if (r.code == -1) return {"nftables", Verdict::kWarning, "the program nft is missing: Services work, `pintle down --purge` cannot clean up", "apt-get install -y nftables"};
  return {"nftables", Verdict::kBlocking, "nft: " + r.errors.substr(0, r.errors.find('\n')), "modprobe nf_tables; in a container give it CAP_NET_ADMIN; or leave Services out: --without service-proxy"};
}

Finding check_docker() {
  const Engine engine;
  auto info = engine.call("GET", "/info", 10000);
  if (info) {
    const std::string text = "engine " + std::string((*info)["ServerVersion"].as_string()) + ", storage " + std::string((*info)["Driver"].as_string());
    if ((*info)["Driver"].as_string() == "vfs") return {"docker", Verdict::kWarning, text + ": every container copies its whole image", "put /var/lib/docker on a file system that overlay works on"};
    return {"docker", Verdict::kGood, text, ""};
  }
  if (info.error().code == PINTLE_NOT_FOUND)
    return {"docker", Verdict::kBlocking, "no engine at " + engine.socket(), "apt-get install -y docker.io, then systemctl start docker (without systemd: dockerd &)"};
  if (info.error().code == PINTLE_FORBIDDEN) return {"docker", Verdict::kBlocking, "the engine's socket may not be used", "use sudo, or join the group docker"};
  return {"docker", Verdict::kBlocking, info.error().text, "systemctl restart docker (without systemd: dockerd &)"};
}

// "dockerd (process 12)" for the process that holds a socket.
std::string owner_of(unsigned long inode, std::string& program) {
  const std::string wanted = "socket:[" + std::to_string(inode) + "]";
  std::error_code code;
  for (const auto& process : fs::directory_iterator("/proc", code)) {
    const std::string pid = process.path().filename().string();
    if (!std::isdigit(static_cast<unsigned char>(pid[0]))) continue;
    std::error_code hidden;
    for (const auto& fd : fs::directory_iterator(process.path() / "fd", hidden)) {
      if (fs::read_symlink(fd.path(), hidden).string() != wanted) continue;
      program = text_of(process.path().string() + "/comm");
      while (!program.empty() && program.back() == '\n') program.pop_back();
      return program + " (process " + pid + ")";
    }
  }
  return "another process";
}

Finding check_port(int port) {
  unsigned long inode = 0;
  for (const char* file : {"/proc/net/tcp", "/proc/net/tcp6"})
    if (!inode) inode = listening_inode(text_of(file), port);
  const std::string subject = "port " + std::to_string(port);
  if (!inode) return {subject, Verdict::kGood, "free", ""};
  std::string program;
  const std::string owner = owner_of(inode, program);
  if (program == "pintled") return {subject, Verdict::kGood, "used by " + owner + ", which is ours", ""};
  const bool api = port == 6443;
  return {subject, Verdict::kBlocking, "used by " + owner,
          api ? "stop that, or choose another one: pintle up --listen 127.0.0.1:PORT" : "stop that, or choose another one: plugins.dns.config.port in the configuration"};
}

Finding check_disk(const std::string& data) {
  fs::path path = data;
  while (!exists(path.string()) && path.has_parent_path() && path != path.parent_path()) path = path.parent_path();
  struct statvfs info {};
  if (statvfs(path.c_str(), &info) != 0) return {"disk", Verdict::kWarning, "cannot look at " + path.string(), ""};
  const uint64_t free = uint64_t{info.f_bavail} * info.f_frsize;
  const std::string text = std::to_string(free >> 20) + " MiB free for " + data;
  if (free < kLeastDisk) return {"disk", Verdict::kBlocking, text, "make room, or name another place: pintle up --data DIR"};
  if (free < kGoodDisk) return {"disk", Verdict::kWarning, text + ": little for images", "docker image prune"};
  return {"disk", Verdict::kGood, text, ""};
}

Finding check_overlay() {
  if (text_of("/proc/filesystems").find("overlay") != std::string::npos) return {"overlay", Verdict::kGood, "known to the kernel", ""};
  return {"overlay", Verdict::kWarning, "the file system overlay is not loaded", "modprobe overlay"};
}

Finding check_bridge() {
  const std::string value = text_of("/proc/sys/net/bridge/bridge-nf-call-iptables");
  if (value.rfind('1', 0) == 0) return {"br_netfilter", Verdict::kGood, "on", ""};
  if (value.empty())
    return {"br_netfilter", Verdict::kWarning, "not loaded: a pod may not reach a Service whose other end is on the same bridge", "modprobe br_netfilter"};
  return {"br_netfilter", Verdict::kWarning, "off: a pod may not reach a Service whose other end is on the same bridge", "sysctl -w net.bridge.bridge-nf-call-iptables=1"};
}

Finding check_forwarding() {
  if (text_of("/proc/sys/net/ipv4/ip_forward").rfind('1', 0) == 0) return {"ip_forward", Verdict::kGood, "on", ""};
  return {"ip_forward", Verdict::kWarning, "off: pods reach nothing beyond their bridge until the Docker engine or Pintle turns it on", "sysctl -w net.ipv4.ip_forward=1"};
}

Finding check_kubectl() {
  const Finished r = run_program({"kubectl", "version", "--client", "-o", "json"});
  if (r.code == -1) return {"kubectl", Verdict::kWarning, "not on PATH", "install kubectl 1.30 or newer: https://kubernetes.io/docs/tasks/tools"};
  const auto [major, minor] = kubectl_version(r.output);
  const std::string text = "version " + std::to_string(major) + "." + std::to_string(minor);
  if (major == 0) return {"kubectl", Verdict::kWarning, "does not tell its version", "install kubectl 1.30 or newer"};
  if (major == 1 && minor < kLeastKubectl) return {"kubectl", Verdict::kWarning, text + " is too old: exec and port-forward need 1.30", "install kubectl 1.30 or newer"};
  return {"kubectl", Verdict::kGood, text, ""};
}

}  // namespace

unsigned long listening_inode(const std::string& proc_net_tcp, int port) {
  std::istringstream lines(proc_net_tcp);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string number, local, remote, state, skip;
    unsigned long inode = 0;
    words >> number >> local >> remote >> state;
    for (int i = 0; i < 5; ++i) words >> skip;
    words >> inode;
    const size_t colon = local.rfind(':');
    static constexpr const char* kListening = "0A";
    if (state == kListening && colon != std::string::npos && std::strtol(local.c_str() + colon + 1, nullptr, 16) == port) return inode;
  }
  return 0;
}

std::pair<int, int> kubectl_version(const std::string& json_text) {
  const json::Value v = json::parse_or_null(json_text);
  const std::string major(v.at("clientVersion.major").as_string()), minor(v.at("clientVersion.minor").as_string());
  return {std::atoi(major.c_str()), std::atoi(minor.c_str())};
}

std::vector<Finding> check_machine(const std::string& data, const std::vector<int>& ports) {
  std::vector<Finding> out = {check_root(), check_cgroups(), check_nftables(), check_docker()};
  for (const int port : ports) out.push_back(check_port(port));
  for (auto& f : {check_disk(data), check_overlay(), check_bridge(), check_forwarding(), check_kubectl()}) out.push_back(f);
  return out;
}

json::Value findings_json(const std::vector<Finding>& findings) {
  json::Value checks = json::Value::array();
  bool ok = true;
  for (const Finding& f : findings) {
    ok &= f.verdict != Verdict::kBlocking;
    const char* verdict = f.verdict == Verdict::kGood ? "good" : f.verdict == Verdict::kWarning ? "warning" : "blocking";
    checks.push(json::Value::object({{"subject", f.subject}, {"verdict", verdict}, {"text", f.text}, {"fix", f.fix}}));
  }
  return json::Value::object({{"ok", ok}, {"checks", std::move(checks)}});
}

}  // namespace pintle::cli

#include "packet_filter.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <nftables/libnftables.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

namespace pintle::service_proxy {
namespace {

// Runs a command without output; its exit status, or -1.
int run(std::vector<const char*> argv) {
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int rc = posix_spawnp(&pid, argv[0], &actions, nullptr, const_cast<char* const*>(argv.data()), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (rc != 0) return -1;
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int docker_user(const char* verb) {
  return run({"iptables", "-w", "5", verb, "DOCKER-USER", "-m", "connmark", "--mark", "0x400000/0x400000", "-m", "comment", "--comment", "pintle services",
              "-j", "ACCEPT"});
}

std::string read_line(const char* path) {
  char buf[32] = {};
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  const ssize_t n = read(fd, buf, sizeof buf - 1);
  close(fd);
  std::string out(buf, n > 0 ? static_cast<size_t>(n) : 0);
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

}  // namespace

PacketFilter::PacketFilter() : nft_(nft_ctx_new(NFT_CTX_DEFAULT)) {
  if (!nft_) throw Error(PINTLE_UNAVAILABLE, "libnftables cannot be used");
  nft_ctx_buffer_output(nft_);
  nft_ctx_buffer_error(nft_);
}
PacketFilter::~PacketFilter() { nft_ctx_free(nft_); }

Result<void> PacketFilter::apply(const std::string& commands) {
  if (nft_run_cmd_from_buffer(nft_, commands.c_str()) == 0) {
    (void)nft_ctx_get_output_buffer(nft_);
    return {};
  }
  const int saved = errno;
  std::string text = nft_ctx_get_error_buffer(nft_);
  if (text.size() > 400) text.resize(400);
  if (geteuid() != 0 || saved == EPERM)
    return Error(PINTLE_FORBIDDEN, "the packet filter cannot be changed: run as root (CAP_NET_ADMIN) or disable the plugin service-proxy: " + text);
  return Error(PINTLE_UNAVAILABLE, "nftables refused the rules: " + text);
}

void PacketFilter::admit_in_docker() {
  if (docker_user("-C") == 1) docker_user("-I");
}
void PacketFilter::unadmit_in_docker() {
  while (docker_user("-D") == 0) {
  }
}

bool PacketFilter::enable_forwarding() {
  constexpr char kPath[] = "/proc/sys/net/ipv4/ip_forward";
  if (read_line(kPath) == "1") return false;
  const int fd = open(kPath, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = write(fd, "1", 1) == 1;
  close(fd);
  return done;
}

void PacketFilter::allow_hairpin(const std::set<std::string>& addresses) {
  std::vector<uint32_t> endpoints;
  for (const auto& a : addresses) {
    in_addr parsed{};
    if (inet_pton(AF_INET, a.c_str(), &parsed) == 1) endpoints.push_back(ntohl(parsed.s_addr));
  }
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return;
  for (const ifaddrs* i = list; i; i = i->ifa_next) {
    if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !i->ifa_netmask) continue;
    const uint32_t mask = ntohl(reinterpret_cast<const sockaddr_in*>(i->ifa_netmask)->sin_addr.s_addr);
    const uint32_t network = ntohl(reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr.s_addr) & mask;
    if (std::none_of(endpoints.begin(), endpoints.end(), [&](uint32_t e) { return (e & mask) == network; })) continue;
    std::error_code none;
    for (const auto& port : std::filesystem::directory_iterator("/sys/class/net/" + std::string(i->ifa_name) + "/brif", none)) {
      const std::string mode = port.path().string() + "/hairpin_mode";
      if (read_line(mode.c_str()) != "0") continue;
      const int fd = open(mode.c_str(), O_WRONLY | O_CLOEXEC);
      if (fd < 0) continue;
      (void)!write(fd, "1", 1);
      close(fd);
    }
  }
  freeifaddrs(list);
}

std::set<std::string> PacketFilter::unfiltered_bridges() {
  std::set<std::string> out;
  if (read_line("/proc/sys/net/bridge/bridge-nf-call-iptables") == "1") return out;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return out;
  for (const ifaddrs* i = list; i; i = i->ifa_next) {
    if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !i->ifa_netmask) continue;
    if (access(("/sys/class/net/" + std::string(i->ifa_name) + "/bridge").c_str(), F_OK) != 0) continue;
    const uint32_t mask = ntohl(reinterpret_cast<const sockaddr_in*>(i->ifa_netmask)->sin_addr.s_addr);
    in_addr network{htonl(ntohl(reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr.s_addr) & mask)};
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &network, text, sizeof text);
    out.insert(std::string(text) + "/" + std::to_string(std::popcount(mask)));
  }
  freeifaddrs(list);
  return out;
}

}  // namespace pintle::service_proxy

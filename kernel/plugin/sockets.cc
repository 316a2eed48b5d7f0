#include "kernel/plugin/sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace pintle::kernel {
namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  int family = AF_UNSPEC, type = SOCK_STREAM;
};

Result<Address> parse(std::string_view text) {
  const auto bad = [&] { return Error(PINTLE_INVALID, "\"" + std::string(text) + "\" is not an address like unix:/path, tcp:1.2.3.4:80 or tcp:[::1]:80"); };
  Address a;
  if (text.rfind("unix:", 0) == 0) {
    const std::string path(text.substr(5));
    auto* un = reinterpret_cast<sockaddr_un*>(&a.storage);
    if (path.empty() || path.size() >= sizeof un->sun_path) return bad();
    un->sun_family = a.family = AF_UNIX;
    std::memcpy(un->sun_path, path.c_str(), path.size() + 1);
    a.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    return a;
  }
  if (text.rfind("udp:", 0) == 0) a.type = SOCK_DGRAM;
  else if (text.rfind("tcp:", 0) != 0) return bad();
  const std::string_view rest = text.substr(4);
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return bad();
  std::string host(rest.substr(0, colon));
  const std::string_view port_text = rest.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, ec] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (ec != std::errc() || end != port_text.data() + port_text.size()) return bad();
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&a.storage);
    host = host.substr(1, host.size() - 2);
    if (inet_pton(AF_INET6, host.c_str(), &in6->sin6_addr) != 1) return bad();
    in6->sin6_family = a.family = AF_INET6;
    in6->sin6_port = htons(port);
    a.length = sizeof *in6;
  } else {
    auto* in = reinterpret_cast<sockaddr_in*>(&a.storage);
    if (inet_pton(AF_INET, host.c_str(), &in->sin_addr) != 1) return bad();
    in->sin_family = a.family = AF_INET;
    in->sin_port = htons(port);
    a.length = sizeof *in;
  }
  return a;
}

}  // namespace

Result<int> open_socket(std::string_view address, bool listen) {
  Result<Address> parsed = parse(address);
  if (!parsed) return parsed.error();
  const Address& a = *parsed;
  const auto failed = [&](const char* what, int fd, int code) {
    if (fd >= 0) ::close(fd);
    return Error(PINTLE_UNAVAILABLE, std::string(what) + " " + std::string(address) + ": " + std::strerror(code));
  };
  const int fd = ::socket(a.family, a.type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed("socket", fd, errno);
  const auto* raw = reinterpret_cast<const sockaddr*>(&a.storage);
  const int one = 1;
  if (!listen) {
    if (a.type == SOCK_STREAM && a.family != AF_UNIX) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (::connect(fd, raw, a.length) != 0 && errno != EINPROGRESS) return failed("connect", fd, errno);
    return fd;
  }
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (a.family == AF_UNIX) {
    // A socket nobody listens on any more is left from an earlier run.
    const char* path = reinterpret_cast<const sockaddr_un*>(&a.storage)->sun_path;
    struct stat st {};
    if (::stat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
      const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const bool alive = probe >= 0 && ::connect(probe, raw, a.length) == 0;
      if (probe >= 0) ::close(probe);
      if (!alive) ::unlink(path);
    }
  }
  if (::bind(fd, raw, a.length) != 0) return failed("bind", fd, errno);
  if (a.type == SOCK_STREAM && ::listen(fd, 512) != 0) return failed("listen", fd, errno);
  return fd;
}

}  // namespace pintle::kernel

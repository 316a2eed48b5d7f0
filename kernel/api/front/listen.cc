#include "kernel/api/front/listen.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <set>
#include <sstream>

namespace pintle::kernel {
namespace {

bool is_number(const char* s) {
  for (; *s; ++s)
    if (*s < '0' || *s > '9') return false;
  return true;
}

std::string process_text(const std::string& pid) {
  std::ifstream comm("/proc/" + pid + "/comm");
  std::string name;
  std::getline(comm, name);
  return "process " + pid + (name.empty() ? "" : " (" + name + ")");
}

// Inodes of sockets that listen on the port.
std::set<std::string> listening_inodes(int port) {
  std::set<std::string> out;
  for (const char* path : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream table(path);
    std::string line;
    std::getline(table, line);
    while (std::getline(table, line)) {
      std::istringstream fields(line);
      std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
      fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
      const size_t colon = local.rfind(':');
      if (state != "0A" || colon == std::string::npos) continue;
      int found = 0;
      std::from_chars(local.data() + colon + 1, local.data() + local.size(), found, 16);
      if (found == port) out.insert("socket:[" + inode + "]");
    }
  }
  return out;
}

Error failure(const std::string& address, const char* what) {
  return Error(PINTLE_INTERNAL, "cannot " + std::string(what) + " \"" + address + "\": " + strerror(errno));
}

Result<Listener> listen_unix(const std::string& address) {
  const std::string path = address.substr(5);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof name.sun_path)
    return Error(PINTLE_BAD_REQUEST, "the listen address \"" + address + "\" needs a path of 1 to 107 bytes");
  memcpy(name.sun_path, path.data(), path.size());
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) return Error(PINTLE_CONFLICT, "\"" + path + "\" exists and is not a socket");
    const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int rc = connect(probe, reinterpret_cast<sockaddr*>(&name), sizeof name);
    if (rc == 0 || errno == EAGAIN) {
      ucred peer{};
      socklen_t size = sizeof peer;
      std::string who;
      if (rc == 0 && getsockopt(probe, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) who = process_text(std::to_string(peer.pid));
      close(probe);
      return Error(PINTLE_CONFLICT, "the socket \"" + path + "\" is in use" + (who.empty() ? "" : " by " + who));
    }
    close(probe);
    unlink(path.c_str());
  }
  Listener out;
  out.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (out.fd < 0) return failure(address, "open a socket for");
  if (bind(out.fd, reinterpret_cast<sockaddr*>(&name), sizeof name) != 0 || chmod(path.c_str(), 0600) != 0 || listen(out.fd, 1024) != 0) {
    Error error = failure(address, "listen on");
    close(out.fd);
    return error;
  }
  out.address = address;
  out.unix_path = path;
  return out;
}

}  // namespace

std::string who_listens(int port) {
  const std::set<std::string> inodes = listening_inodes(port);
  if (inodes.empty()) return {};
  DIR* proc = opendir("/proc");
  if (!proc) return {};
  std::string found;
  while (const dirent* entry = readdir(proc)) {
    if (!found.empty()) break;
    if (!is_number(entry->d_name)) continue;
    const std::string folder = std::string("/proc/") + entry->d_name + "/fd";
    DIR* descriptors = opendir(folder.c_str());
    if (!descriptors) continue;
    while (const dirent* fd = readdir(descriptors)) {
      char target[64];
      const ssize_t length = readlink((folder + "/" + fd->d_name).c_str(), target, sizeof target);
      if (length > 0 && inodes.contains(std::string(target, static_cast<size_t>(length)))) {
        found = process_text(entry->d_name);
        break;
      }
    }
    closedir(descriptors);
  }
  closedir(proc);
  return found;
}

Result<Listener> listen_on(const std::string& address) {
  if (address.starts_with("unix:")) return listen_unix(address);
  const size_t colon = address.rfind(':');
  int port = -1;
  sockaddr_storage name{};
  socklen_t size = 0;
  bool good = colon != std::string::npos;
  if (good) {
    const auto end = address.data() + address.size();
    const auto parsed = std::from_chars(address.data() + colon + 1, end, port);
    good = parsed.ec == std::errc() && parsed.ptr == end && port >= 0 && port <= 65535;
    std::string host = address.substr(0, colon);
    auto* v4 = reinterpret_cast<sockaddr_in*>(&name);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&name);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
      host = host.substr(1, host.size() - 2);
      good = good && inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1;
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(static_cast<uint16_t>(port));
      size = sizeof *v6;
    } else {
      good = good && inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1;
      v4->sin_family = AF_INET;
      v4->sin_port = htons(static_cast<uint16_t>(port));
      size = sizeof *v4;
    }
  }
  if (!good)
    return Error(PINTLE_BAD_REQUEST,
                 "the listen address \"" + address + "\" is not understood: use 127.0.0.1:6443, [::1]:6443 or unix:/path/to/socket");
  Listener out;
  out.fd = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (out.fd < 0) return failure(address, "open a socket for");
  const int on = 1;
  setsockopt(out.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (name.ss_family == AF_INET6) setsockopt(out.fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (bind(out.fd, reinterpret_cast<sockaddr*>(&name), size) != 0 || listen(out.fd, 4096) != 0) {
    const int why = errno;
    Error error = failure(address, "listen on");
    close(out.fd);
    if (why != EADDRINUSE) return error;
    const std::string who = who_listens(port);
    return Error(PINTLE_CONFLICT, "the address \"" + address + "\" is in use" +
                                      (who.empty() ? " by a process that this user cannot see" : " by " + who) + "; stop that, or take another one: --listen HOST:PORT");
  }
  getsockname(out.fd, reinterpret_cast<sockaddr*>(&name), &size);
  const uint16_t real = ntohs(name.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&name)->sin6_port
                                                         : reinterpret_cast<sockaddr_in*>(&name)->sin_port);
  out.address = address.substr(0, colon + 1) + std::to_string(real);
  return out;
}

}  // namespace pintle::kernel

#include "kernel/cli/http.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <strings.h>

namespace pintle::cli {
namespace {

constexpr size_t kMaxBody = size_t{256} << 20;

class SocketStream : public Stream {
 public:
  explicit SocketStream(int fd) : fd_(fd) {}
  SocketStream(const SocketStream&) = delete;
  SocketStream& operator=(const SocketStream&) = delete;
  ~SocketStream() override { close(fd_); }

  Result<void> write(const std::string& bytes) override {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = send(fd_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
      if (n <= 0) return failed();
      done += static_cast<size_t>(n);
    }
    return {};
  }
  Result<std::string> read() override {
    char buffer[16384];
    const ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
    if (n < 0) return failed();
    return std::string(buffer, static_cast<size_t>(n));
  }

 private:
  static Error failed() {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Error(PINTLE_TIMEOUT, "no answer in time");
    return Error(PINTLE_UNAVAILABLE, std::string("connection lost: ") + std::strerror(errno));
  }
  int fd_;
};

void limit_time(int fd, int timeout_ms) {
  const timeval t{timeout_ms / 1000, timeout_ms % 1000 * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

// The value of a header, "" when there is none.
std::string header(const std::string& head, const char* name) {
  const size_t length = std::strlen(name);
  for (size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at)) {
    at += 2;
    if (strncasecmp(head.c_str() + at, name, length) != 0 || head[at + length] != ':') continue;
    size_t from = at + length + 1;
    while (from < head.size() && head[from] == ' ') ++from;
    return head.substr(from, std::min(head.find("\r\n", from), head.size()) - from);
  }
  return "";
}

}  // namespace

Result<std::string> unchunk(std::string_view bytes) {
  std::string out;
  const Error damaged(PINTLE_INVALID, "the answer is damaged or cut off");
  for (;;) {
    const size_t line = bytes.find("\r\n");
    if (line == std::string_view::npos) return damaged;
    const std::string size_text(bytes.substr(0, line));
    char* end = nullptr;
    const unsigned long size = std::strtoul(size_text.c_str(), &end, 16);
    if (end == size_text.c_str()) return damaged;
    bytes.remove_prefix(line + 2);
    if (size == 0) return out;
    if (bytes.size() < 2 || size > bytes.size() - 2) return damaged;
    out.append(bytes.substr(0, size));
    bytes.remove_prefix(size + 2);
  }
}

Result<HttpReply> exchange(Stream& stream, const std::string& method, const std::string& path, const std::string& host, const std::string& body,
                           const std::string& content_type, const std::string& accept) {
  std::string request = method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: pintle\r\nAccept: " + accept + "\r\nConnection: close\r\n";
  if (!content_type.empty()) request += "Content-Type: " + content_type + "\r\n";
  if (!body.empty() || method != "GET") request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  request += "\r\n" + body;
  if (auto r = stream.write(request); !r) return r.error();

  std::string bytes;
  size_t head_end = std::string::npos;
  size_t wanted = std::string::npos;  // bytes in all, when the head tells
  bool chunked = false;
  for (;;) {
    if (head_end == std::string::npos && (head_end = bytes.find("\r\n\r\n")) != std::string::npos) {
      const std::string head = bytes.substr(0, head_end + 2);
      chunked = strcasecmp(header(head, "Transfer-Encoding").c_str(), "chunked") == 0;
      const std::string length = header(head, "Content-Length");
      if (!chunked && !length.empty()) wanted = head_end + 4 + std::strtoul(length.c_str(), nullptr, 10);
      if (bytes.compare(9, 3, "204") == 0) wanted = head_end + 4;
    }
    if (wanted != std::string::npos && bytes.size() >= wanted) break;
    if (chunked && bytes.size() >= 5 && bytes.compare(bytes.size() - 5, 5, "0\r\n\r\n") == 0) break;
    if (bytes.size() > kMaxBody) return Error(PINTLE_TOO_LARGE, "the answer is larger than 256 MiB");
    auto more = stream.read();
    if (!more) return more.error();
    if (more->empty()) break;
    bytes += *more;
  }
  if (head_end == std::string::npos || bytes.compare(0, 7, "HTTP/1.") != 0) return Error(PINTLE_UNAVAILABLE, "no HTTP answer");
  if (wanted != std::string::npos && bytes.size() < wanted) return Error(PINTLE_UNAVAILABLE, "the answer was cut off");
  HttpReply reply;
  reply.status = std::atoi(bytes.c_str() + 9);
  reply.body = bytes.substr(head_end + 4);
  if (chunked) {
    auto plain = unchunk(reply.body);
    if (!plain) return plain.error();
    reply.body = std::move(*plain);
  }
  return reply;
}

Result<std::unique_ptr<Stream>> connect_unix(const std::string& path, int timeout_ms) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error(PINTLE_INVALID, "the path " + path + " is too long for a socket");
  path.copy(address.sun_path, path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Error(PINTLE_INTERNAL, std::strerror(errno));
  limit_time(fd, timeout_ms);
  auto stream = std::make_unique<SocketStream>(fd);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const pintle_code code = errno == ENOENT ? PINTLE_NOT_FOUND : errno == EACCES ? PINTLE_FORBIDDEN : PINTLE_UNAVAILABLE;
    return Error(code, path + ": " + std::strerror(errno));
  }
  return std::unique_ptr<Stream>(std::move(stream));
}

Result<std::unique_ptr<Stream>> connect_tcp(const std::string& host, const std::string& port, int timeout_ms, int& fd) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int rc = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); rc != 0) return Error(PINTLE_UNAVAILABLE, host + ": " + gai_strerror(rc));
  std::string why = "no address";
  std::unique_ptr<SocketStream> stream;
  for (const addrinfo* a = found; a && !stream; a = a->ai_next) {
    fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    limit_time(fd, timeout_ms);
    auto candidate = std::make_unique<SocketStream>(fd);
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) stream = std::move(candidate);
    else why = std::strerror(errno);
  }
  freeaddrinfo(found);
  if (!stream) return Error(PINTLE_UNAVAILABLE, host + ":" + port + ": " + why);
  return std::unique_ptr<Stream>(std::move(stream));
}

Result<json::Value> Engine::call(const std::string& method, const std::string& path, int timeout_ms) const {
  auto stream = connect_unix(socket_, timeout_ms);
  if (!stream) return stream.error();
  auto reply = exchange(**stream, method, path, "docker");
  if (!reply) return Error(reply.error().code, "Docker engine: " + reply.error().text);
  json::Value body = json::parse_or_null(reply->body);
  if (reply->status / 100 == 2) return body;
  const std::string message(body["message"].as_string());
  return Error(reply->status == 404 ? PINTLE_NOT_FOUND : reply->status == 409 ? PINTLE_CONFLICT : PINTLE_INTERNAL,
               "Docker engine: " + (message.empty() ? "HTTP " + std::to_string(reply->status) : message));
}

std::string percent_encode(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if ((u >= '0' && u <= '9') || (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || u == '-' || u == '.' || u == '_' || u == '~') {
      out += c;
    } else {
      out += '%';
      out += kDigits[u >> 4];
      out += kDigits[u & 15];
    }
  }
  return out;
}

}  // namespace pintle::cli

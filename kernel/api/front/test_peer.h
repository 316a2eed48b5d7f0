// For tests of the front end and of streams: a raw blocking client, plain or TLS.
#pragma once
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kernel/api/front/http.h"
#include "kernel/run/thread_executor.h"

namespace pintle::kernel {

// Waits until `condition` holds, at most ten seconds.
inline bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
    poll(nullptr, 0, 1);
  }
  return true;
}

struct TlsClient {
  std::string ca, certificate, key;  // paths; "" = none
  int max_version = 0;
};

struct RawAnswer {
  int code = 0;
  std::map<std::string, std::string> headers;  // lower case
  std::string body;
  bool complete = false;
};

class RawClient {
 public:
  // "127.0.0.1:123" or "unix:/path"
  explicit RawClient(const std::string& address, const TlsClient* tls = nullptr, int receive_buffer = 0) {
    signal(SIGPIPE, SIG_IGN);
    if (address.starts_with("unix:")) {
      sockaddr_un name{};
      name.sun_family = AF_UNIX;
      address.substr(5).copy(name.sun_path, sizeof name.sun_path - 1);
      fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
    } else {
      const size_t colon = address.rfind(':');
      sockaddr_in name{};
      name.sin_family = AF_INET;
      name.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
      inet_pton(AF_INET, address.substr(0, colon).c_str(), &name.sin_addr);
      fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (receive_buffer) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
      connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
    }
    timeval patience{10, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (tls && connected_) connected_ = start_tls(*tls);
  }
  ~RawClient() { close_now(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  SSL* ssl() const { return ssl_; }
  void close_now() {
    if (ssl_) SSL_free(ssl_);
    if (context_) SSL_CTX_free(context_);
    ssl_ = nullptr;
    context_ = nullptr;
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ssl_ ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())) : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // False: end of the connection (or ten seconds without a byte).
  bool fill() {
    char piece[16384];
    const ssize_t n = ssl_ ? SSL_read(ssl_, piece, sizeof piece) : recv(fd_, piece, sizeof piece, 0);
    if (n <= 0) {
      ended_ = true;
      return false;
    }
    in_.append(piece, static_cast<size_t>(n));
    return true;
  }
  bool at_end() {
    while (in_.empty() && !ended_) fill();
    return in_.empty();
  }
  std::string take(size_t count) {
    while (in_.size() < count && fill()) {}
    std::string out = in_.substr(0, count);
    in_.erase(0, out.size());
    return out;
  }
  std::string take_line() {
    size_t end;
    while ((end = in_.find("\r\n")) == std::string::npos)
      if (!fill()) return {};
    std::string out = in_.substr(0, end);
    in_.erase(0, end + 2);
    return out;
  }
  RawAnswer answer_head() {
    RawAnswer out;
    const std::string line = take_line();
    if (line.size() < 12) return out;
    out.code = std::stoi(line.substr(9, 3));
    for (std::string field = take_line(); !field.empty(); field = take_line()) {
      const size_t colon = field.find(": ");
      std::string name = field.substr(0, colon);
      for (char& c : name) c = static_cast<char>(tolower(c));
      out.headers[name] = field.substr(colon + 2);
    }
    return out;
  }
  std::string take_chunk() {  // "" = the last one or a broken stream
    const std::string size = take_line();
    if (size.empty()) return {};
    const size_t count = std::stoul(size, nullptr, 16);
    std::string out = take(count);
    take_line();
    return out;
  }
  RawAnswer answer(bool head = false) {
    RawAnswer out = answer_head();
    if (out.code == 0 || head) return out;
    if (out.headers.contains("content-length")) {
      const size_t length = std::stoul(out.headers["content-length"]);
      out.body = take(length);
      out.complete = out.body.size() == length;
    } else if (out.headers["transfer-encoding"] == "chunked") {
      for (std::string chunk = take_chunk(); !chunk.empty(); chunk = take_chunk()) out.body += chunk;
      out.complete = !ended_;
    }
    return out;
  }
  RawAnswer get(const std::string& target, const std::string& extra = "") {
    send("GET " + target + " HTTP/1.1\r\nHost: x\r\n" + extra + "\r\n");
    return answer();
  }

 private:
  bool start_tls(const TlsClient& options) {
    context_ = SSL_CTX_new(TLS_client_method());
    if (!options.ca.empty()) {
      SSL_CTX_load_verify_locations(context_, options.ca.c_str(), nullptr);
      SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    }
    if (!options.certificate.empty()) {
      SSL_CTX_use_certificate_chain_file(context_, options.certificate.c_str());
      SSL_CTX_use_PrivateKey_file(context_, options.key.c_str(), SSL_FILETYPE_PEM);
    }
    if (options.max_version) SSL_CTX_set_max_proto_version(context_, options.max_version);
    static const unsigned char kProtocols[] = "\x02h2\x08http/1.1";
    SSL_CTX_set_alpn_protos(context_, kProtocols, sizeof kProtocols - 1);
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, fd_);
    return SSL_connect(ssl_) == 1;
  }
  int fd_ = -1;
  bool connected_ = false, ended_ = false;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  std::string in_;
};

}  // namespace pintle::kernel

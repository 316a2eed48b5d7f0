// What the benchmark programs share: a TLS connection, one HTTP/1.1 exchange on it, options, percentiles.
//
// Errors end the program: a benchmark that cannot run has no result.
// Threads: a Wire belongs to one thread at a time; a TlsContext to any.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pintle::bench {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

[[noreturn]] inline void die(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
  std::exit(1);
}

// `p` in 0..1; sorts its copy.
inline double percentile(std::vector<double> values, double p) {
  if (values.empty()) die("nothing was measured");
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(p * static_cast<double>(values.size())))];
}

// --name value; every option of a program has a default or is asked for with need().
class Options {
 public:
  Options(int argc, char** argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
      if (std::string_view(argv[i]).substr(0, 2) != "--") die(std::string("not an option: ") + argv[i]);
      values_[argv[i] + 2] = argv[i + 1];
    }
    if (argc % 2 == 0) die(std::string("no value for ") + argv[argc - 1]);
  }
  std::string get(const std::string& name, const std::string& otherwise = "") const {
    const auto at = values_.find(name);
    return at == values_.end() ? otherwise : at->second;
  }
  std::string need(const std::string& name) const {
    if (!values_.contains(name)) die("--" + name + " is needed");
    return values_.at(name);
  }
  size_t number(const std::string& name, size_t otherwise) const {
    const auto at = values_.find(name);
    return at == values_.end() ? otherwise : std::strtoull(at->second.c_str(), nullptr, 10);
  }

 private:
  std::map<std::string, std::string> values_;
};

// Of a client (shows its certificate when it has one; believes the server: what is measured is this machine's own) or a server.
class TlsContext {
 public:
  TlsContext(bool server, const std::string& certificate, const std::string& key, bool http2 = false)
      : context_(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method())) {
    if (!context_) die("no TLS");
    signal(SIGPIPE, SIG_IGN);  // a peer that is gone is an error of write()
    if (!certificate.empty() && (SSL_CTX_use_certificate_chain_file(context_, certificate.c_str()) != 1 ||
                                 SSL_CTX_use_PrivateKey_file(context_, key.c_str(), SSL_FILETYPE_PEM) != 1))
      die("cannot use the certificate " + certificate);
    static const unsigned char kH2[] = "\x02h2";
    if (http2) SSL_CTX_set_alpn_protos(context_, kH2, 3);
    SSL_CTX_set_mode(context_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  }
  ~TlsContext() { SSL_CTX_free(context_); }
  TlsContext(const TlsContext&) = delete;
  SSL_CTX* get() const { return context_; }

 private:
  SSL_CTX* const context_;
};

// A blocking TLS connection on IPv4.
class Wire {
 public:
  // "127.0.0.1:6443"
  Wire(const TlsContext& tls, const std::string& address) : Wire(tls, dial(address), false) {}
  Wire(const TlsContext& tls, int fd, bool server) : fd_(fd), ssl_(SSL_new(tls.get())) {
    const int one = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    SSL_set_fd(ssl_, fd_);
    if ((server ? SSL_accept(ssl_) : SSL_connect(ssl_)) != 1) die("the TLS handshake failed");
  }
  ~Wire() {
    if (ssl_) SSL_free(ssl_);
    if (fd_ >= 0) close(fd_);
  }
  Wire(Wire&& o) noexcept : fd_(std::exchange(o.fd_, -1)), ssl_(std::exchange(o.ssl_, nullptr)) {}
  Wire& operator=(Wire&&) = delete;

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const int n = SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
      if (n <= 0) die("the server closed the connection");
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  // Appends what is there, at least one byte.
  void read(std::string& to) {
    char buffer[65536];
    const int n = SSL_read(ssl_, buffer, sizeof buffer);
    if (n <= 0) die("the server closed the connection");
    to.append(buffer, static_cast<size_t>(n));
  }
  int fd() const { return fd_; }
  SSL* ssl() const { return ssl_; }

  // One request with an answer of known length; its body. Dies on a status that is not 2xx.
  std::string exchange(const std::string& method, const std::string& path, const std::string& body = "",
                       const std::string& type = "application/json") {
    write(request(method, path, body, type));
    std::string in;
    size_t head = std::string::npos;
    while ((head = in.find("\r\n\r\n")) == std::string::npos) read(in);
    const size_t all = head + 4 + length_of(in);
    while (in.size() < all) read(in);
    if (in.compare(9, 1, "2") != 0) die(method + " " + path + ": " + in.substr(0, 15) + " " + in.substr(head + 4));
    return in.substr(head + 4);
  }
  static std::string request(const std::string& method, const std::string& path, const std::string& body = "",
                             const std::string& type = "application/json") {
    std::string out = method + " " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n";
    if (!body.empty()) out += "Content-Type: " + type + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    return out + "\r\n" + body;
  }
  // The Content-Length of a header block that is complete; 0 when there is none.
  static size_t length_of(std::string_view answer) {
    const std::string_view head = answer.substr(0, answer.find("\r\n\r\n"));
    for (const char* name : {"\r\nContent-Length: ", "\r\ncontent-length: "})
      if (const size_t at = head.find(name); at != std::string_view::npos) return std::strtoull(head.data() + at + 18, nullptr, 10);
    return 0;
  }

 private:
  static int dial(const std::string& address) {
    const size_t colon = address.rfind(':');
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::strtoul(address.c_str() + colon + 1, nullptr, 10)));
    if (inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) != 1) die("not an address: " + address);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) die("cannot connect to " + address);
    return fd;
  }
  int fd_;
  SSL* ssl_;
};

}  // namespace pintle::bench

// A closed loop of HTTPS requests: each connection sends its next request when it has its answer.
//
//   http_load --address HOST:PORT --path PATH [--cert FILE --key FILE] [--connections N] [--requests N] [--idle N]
//             [--method POST --body TEXT]      in TEXT and PATH, %N% becomes the request's number
//
// --idle: keep that many connections open beside, each after one request. Prints one JSON line.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <memory>

#include "wire.h"

namespace pintle::bench {
namespace {

struct Connection {
  explicit Connection(Wire w) : wire(std::move(w)) {}
  Wire wire;
  std::string in;
  Clock::time_point sent;
};

std::string numbered(std::string text, size_t n) {
  const std::string number = std::to_string(n);
  for (size_t at = text.find("%N%"); at != std::string::npos; at = text.find("%N%", at + number.size())) text.replace(at, 3, number);
  return text;
}

class HttpLoad {
 public:
  explicit HttpLoad(const Options& o)
      : tls_(false, o.get("cert"), o.get("key")), address_(o.need("address")), method_(o.get("method", "GET")), path_(o.need("path")),
        body_(o.get("body")), wanted_(o.number("requests", 10000)), poll_(epoll_create1(EPOLL_CLOEXEC)) {
    for (size_t i = 0; i < o.number("idle", 0); ++i) {
      idle_.emplace_back(tls_, address_);
      idle_.back().exchange("GET", numbered(path_, i));
    }
    for (size_t i = 0; i < o.number("connections", 16); ++i) {
      connections_.push_back(std::make_unique<Connection>(Wire(tls_, address_)));
      Connection& c = *connections_.back();
      fcntl(c.wire.fd(), F_SETFL, fcntl(c.wire.fd(), F_GETFL) | O_NONBLOCK);
      epoll_event event{.events = EPOLLIN, .data = {.ptr = &c}};
      epoll_ctl(poll_, EPOLL_CTL_ADD, c.wire.fd(), &event);
    }
  }

  void run() {
    const auto start = Clock::now();
    for (auto& c : connections_) send(*c);
    while (micros_.size() < sent_) {
      epoll_event ready[64];
      const int n = epoll_wait(poll_, ready, 64, 10000);
      if (n <= 0) die("no answer for ten seconds");
      for (int i = 0; i < n; ++i) receive(*static_cast<Connection*>(ready[i].data.ptr));
    }
    const double seconds = seconds_since(start);
    std::printf("{\"requests\":%zu,\"seconds\":%.6f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n", micros_.size(), seconds, percentile(micros_, 0.5),
                percentile(micros_, 0.99));
  }

 private:
  void send(Connection& c) {
    if (sent_ >= wanted_) return;
    const size_t n = sent_++;
    c.in.clear();
    c.sent = Clock::now();
    c.wire.write(Wire::request(method_, numbered(path_, n), numbered(body_, n)));
  }
  void receive(Connection& c) {
    char buffer[65536];
    int n;
    while ((n = SSL_read(c.wire.ssl(), buffer, sizeof buffer)) > 0) c.in.append(buffer, static_cast<size_t>(n));
    if (SSL_get_error(c.wire.ssl(), n) != SSL_ERROR_WANT_READ) die("the server closed the connection");
    const size_t head = c.in.find("\r\n\r\n");
    if (head == std::string::npos || c.in.size() < head + 4 + Wire::length_of(c.in)) return;
    if (c.in.compare(9, 1, "2") != 0) die(c.in);
    micros_.push_back(seconds_since(c.sent) * 1e6);
    send(c);
  }

  const TlsContext tls_;
  const std::string address_, method_, path_, body_;
  const size_t wanted_;
  const int poll_;
  size_t sent_ = 0;
  std::vector<Wire> idle_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<double> micros_;
};

}  // namespace
}  // namespace pintle::bench

int main(int argc, char** argv) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const pintle::bench::Options options(argc, argv);
  pintle::bench::HttpLoad(options).run();
}

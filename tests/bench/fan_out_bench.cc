// One event to many watchers over TLS: the time until the last has it.
//
//   fan_out_bench --peer pintle|etcd|bare [--address HOST:PORT] --cert FILE --key FILE [--watchers 1000]
//
// pintle: watches of ConfigMaps, written by POST. etcd: gRPC watches of one key, each on its own connection, written by Put.
// bare: a process that does nothing but SSL_write() to each connection in turn (cert and key are then the server's).
// Says "ready"; then reads the number of events of a burst per line and answers with its milliseconds.
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <atomic>
#include <iostream>
#include <memory>
#include <thread>

#include "wire.h"

namespace pintle::bench {
namespace {

// An event carries this many of these bytes and is counted by them: no parser's cost in the client, whatever the protocol.
constexpr size_t kPayload = 900;
constexpr char kMark = '~';

class Peer {
 public:
  virtual ~Peer() = default;
  virtual Wire watcher() = 0;                // its watch is established
  virtual void burst(size_t events) = 0;     // returns when they are on their way
  virtual Wire* side() { return nullptr; }   // a connection whose answers are to be thrown away
};

class Pintle final : public Peer {
 public:
  Pintle(const TlsContext& tls, const std::string& address) : tls_(tls), address_(address) {
    for (int i = 0; i < 8; ++i) writers_.push_back(std::make_unique<Wire>(tls, address));
    const std::string list = writers_[0]->exchange("GET", kPath);
    const std::string key = "\"resourceVersion\":\"";
    const size_t at = list.find(key) + key.size();
    revision_ = list.substr(at, list.find('"', at) - at);
  }
  Wire watcher() override {
    Wire w(tls_, address_);
    w.write(Wire::request("GET", std::string(kPath) + "?watch=true&resourceVersion=" + revision_));
    std::string in;
    while (in.find("\r\n\r\n") == std::string::npos) w.read(in);
    return w;
  }
  void burst(size_t events) override {
    join();
    const size_t to = next_ + events;
    auto at = std::make_shared<std::atomic<size_t>>(std::exchange(next_, to));
    for (size_t i = 0; i < std::min(events, writers_.size()); ++i)
      threads_.emplace_back([this, at, to, i] {
        for (size_t n; (n = (*at)++) < to;)
          writers_[i]->exchange("POST", kPath, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"f" + std::to_string(getpid()) + "-" +
                                                   std::to_string(n) + "\"},\"data\":{\"d\":\"" + std::string(kPayload, kMark) + "\"}}");
      });
  }
  ~Pintle() override { join(); }

 private:
  void join() {
    for (auto& t : threads_) t.join();
    threads_.clear();
  }
  static constexpr const char* kPath = "/api/v1/namespaces/default/configmaps";
  const TlsContext& tls_;
  const std::string address_;
  std::string revision_;
  std::vector<std::unique_ptr<Wire>> writers_;
  std::vector<std::thread> threads_;
  size_t next_ = 0;
};

// Just enough HTTP/2 and gRPC: every header literal, windows so large that they need no updates.
class Etcd final : public Peer {
 public:
  Etcd(const TlsContext& tls, const std::string& address) : tls_(tls), address_(address), puts_(open()) {}
  Wire watcher() override {
    Wire w = open();
    w.write(call(1, "/etcdserverpb.Watch/Watch", field(1, field(1, kKey)), false));
    // The first DATA frame says that the watch is created.
    std::string in;
    for (;;) {
      while (in.size() < 9 || in.size() < 9 + length(in)) w.read(in);
      const char type = in[3];
      in.erase(0, 9 + length(in));
      if (type == 0) return w;
    }
  }
  void burst(size_t events) override {
    std::string out;
    for (size_t i = 0; i < events; ++i, stream_ += 2)
      out += call(stream_, "/etcdserverpb.KV/Put", field(1, kKey) + field(2, std::string(kPayload, kMark)), true);
    puts_.write(out);
  }
  Wire* side() override { return &puts_; }

 private:
  static constexpr const char* kKey = "bench";
  static std::string big(size_t n, int bytes) {
    std::string out;
    for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(n >> (8 * i));
    return out;
  }
  static size_t length(const std::string& frame) {
    const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(frame[i])); };
    return byte(0) << 16 | byte(1) << 8 | byte(2);
  }
  static std::string frame(char type, char flags, uint32_t stream, const std::string& payload) {
    return big(payload.size(), 3) + type + flags + big(stream, 4) + payload;
  }
  static std::string field(int number, const std::string& bytes) {  // protobuf, length-delimited
    std::string out(1, static_cast<char>(number << 3 | 2));
    size_t n = bytes.size();
    for (; n > 127; n >>= 7) out += static_cast<char>(n | 128);
    return out + static_cast<char>(n) + bytes;
  }
  static std::string call(uint32_t stream, const std::string& path, const std::string& message, bool last) {
    std::string block;
    const std::pair<std::string, std::string> headers[] = {{":method", "POST"}, {":scheme", "https"}, {":path", path}, {":authority", "127.0.0.1"},
                                                           {"content-type", "application/grpc"}, {"te", "trailers"}};
    for (const auto& [name, value] : headers)
      block += std::string(1, '\0') + static_cast<char>(name.size()) + name + static_cast<char>(value.size()) + value;
    return frame(1, 4, stream, block) + frame(0, last ? 1 : 0, stream, std::string(1, '\0') + big(message.size(), 4) + message);
  }
  Wire open() {
    Wire w(tls_, address_);
    w.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, big(4, 2) + big(0x7fffffff, 4)) + frame(4, 1, 0, "") +
            frame(8, 0, 0, big(0x7fff0000 - 65535, 4)));
    return w;
  }
  const TlsContext& tls_;
  const std::string address_;
  Wire puts_;
  uint32_t stream_ = 1;
};

class Bare final : public Peer {
 public:
  Bare(const TlsContext& client, const std::string& cert, const std::string& key, size_t watchers) : tls_(client) {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof here;
    int order[2];
    if (bind(listener, reinterpret_cast<sockaddr*>(&here), size) != 0 || listen(listener, 1024) != 0 || pipe(order) != 0) die("cannot listen");
    getsockname(listener, reinterpret_cast<sockaddr*>(&here), &size);
    address_ = "127.0.0.1:" + std::to_string(ntohs(here.sin_port));
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(order[1]);
      serve(listener, order[0], cert, key, watchers);
    }
    close(listener);
    close(order[0]);
    order_ = order[1];
  }
  Wire watcher() override { return Wire(tls_, address_); }
  void burst(size_t events) override {
    if (write(order_, &events, sizeof events) != sizeof events) die("the send loop is gone");
  }

 private:
  [[noreturn]] static void serve(int listener, int order, const std::string& cert, const std::string& key, size_t watchers) {
    const TlsContext tls(true, cert, key);
    std::vector<Wire> wires;
    for (size_t i = 0; i < watchers; ++i) wires.emplace_back(tls, accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), true);
    const std::string event = "{\"type\":\"ADDED\",\"object\":{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"data\":\"" + std::string(kPayload, kMark) + "\"}}\n";
    for (size_t events; read(order, &events, sizeof events) == sizeof events;)
      for (size_t e = 0; e < events; ++e)
        for (Wire& w : wires) w.write(event);
    _exit(0);
  }
  const TlsContext& tls_;
  std::string address_;
  int order_ = -1;
};

// Returns the milliseconds until every watcher has all events.
double measure(Peer& peer, int poll, std::vector<size_t>& marks, std::vector<Wire>& watchers, size_t events) {
  std::fill(marks.begin(), marks.end(), 0);
  size_t left = watchers.size();
  const size_t wanted = events * kPayload;
  const auto start = Clock::now();
  peer.burst(events);
  char buffer[65536];
  while (left > 0) {
    epoll_event ready[256];
    const int n = epoll_wait(poll, ready, 256, 20000);
    if (n <= 0) die(std::to_string(left) + " watchers have not had everything after twenty seconds");
    for (int i = 0; i < n; ++i) {
      const size_t w = ready[i].data.u64;
      SSL* ssl = w == watchers.size() ? peer.side()->ssl() : watchers[w].ssl();
      int got;
      while ((got = SSL_read(ssl, buffer, sizeof buffer)) > 0) {
        if (w == watchers.size()) continue;
        const size_t before = marks[w];
        marks[w] += static_cast<size_t>(std::count(buffer, buffer + got, kMark));
        if (before < wanted && marks[w] >= wanted) --left;
      }
      if (SSL_get_error(ssl, got) != SSL_ERROR_WANT_READ) die("a watch ended");
    }
  }
  return seconds_since(start) * 1e3;
}

void run(const Options& o) {
  const std::string name = o.need("peer");
  const size_t count = o.number("watchers", 1000);
  const TlsContext tls(false, name == "bare" ? "" : o.need("cert"), name == "bare" ? "" : o.need("key"), name == "etcd");
  std::unique_ptr<Peer> peer;
  if (name == "pintle") peer = std::make_unique<Pintle>(tls, o.need("address"));
  else if (name == "etcd") peer = std::make_unique<Etcd>(tls, o.need("address"));
  else if (name == "bare") peer = std::make_unique<Bare>(tls, o.need("cert"), o.need("key"), count);
  else die("--peer " + name + "?");
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Wire> watchers;
  watchers.reserve(count);
  const auto add = [&](const Wire& wire, size_t id) {
    fcntl(wire.fd(), F_SETFL, fcntl(wire.fd(), F_GETFL) | O_NONBLOCK);
    epoll_event event{.events = EPOLLIN, .data = {.u64 = id}};
    epoll_ctl(poll, EPOLL_CTL_ADD, wire.fd(), &event);
  };
  for (size_t i = 0; i < count; ++i) {
    watchers.push_back(peer->watcher());
    add(watchers.back(), i);
  }
  if (peer->side()) add(*peer->side(), count);
  std::vector<size_t> marks(count);
  std::cout << "ready" << std::endl;
  for (size_t events; std::cin >> events;) std::cout << measure(*peer, poll, marks, watchers, events) << std::endl;
}

}  // namespace
}  // namespace pintle::bench

int main(int argc, char** argv) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const pintle::bench::Options options(argc, argv);
  pintle::bench::run(options);
}

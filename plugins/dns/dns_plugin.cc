// The plugin `dns`: answers for the cluster's names from Services and EndpointSlices, forwards all others, and publishes itself as the
// Service kube-dns in kube-system.
//
// All state belongs to one strand; sockets are read without blocking. Who may ask: private, link-local and loopback addresses and this node itself, so
// that a node on a public network is no open resolver and tells nobody outside what runs in the cluster.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include "message.h"
#include "pintle/sdk.h"
#include "zone.h"
#include "pintle/timestamp.h"

namespace pintle::dns {
namespace {

using json::Value;

constexpr char kSlices[] = "endpointslices.discovery.k8s.io";
constexpr size_t kMaxForwards = 4096, kMaxConnections = 256;

bool private_address(uint32_t a) {
  return (a >> 24) == 127 || (a >> 24) == 10 || (a >> 20) == 0xAC1 || (a >> 16) == 0xC0A8 || (a >> 16) == 0xA9FE || (a >> 22) == (0x64400000u >> 22);
}

class Dns final : public Plugin {
 public:
  Dns(Host h, const Value& config)
      : Plugin(h),
        zone_(std::string(config["clusterDomain"].as_string("cluster.local"))),
        cluster_ip_(config["clusterIP"].as_string("10.96.0.10")),
        address_(config["address"].as_string()),
        node_(config["nodeName"].as_string()),
        port_(static_cast<uint16_t>(config["port"].as_int(10053))),
        strand_(h) {
    for (const Value& u : config["upstream"].items()) upstream_.emplace_back(u.as_string());
    if (node_.empty()) {
      char name[256] = {};
      gethostname(name, sizeof name - 1);
      node_ = name;
    }
    if (upstream_.empty()) upstream_ = system_servers();
    if (address_.empty()) address_ = own_address();
  }

  static Result<void> validate(const Value& config) {
    in_addr a{};
    for (const char* field : {"clusterIP", "address"}) {
      const std::string text(config[field].as_string());
      if (!text.empty() && inet_pton(AF_INET, text.c_str(), &a) != 1) return Error(PINTLE_INVALID, std::string(field) + " \"" + text + "\" is not an IPv4 address");
    }
    for (const Value& u : config["upstream"].items())
      if (inet_pton(AF_INET, std::string(u.as_string()).c_str(), &a) != 1)
        return Error(PINTLE_INVALID, "upstream \"" + std::string(u.as_string()) + "\" is not an IPv4 address");
    return {};
  }

  void start() override {
    strand_.post([this] {
      watch("services", services_, &Zone::set_service, &Zone::keep_services);
      watch(kSlices, slices_, &Zone::set_slice, &Zone::keep_slices);
    });
  }

  void activate(std::string_view, uint64_t) override {
    // Binding fails here and not later, so that an address in use is the plugin's error.
    auto udp = host.listen("udp:" + address_ + ":" + std::to_string(port_));
    if (!udp) throw Error(PINTLE_UNAVAILABLE, "cannot listen at " + address_ + ":" + std::to_string(port_) + " (udp): " + udp.error().text + "; set the plugin's `port`");
    if (port_ == 0) {
      sockaddr_in self{};
      socklen_t len = sizeof self;
      getsockname(*udp, reinterpret_cast<sockaddr*>(&self), &len);
      port_ = ntohs(self.sin_port);
    }
    auto tcp = host.listen("tcp:" + address_ + ":" + std::to_string(port_));
    if (!tcp) {
      close(*udp);
      throw Error(PINTLE_UNAVAILABLE, "cannot listen at " + address_ + ":" + std::to_string(port_) + " (tcp): " + tcp.error().text + "; set the plugin's `port`");
    }
    strand_.post([this, udp = *udp, tcp = *tcp] {
      udp_.fd = udp;
      udp_.watch = host.watch_fd(udp, strand_.wrap([this](uint32_t) { on_udp(); }));
      udp_.watch.arm(PINTLE_READABLE);
      tcp_.fd = tcp;
      tcp_.watch = host.watch_fd(tcp, strand_.wrap([this](uint32_t) { on_accept(); }));
      tcp_.watch.arm(PINTLE_READABLE);
      publish();
    });
  }

  void stop() override {
    strand_.close();
    services_ = {};
    slices_ = {};
    publish_again_.reset();
    for (auto& [id, f] : forwards_) f->close();
    forwards_.clear();
    connections_.clear();
    udp_.close();
    tcp_.close();
  }

 private:
  struct Socket {
    int fd = -1;
    FdWatch watch;
    void close() {
      watch.reset();
      if (fd >= 0) ::close(fd);
      fd = -1;
    }
    ~Socket() { close(); }
  };
  struct Source {
    Watch watch;
    Timer again;
    bool synced = false, was_synced = false;
    std::set<std::string> listed;  // until it is synced
  };
  // Where an answer goes.
  struct Client {
    sockaddr_in from{};
    uint64_t connection = 0;  // 0 = UDP
    size_t max_size = 0;      // 0 = no limit
  };
  struct Forward : Socket {
    std::string query;        // the client's own
    std::string sent;         // what upstream gets
    Client client;
    Answer prefix;            // a CNAME of ours that this continues
    size_t server = 0;
    Timer timer;
    bool tcp = false;
    std::string in;           // TCP: bytes so far
  };
  struct Connection : Socket {
    std::string in, out;
    sockaddr_in from{};
    Timer idle;
  };

  static std::vector<std::string> system_servers() {
    std::vector<std::string> out;
    std::ifstream f("/etc/resolv.conf");
    std::string line;
    in_addr a{};
    while (std::getline(f, line)) {
      std::istringstream words(line);
      std::string key, value;
      if (words >> key >> value && key == "nameserver" && inet_pton(AF_INET, value.c_str(), &a) == 1) out.push_back(value);
    }
    return out;
  }

  // The address that the default route uses (a connected UDP socket sends nothing); else the first one that is not loopback.
  std::string own_address() const {
    char text[INET_ADDRSTRLEN] = "127.0.0.1";
    if (auto fd = host.connect("udp:198.51.100.1:53")) {
      sockaddr_in self{};
      socklen_t len = sizeof self;
      const bool ok = getsockname(*fd, reinterpret_cast<sockaddr*>(&self), &len) == 0 && self.sin_addr.s_addr != 0;
      close(*fd);
      if (ok) return inet_ntop(AF_INET, &self.sin_addr, text, sizeof text);
    }
    ifaddrs* list = nullptr;
    if (getifaddrs(&list) == 0) {
      for (const ifaddrs* i = list; i; i = i->ifa_next)
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !(i->ifa_flags & IFF_LOOPBACK)) {
          inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr, text, sizeof text);
          break;
        }
      freeifaddrs(list);
    }
    return text;
  }

  void watch(const char* kind, Source& source, void (Zone::*set)(const std::string&, const Value&), void (Zone::*keep)(const std::set<std::string>&)) {
    source.synced = false;
    source.listed.clear();
    const auto again = [this, kind, &source, set, keep] {
      source.again = host.after(kSecond, strand_.wrap([this, kind, &source, set, keep] { watch(kind, source, set, keep); }));
    };
    auto w = host.watch({.kind = kind}, strand_.wrap([this, &source, set, keep, again](Event e) {
      switch (e.type) {
        case PINTLE_EVENT_ADDED:
        case PINTLE_EVENT_MODIFIED: {
          const Value v = e.object.json();
          const std::string key = key_of(v);
          if (!source.synced) source.listed.insert(key);
          (zone_.*set)(key, v);
          break;
        }
        case PINTLE_EVENT_DELETED: (zone_.*set)(key_of(e.object.json()), {}); break;
        case PINTLE_EVENT_SYNCED:
          source.synced = source.was_synced = true;
          (zone_.*keep)(source.listed);
          source.listed.clear();
          break;
        case PINTLE_EVENT_CLOSED: again(); break;
      }
    }));
    if (w) source.watch = std::move(*w);
    else again();
  }
  static std::string key_of(const Value& v) {
    return std::string(v.at("metadata.namespace").as_string()) + "/" + std::string(v.at("metadata.name").as_string());
  }

  // ---- the Service kube-dns ------------------------------------------------------------------------------------------

  void publish() {
    const auto port = [](const char* name, const char* protocol, int number, int target) {
      return Value::object({{"name", name}, {"protocol", protocol}, {"port", number}, {"targetPort", target}});
    };
    std::vector<Op> ops;
    if (!host.get_object("services", "kube-system", "kube-dns").ok())
      ops.push_back(Op::create("services", "kube-system",
                               Value::object({{"apiVersion", "v1"},
                                              {"kind", "Service"},
                                              {"metadata", Value::object({{"name", "kube-dns"}, {"namespace", "kube-system"}, {"labels", Value::object({{"k8s-app", "kube-dns"}})}})},
                                              {"spec", Value::object({{"clusterIP", cluster_ip_},
                                                                      {"ports", Value::array({port("dns", "UDP", 53, port_), port("dns-tcp", "TCP", 53, port_)})}})}})));
    const std::string name = "kube-dns-" + node_;
    Value slice = Value::object(
        {{"apiVersion", "discovery.k8s.io/v1"},
         {"kind", "EndpointSlice"},
         {"metadata", Value::object({{"name", name},
                                     {"namespace", "kube-system"},
                                     {"labels", Value::object({{"kubernetes.io/service-name", "kube-dns"}, {"endpointslice.kubernetes.io/managed-by", "dns.pintle.dev"}})}})},
         {"addressType", "IPv4"},
         {"endpoints", Value::array({Value::object({{"addresses", Value::array({address_})}, {"conditions", Value::object({{"ready", true}, {"serving", true}, {"terminating", false}})},
                                                    {"nodeName", node_}})})},
         {"ports", Value::array({Value::object({{"name", "dns"}, {"protocol", "UDP"}, {"port", port_}}), Value::object({{"name", "dns-tcp"}, {"protocol", "TCP"}, {"port", port_}})})}});
    auto now = host.get_object(kSlices, "kube-system", name);
    if (!now) {
      ops.push_back(Op::create(kSlices, "kube-system", slice));
    } else if (now->json()["endpoints"] != slice["endpoints"] || now->json()["ports"] != slice["ports"]) {
      slice.make("metadata.resourceVersion") = now->json().at("metadata.resourceVersion");
      ops.push_back(Op::update(kSlices, "kube-system", name, slice));
    }
    if (ops.empty()) return;
    host.commit(ops, strand_.wrap([this](CommitResult r) {
      const OpResult* failed = r.failed();
      if (!failed && r.code == PINTLE_OK) return;
      // kube-system may not be there yet, or the address is taken: both need another try, the latter a word.
      if (failed && failed->code == PINTLE_INVALID) host.warn("the Service kube-dns cannot be made", Value::object({{"error", failed->text}}));
      publish_again_ = host.after(kSecond, strand_.wrap([this] { publish(); }));
    }), PINTLE_COMMIT_INDEPENDENT);
  }

  // ---- questions -----------------------------------------------------------------------------------------------------

  void on_udp() {
    char buffer[4096];
    for (int i = 0; i < 256; ++i) {
      Client client;
      socklen_t len = sizeof client.from;
      const ssize_t n = recvfrom(udp_.fd, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&client.from), &len);
      if (n < 0) break;
      ask(std::string(buffer, static_cast<size_t>(n)), client);
    }
    udp_.watch.arm(PINTLE_READABLE);
  }

  void ask(std::string query, Client client) {
    std::string refusal;
    const auto q = parse_query(query, &refusal);
    if (!q) {
      if (!refusal.empty()) answer(client, refusal);
      return;
    }
    if (client.connection == 0) client.max_size = q->max_size;
    if (!private_address(ntohl(client.from.sin_addr.s_addr)) && client.from.sin_addr.s_addr != inet_addr(address_.c_str())) return answer(client, write_failure(query, 5));
    Answer a = zone_.look_up(q->name, q->type);
    // Before everything is known, "no such name" would be a lie that resolvers keep.
    if (a.ours && !(services_.was_synced && slices_.was_synced)) return answer(client, write_failure(query, 2));
    if (a.ours && a.continue_at.empty()) return answer(client, write_answer(query, a, zone_.domain(), client.max_size));
    if (a.ours) {
      const Answer next = zone_.look_up(a.continue_at, q->type);  // a name of ours under another one
      if (next.ours) {
        a.records.insert(a.records.end(), next.records.begin(), next.records.end());
        return answer(client, write_answer(query, a, zone_.domain(), client.max_size));
      }
    }
    if (upstream_.empty() || forwards_.size() >= kMaxForwards) return answer(client, write_failure(query, 2));
    auto f = std::make_shared<Forward>();
    f->client = client;
    f->tcp = client.connection != 0;
    const auto id = static_cast<uint16_t>(host.random());
    f->sent = a.ours ? write_query(id, a.continue_at, q->type) : query;
    f->sent[0] = static_cast<char>(id >> 8);
    f->sent[1] = static_cast<char>(id & 255);
    f->prefix = std::move(a);
    f->query = std::move(query);
    const uint64_t key = ++last_forward_;
    forwards_[key] = f;
    send_upstream(key);
  }

  void send_upstream(uint64_t key) {
    auto f = forwards_[key];
    f->close();
    if (f->server >= upstream_.size() * 2) {  // each server twice
      answer(f->client, write_failure(f->query, 2));
      forwards_.erase(key);
      return;
    }
    const std::string server = upstream_[f->server++ % upstream_.size()];
    // A socket, and so a source port, of its own for every question: hard to guess.
    auto fd = host.connect((f->tcp ? "tcp:" : "udp:") + server + ":53");
    f->timer = host.after(2 * kSecond, strand_.wrap([this, key] {
      if (forwards_.count(key)) send_upstream(key);
    }));
    if (!fd) return;  // the timer brings the next one
    f->fd = *fd;
    f->in.clear();
    f->watch = host.watch_fd(*fd, strand_.wrap([this, key](uint32_t events) { on_upstream(key, events); }));
    if (!f->tcp) (void)send(f->fd, f->sent.data(), f->sent.size(), MSG_NOSIGNAL);
    f->watch.arm(f->tcp ? PINTLE_WRITABLE : PINTLE_READABLE);
  }

  void on_upstream(uint64_t key, uint32_t events) {
    const auto it = forwards_.find(key);
    if (it == forwards_.end()) return;
    auto f = it->second;
    if (f->fd < 0) return;
    if (f->tcp && f->in.empty() && (events & PINTLE_WRITABLE)) {
      std::string framed{static_cast<char>(f->sent.size() >> 8), static_cast<char>(f->sent.size() & 255)};
      framed += f->sent;
      if (send(f->fd, framed.data(), framed.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(framed.size())) return send_upstream(key);
      f->watch.arm(PINTLE_READABLE);
      return;
    }
    char buffer[65536];
    const ssize_t n = recv(f->fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return f->watch.arm(PINTLE_READABLE);
    if (n <= 0) return send_upstream(key);
    std::string reply(buffer, static_cast<size_t>(n));
    if (f->tcp) {
      f->in += reply;
      const size_t want = f->in.size() >= 2 ? (static_cast<size_t>(static_cast<unsigned char>(f->in[0])) << 8 | static_cast<unsigned char>(f->in[1])) : SIZE_MAX;
      if (want == SIZE_MAX || f->in.size() < want + 2) return f->watch.arm(PINTLE_READABLE);
      reply = f->in.substr(2, want);
    }
    if (reply.size() < 12 || reply[0] != f->sent[0] || reply[1] != f->sent[1] || !(reply[2] & 0x80)) return f->watch.arm(PINTLE_READABLE);
    if (f->prefix.ours) {
      reply = write_answer(f->query, f->prefix, zone_.domain(), f->client.max_size, reply);
    } else {
      reply[0] = f->query[0];
      reply[1] = f->query[1];
      if (f->client.max_size && reply.size() > f->client.max_size) {
        reply.resize(12);
        reply[2] = static_cast<char>(reply[2] | 2);  // truncated: ask again by TCP
        for (int i = 4; i < 12; ++i) reply[static_cast<size_t>(i)] = 0;
      }
    }
    answer(f->client, reply);
    f->close();
    forwards_.erase(key);
  }

  void answer(const Client& client, const std::string& bytes) {
    if (bytes.empty()) return;
    if (client.connection == 0) {
      (void)sendto(udp_.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&client.from), sizeof client.from);
      return;
    }
    const auto it = connections_.find(client.connection);
    if (it == connections_.end() || bytes.size() > 65535) return;
    it->second->out += static_cast<char>(bytes.size() >> 8);
    it->second->out += static_cast<char>(bytes.size() & 255);
    it->second->out += bytes;
    flush(client.connection);
  }

  // ---- TCP -----------------------------------------------------------------------------------------------------------

  void on_accept() {
    for (;;) {
      sockaddr_in from{};
      socklen_t len = sizeof from;
      const int fd = accept4(tcp_.fd, reinterpret_cast<sockaddr*>(&from), &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) break;
      if (connections_.size() >= kMaxConnections) connections_.erase(connections_.begin());  // the oldest
      const uint64_t id = ++last_connection_;
      auto c = std::make_unique<Connection>();
      c->fd = fd;
      c->from = from;
      c->watch = host.watch_fd(fd, strand_.wrap([this, id](uint32_t) { on_connection(id); }));
      c->idle = host.after(10 * kSecond, strand_.wrap([this, id] { connections_.erase(id); }));
      c->watch.arm(PINTLE_READABLE);
      connections_[id] = std::move(c);
    }
    tcp_.watch.arm(PINTLE_READABLE);
  }

  void on_connection(uint64_t id) {
    const auto it = connections_.find(id);
    if (it == connections_.end()) return;
    Connection& c = *it->second;
    if (c.out.size() >= 65536) return flush(id);
    char buffer[8192];
    const ssize_t n = recv(c.fd, buffer, sizeof buffer, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
      connections_.erase(it);
      return;
    }
    if (n > 0) c.in.append(buffer, static_cast<size_t>(n));
    while (c.in.size() >= 2) {
      const size_t want = static_cast<size_t>(static_cast<unsigned char>(c.in[0])) << 8 | static_cast<unsigned char>(c.in[1]);
      if (c.in.size() < want + 2) break;
      std::string query = c.in.substr(2, want);
      c.in.erase(0, want + 2);
      ask(std::move(query), Client{c.from, id, 0});
      if (!connections_.count(id)) return;
    }
    flush(id);
  }

  void flush(uint64_t id) {
    Connection& c = *connections_[id];
    while (!c.out.empty()) {
      const ssize_t n = send(c.fd, c.out.data(), c.out.size(), MSG_NOSIGNAL);
      if (n <= 0) break;
      c.out.erase(0, static_cast<size_t>(n));
    }
    // Who does not read its answers may not ask on.
    const uint32_t read = c.out.size() < 65536 ? uint32_t{PINTLE_READABLE} : 0u;
    c.watch.arm(c.out.empty() ? read : read | PINTLE_WRITABLE);
  }

  Zone zone_;
  const std::string cluster_ip_;
  std::string address_, node_;
  uint16_t port_;
  std::vector<std::string> upstream_;
  // Everything below belongs to the strand (and to stop(), after it is closed).
  Source services_, slices_;
  Socket udp_, tcp_;
  Timer publish_again_;
  std::map<uint64_t, std::shared_ptr<Forward>> forwards_;
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
  uint64_t last_forward_ = 0, last_connection_ = 0;
  Strand strand_;
};

}  // namespace
}  // namespace pintle::dns

PINTLE_PLUGIN(pintle::dns::Dns)

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "kernel/api/front/answer.h"
#include "kernel/api/front/connection.h"
#include "kernel/api/front/inflate.h"
#include "kernel/api/front/listen.h"
#include "kernel/api/front/target.h"

namespace pintle::kernel {

void FrontCore::run_handler(HttpRequest& request, const std::shared_ptr<Responder>& answer) {
  const std::string coding(request.header("content-encoding"));
  if (coding == "gzip") {
    if (Refusal refusal = gunzip(request.body, options.max_body_bytes)) return send_refusal(answer, refusal);
  } else if (!coding.empty() && coding != "identity") {
    return send_refusal(answer, {415, "unsupported Content-Encoding \"" + coding + "\": only gzip is understood"});
  }
  if (Refusal refusal = decode_target(request)) return send_refusal(answer, refusal);
  try {
    handler(std::move(request), answer);
  } catch (const std::exception& e) {
    warn(std::string("a request failed inside the API: ") + e.what());
    send_refusal(answer, {500, "an error on the server has prevented the request from succeeding"});
  }
}

void FrontCore::dispatch(std::shared_ptr<HttpRequest> request, std::shared_ptr<Responder> answer) {
  executor.post([core = shared_from_this(), request = std::move(request), answer = std::move(answer)]() mutable {
    {
      std::lock_guard lock(core->mutex);
      if (core->stopped) return;
      ++core->handlers_running;
    }
    core->run_handler(*request, answer);
    answer.reset();
    request.reset();
    std::lock_guard lock(core->mutex);
    --core->handlers_running;
    core->quiet.notify_all();
  });
}

namespace {

constexpr int kAcceptBurst = 64;

std::string peer_text(const sockaddr_storage& peer) {
  char host[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(peer);
    inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    return std::string(host) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  if (peer.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(peer);
    inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
    return "[" + std::string(host) + "]:" + std::to_string(ntohs(v6.sin6_port));
  }
  return "unix";
}

class EpollFront final : public Front {
 public:
  EpollFront(Executor& executor, FrontOptions options, HttpHandler handler)
      : core_(std::make_shared<FrontCore>(executor, std::move(options), std::move(handler))) {}
  ~EpollFront() override { stop(0); }

  Result<void> start() override;
  std::vector<std::string> addresses() const override;
  void stop(uint64_t grace_ns) override;
  json::Value metrics() const override;

 private:
  // One listening socket on the first loop.
  class Door final : public Loop::Source {
   public:
    Door(EpollFront* front, int fd) : front_(front), fd_(fd) {}
    void on_ready(uint32_t) override { front_->accept_some(fd_); }

   private:
    EpollFront* const front_;
    const int fd_;
  };

  void accept_some(int listener);
  void accept_without_descriptors(int listener);
  void adopt(Shard& shard, int fd, std::string remote);
  void sweep(Shard& shard, uint64_t interval);
  void look_at_certificates();

  const std::shared_ptr<FrontCore> core_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<Listener> listeners_;
  int spare_ = -1;  // a descriptor to give up when there are none left
  bool running_ = false;
};

Result<void> EpollFront::start() {
  const FrontOptions& options = core_->options;
  if (!options.tls.certificate.empty()) {
    auto tls = TlsContext::load(options.tls);
    if (!tls) return tls.error();
    core_->tls = std::move(*tls);
  }
  const auto close_all = [this] {
    for (const Listener& listener : listeners_) close(listener.fd);
    listeners_.clear();
  };
  for (const std::string& address : options.listen) {
    auto listener = listen_on(address);
    if (!listener) {
      close_all();
      return listener.error();
    }
    listeners_.push_back(std::move(*listener));
  }
  Executor& executor = core_->executor;
  for (int i = 0; i < std::max(1, options.io_threads); ++i) {
    auto& shard = shards_.emplace_back(std::make_unique<Shard>());
    shard->loop = std::make_shared<Loop>([&executor] { return executor.now(); });
    if (!shard->loop->start("front-" + std::to_string(i))) {
      shards_.clear();
      close_all();
      return Error(PINTLE_INTERNAL, "cannot start an I/O thread of the API front end");
    }
  }
  spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  running_ = true;
  // Deadlines are looked at a few times within the shortest of them.
  const uint64_t interval = std::clamp<uint64_t>(std::min(options.header_timeout_ns, options.idle_timeout_ns) / 8, 10000000, 500000000);
  for (auto& shard : shards_) shard->loop->post([this, s = shard.get(), interval] { sweep(*s, interval); });
  Loop& first = *shards_[0]->loop;
  for (const Listener& listener : listeners_)
    first.post([this, &first, fd = listener.fd] { first.watch(fd, EPOLLIN, std::make_shared<Door>(this, fd)); });
  if (core_->tls) first.after(1000000000, [this] { look_at_certificates(); });
  return {};
}

void EpollFront::look_at_certificates() {
  std::string problem;
  switch (core_->tls->reload_if_changed(&problem)) {
    case TlsContext::Reload::kUnchanged: break;
    case TlsContext::Reload::kDone: core_->counters.reloads.fetch_add(1); break;
    case TlsContext::Reload::kFailed:
      core_->counters.reload_failures.fetch_add(1);
      core_->warn("the changed TLS files are not used, the former certificate stays: " + problem);
      break;
  }
  shards_[0]->loop->after(1000000000, [this] { look_at_certificates(); });
}

void EpollFront::sweep(Shard& shard, uint64_t interval) {
  const uint64_t now = shard.loop->now();
  std::vector<std::shared_ptr<Connection>> all;  // a deadline may remove a connection from the table
  all.reserve(shard.connections.size());
  for (const auto& [fd, connection] : shard.connections) all.push_back(connection);
  for (const auto& connection : all) connection->check_deadline(now);
  shard.loop->after(interval, [this, &shard, interval] { sweep(shard, interval); });
}

void EpollFront::accept_some(int listener) {
  for (int i = 0; i < kAcceptBurst; ++i) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    const int fd = accept4(listener, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EMFILE || errno == ENFILE) accept_without_descriptors(listener);
      return;
    }
    core_->counters.accepted.fetch_add(1);
    if (peer.ss_family != AF_UNIX) {
      const int on = 1, idle = 30, interval = 10, probes = 3;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
      setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
      setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    }
    Shard* least = shards_[0].get();
    for (const auto& shard : shards_)
      if (shard->count.load() < least->count.load()) least = shard.get();
    least->count.fetch_add(1);
    core_->connections.fetch_add(1);
    std::string remote = peer_text(peer);
    if (least == shards_[0].get()) {
      adopt(*least, fd, std::move(remote));
    } else {
      // Lost when the loop ends first: the descriptor then is closed by the connection object.
      auto connection = std::make_shared<Connection>(core_, least, fd, std::move(remote));
      least->loop->post([this, least, connection, fd] {
        if (core_->connections.load() > core_->options.max_connections && !least->idle.empty()) {
          core_->counters.shed.fetch_add(1);
          least->idle.front()->close_now();
        }
        least->connections.emplace(fd, connection);
        if (!connection->open()) connection->close_now();
      });
    }
  }
}

void EpollFront::adopt(Shard& shard, int fd, std::string remote) {
  auto connection = std::make_shared<Connection>(core_, &shard, fd, std::move(remote));
  if (core_->connections.load() > core_->options.max_connections && !shard.idle.empty()) {
    core_->counters.shed.fetch_add(1);
    shard.idle.front()->close_now();
  }
  shard.connections.emplace(fd, connection);
  if (!connection->open()) connection->close_now();
}

// Without this the listener would stay readable and the loop would spin.
void EpollFront::accept_without_descriptors(int listener) {
  core_->counters.refused.fetch_add(1);
  if (!shards_[0]->idle.empty()) {
    core_->counters.shed.fetch_add(1);
    shards_[0]->idle.front()->close_now();
    return;
  }
  if (spare_ < 0) return;
  close(spare_);
  const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd >= 0) close(fd);
  spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

std::vector<std::string> EpollFront::addresses() const {
  std::vector<std::string> out;
  for (const Listener& listener : listeners_) out.push_back(listener.address);
  return out;
}

void EpollFront::stop(uint64_t grace_ns) {
  if (!running_) return;
  running_ = false;
  core_->stopping.store(true);
  Loop& first = *shards_[0]->loop;
  for (const Listener& listener : listeners_)
    first.post([&first, listener] {
      first.forget(listener.fd);
      close(listener.fd);
    });
  for (const Listener& listener : listeners_)
    if (!listener.unix_path.empty()) unlink(listener.unix_path.c_str());
  for (auto& shard : shards_)
    shard->loop->post([s = shard.get()] {
      std::vector<std::shared_ptr<Connection>> all;
      for (const auto& [fd, connection] : s->connections) all.push_back(connection);
      for (const auto& connection : all) connection->close_when_done();
    });
  {
    std::unique_lock lock(core_->mutex);
    core_->quiet.wait_for(lock, std::chrono::nanoseconds(grace_ns),
                          [this] { return core_->handlers_running == 0 && core_->connections.load() == 0; });
    core_->stopped = true;
    // A handler does not block, so this ends soon; it must not run while what it refers to goes away.
    core_->quiet.wait(lock, [this] { return core_->handlers_running == 0; });
  }
  for (auto& shard : shards_) {
    shard->loop->post([s = shard.get()] {
      std::vector<std::shared_ptr<Connection>> all;
      for (const auto& [fd, connection] : s->connections) all.push_back(connection);
      for (const auto& connection : all) connection->close_now();  // tells those who wait for on_closed
    });
  }
  // The tasks just posted run before the loop looks at its end: it empties its queue once more.
  for (auto& shard : shards_) shard->loop->stop();
  if (spare_ >= 0) close(spare_);
  spare_ = -1;
}

json::Value EpollFront::metrics() const {
  const Counters& c = core_->counters;
  auto answers = json::Value::object();
  for (size_t i = 1; i < c.answers.size(); ++i) answers.set(std::to_string(i) + "xx", c.answers[i].load());
  return json::Value::object({{"connections", core_->connections.load()},
                              {"accepted", c.accepted.load()},
                              {"shed", c.shed.load()},
                              {"refused", c.refused.load()},
                              {"timeouts", c.timeouts.load()},
                              {"requests", c.requests.load()},
                              {"answers", std::move(answers)},
                              {"bytesIn", c.bytes_in.load()},
                              {"bytesOut", c.bytes_out.load()},
                              {"bodyBytesInFlight", core_->body_bytes.load()},
                              {"tlsHandshakes", c.handshakes.load()},
                              {"tlsHandshakeFailures", c.handshake_failures.load()},
                              {"tlsReloads", c.reloads.load()},
                              {"tlsReloadFailures", c.reload_failures.load()}});
}

}  // namespace

std::unique_ptr<Front> make_front(Executor& executor, FrontOptions options, HttpHandler handler) {
  return std::make_unique<EpollFront>(executor, std::move(options), std::move(handler));
}

}  // namespace pintle::kernel

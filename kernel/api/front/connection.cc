#include "kernel/api/front/connection.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "kernel/api/front/answer.h"

namespace pintle::kernel {
namespace {
constexpr size_t kReadBurst = 256 << 10;   // per readiness: then the others have their turn
constexpr size_t kLingerBytes = 32 << 20;
}  // namespace

Connection::Connection(std::shared_ptr<FrontCore> core, Shard* shard, int fd, std::string remote)
    : core_(std::move(core)),
      loop_(shard->loop),
      shard_(shard),
      fd_(fd),
      remote_(std::move(remote)),
      parser_(core_->options.max_header_bytes, core_->options.max_body_bytes) {}

Connection::~Connection() {
  if (fd_ < 0) return;  // the front end was torn down with this one open
  ssl_.reset();
  close(fd_);
  core_->connections.fetch_sub(1);
}

bool Connection::open() {
  phase_ = core_->tls ? Phase::kSniff : Phase::kReading;
  if (!loop_->watch(fd_, EPOLLIN, shared_from_this())) return false;
  wait_idle();
  deadline_ = loop_->now() + (core_->tls ? core_->options.header_timeout_ns : core_->options.idle_timeout_ns);
  return true;
}

void Connection::wait_idle() {
  leave_idle();
  idle_place_ = shard_->idle.insert(shard_->idle.end(), this);
  in_idle_ = true;
}

void Connection::leave_idle() {
  if (in_idle_) shard_->idle.erase(idle_place_);
  in_idle_ = false;
}

void Connection::update_interest() {
  if (phase_ == Phase::kClosed) return;
  bool paused = false;
  if (phase_ == Phase::kPipe) {
    std::lock_guard lock(mutex_);
    paused = paused_;
  }
  uint32_t events = 0;
  const bool reads = (phase_ != Phase::kBusy && !(phase_ == Phase::kPipe && paused) && !peer_closed_) || write_wants_read_;
  // A client mostly waits for its answer: reading is switched off only when it does not. The same interest while it is read and
  // while it is answered saves two system calls per request.
  const bool calm = phase_ == Phase::kBusy && !disturbed_ && !hang_up_seen_;
  if (reads || calm) events |= EPOLLIN;
  if ((!reads || phase_ == Phase::kReading) && !hang_up_seen_) events |= EPOLLRDHUP;  // a peer that leaves while nobody reads
  if (write_blocked_ || read_wants_write_) events |= EPOLLOUT;
  loop_->change(fd_, events);
}

void Connection::on_ready(uint32_t events) {
  if (phase_ == Phase::kClosed) return;
  if (events & (EPOLLERR | EPOLLHUP)) {
    if (!(events & EPOLLERR) && (events & EPOLLIN) && (phase_ == Phase::kReading || phase_ == Phase::kPipe)) read_some();
    return close_now();
  }
  if (events & EPOLLRDHUP) {
    hang_up_seen_ = true;
    peer_is_gone();
  }
  if (phase_ == Phase::kBusy && (events & EPOLLIN)) disturbed_ = true;
  if (phase_ == Phase::kSniff && (events & EPOLLIN)) sniff();
  if (phase_ == Phase::kHandshake) {
    handshake();
  } else {
    if ((events & EPOLLOUT) || (write_wants_read_ && (events & EPOLLIN))) {
      if (read_wants_write_) events |= EPOLLIN;
      flush();
    }
    if ((events & EPOLLIN) && phase_ != Phase::kBusy && phase_ != Phase::kClosed) read_some();
  }
  update_interest();
}

void Connection::sniff() {
  char first = 0;
  const ssize_t n = recv(fd_, &first, 1, MSG_PEEK | MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return close_now();
  if (first >= 'A' && first <= 'Z') {
    phase_ = Phase::kReading;  // answered in the clear: a browser or a kubeconfig with http:// can show it
    return refuse({400, "Client sent an HTTP request to an HTTPS server"});
  }
  ssl_ = core_->tls->open(fd_);
  if (!ssl_) return close_now();
  phase_ = Phase::kHandshake;
}

void Connection::handshake() {
  ERR_clear_error();
  const int rc = SSL_do_handshake(ssl_.get());
  if (rc != 1) {
    const int why = SSL_get_error(ssl_.get(), rc);
    write_blocked_ = why == SSL_ERROR_WANT_WRITE;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return;
    core_->counters.handshake_failures.fetch_add(1);
    return close_now();
  }
  core_->counters.handshakes.fetch_add(1);
  write_blocked_ = false;
  certificate_ = client_certificate(ssl_.get(), &certificate_end_);
  phase_ = Phase::kReading;
  wait_idle();
  deadline_ = loop_->now() + core_->options.idle_timeout_ns;
  if (SSL_has_pending(ssl_.get())) read_some();
}

ssize_t Connection::read_bytes(char* to, size_t size) {
  read_wants_write_ = false;
  if (!ssl_) {
    const ssize_t n = recv(fd_, to, size, MSG_DONTWAIT);
    if (n >= 0) return n;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? -1 : -2;
  }
  ERR_clear_error();
  const int n = SSL_read(ssl_.get(), to, static_cast<int>(size));
  if (n > 0) return n;
  switch (SSL_get_error(ssl_.get(), n)) {
    case SSL_ERROR_WANT_READ: return -1;
    case SSL_ERROR_WANT_WRITE: read_wants_write_ = true; return -1;
    case SSL_ERROR_ZERO_RETURN: return 0;
    default: return -2;
  }
}

void Connection::read_some() {
  char* const buffer = loop_->scratch();
  for (size_t total = 0; total < kReadBurst;) {
    if (phase_ == Phase::kPipe) {
      std::lock_guard lock(mutex_);
      if (paused_) return;
    }
    if (phase_ == Phase::kBusy || phase_ == Phase::kClosed) return;
    const ssize_t n = read_bytes(buffer, Loop::kScratchBytes);
    if (n == -1) return;
    if (n <= 0) {
      if (phase_ == Phase::kReading && n == 0 && parser_.started()) return refuse({400, "the request is incomplete"});
      return close_now();
    }
    total += static_cast<size_t>(n);
    core_->counters.bytes_in.fetch_add(static_cast<uint64_t>(n), std::memory_order_relaxed);
    take_bytes({buffer, static_cast<size_t>(n)});
  }
  if (ssl_ && SSL_has_pending(ssl_.get()) && phase_ != Phase::kClosed)
    loop_->post([self = shared_from_this()] {  // decrypted already: epoll would not tell
      if (self->phase_ != Phase::kClosed) self->read_some(), self->update_interest();
    });
}

void Connection::take_bytes(std::string_view bytes) {
  if (phase_ == Phase::kPipe) return take_pipe_bytes(bytes);
  if (phase_ == Phase::kLinger) {
    linger_bytes_ += bytes.size();
    if (linger_bytes_ > kLingerBytes) close_now();
    return;
  }
  const bool was_header = parser_.state() == RequestParser::State::kHeader, was_started = parser_.started();
  const size_t used = parser_.feed(bytes);
  window_bytes_ += used;
  if (!was_started && parser_.started()) deadline_ = loop_->now() + core_->options.header_timeout_ns;
  if (used < bytes.size()) pending_.append(bytes.substr(used));
  after_feed(was_header);
}

void Connection::after_feed(bool was_header) {
  const size_t body = parser_.body_bytes();
  if (body > counted_body_) {
    const size_t all = core_->body_bytes.fetch_add(body - counted_body_) + body - counted_body_;
    counted_body_ = body;
    if (all > core_->options.max_inflight_body_bytes && parser_.state() != RequestParser::State::kRefused)
      return refuse({429, "too many bytes of request bodies are in flight, try again later", 1});
  }
  switch (parser_.state()) {
    case RequestParser::State::kRefused: return refuse(parser_.refusal());
    case RequestParser::State::kComplete: return dispatch();
    case RequestParser::State::kBody:
      if (was_header) {
        leave_idle();
        window_bytes_ = 0;
        deadline_ = loop_->now() + core_->options.header_timeout_ns;
        if (parser_.expects_continue() && body == 0) {
          static const Chunk kContinue = std::make_shared<const std::string>("HTTP/1.1 100 Continue\r\n\r\n");
          {
            std::lock_guard lock(mutex_);
            out_.push(kContinue);
          }
          flush();
        }
      }
      return;
    case RequestParser::State::kHeader: return;
  }
}

void Connection::refuse(Refusal refusal) {  // by value: it may lie in the parser
  leave_idle();
  phase_ = Phase::kBusy;
  deadline_ = 0;
  std::string().swap(pending_);
  parser_.reset();
  release_body();
  uint64_t exchange = 0;
  {
    std::lock_guard lock(mutex_);
    exchange = ++exchange_;
    exchange_open_ = true;
    end_ = End::kMore;
  }
  send_refusal(std::make_shared<Answer>(shared_from_this(), exchange, false, false, false), refusal);
}

void Connection::dispatch() {
  leave_idle();
  phase_ = Phase::kBusy;
  deadline_ = 0;
  core_->counters.requests.fetch_add(1, std::memory_order_relaxed);
  const bool keep = parser_.keep_alive(), http10 = parser_.http10(), head = parser_.head();
  auto request = std::make_shared<HttpRequest>(parser_.take());
  parser_.reset();
  request->remote = remote_;
  if (certificate_ && core_->executor.wall() / 1000000000 <= certificate_end_)
    request->certificate = std::make_unique<ClientCertificate>(*certificate_);
  uint64_t exchange = 0;
  {
    std::lock_guard lock(mutex_);
    exchange = ++exchange_;
    exchange_open_ = true;
    streaming_ = paused_ = pipe_asked_ = false;
    end_ = End::kMore;
  }
  core_->dispatch(std::move(request), std::make_shared<Answer>(shared_from_this(), exchange, keep, http10, head));
}

void Connection::flush() {
  if (phase_ == Phase::kClosed || phase_ == Phase::kHandshake) return;
  End end = End::kMore;
  bool pipe = false;
  std::function<void()> drained;
  {
    std::lock_guard lock(mutex_);
    flush_posted_ = false;
    size_t written = 0;
    const Outbox::Wrote result = out_.write_to(fd_, ssl_.get(), loop_->scratch(), kReadBurst, &written);
    core_->counters.bytes_out.fetch_add(written, std::memory_order_relaxed);
    write_blocked_ = result == Outbox::Wrote::kBlocked || result == Outbox::Wrote::kMore;
    write_wants_read_ = result == Outbox::Wrote::kWantsRead;
    if (written > 0 || write_deadline_ == 0) write_deadline_ = loop_->now() + core_->options.idle_timeout_ns;
    if (out_.empty()) {
      write_deadline_ = 0;
      end = end_;
    }
    pipe = pipe_asked_ && phase_ == Phase::kBusy;
    if (drained_fn_ && out_.bytes() <= low_water_) drained = std::move(drained_fn_), drained_fn_ = nullptr;
    if (result == Outbox::Wrote::kBroken) end = End::kMore, drained = nullptr, hang_up_seen_ = true, closed_ = true;
  }
  if (drained) post_to_executor(std::move(drained));
  bool broken = false;
  {
    std::lock_guard lock(mutex_);
    broken = closed_;
  }
  if (broken) return close_now();
  if (pipe) enter_pipe();
  if (end != End::kMore && (phase_ == Phase::kBusy || phase_ == Phase::kPipe)) answer_done(end);
  update_interest();
}

void Connection::answer_done(End end) {
  std::function<void()> drained, closed;
  std::function<void(std::string_view)> data;
  {
    std::lock_guard lock(mutex_);
    exchange_open_ = streaming_ = false;
    drained.swap(drained_fn_);
    closed.swap(closed_fn_);
    data.swap(data_fn_);
    end_ = End::kMore;
  }
  release_body();
  if (end == End::kClose || core_->stopping.load(std::memory_order_relaxed)) return start_linger();
  next_request();
}

void Connection::next_request() {
  parser_.reset();
  phase_ = Phase::kReading;
  wait_idle();
  deadline_ = loop_->now() + core_->options.idle_timeout_ns;
  if (!pending_.empty()) {
    const std::string bytes = std::move(pending_);
    std::string().swap(pending_);
    take_bytes(bytes);
  }
  if (phase_ != Phase::kReading) return;
  disturbed_ = false;
  peer_closed_ = false;  // its end may lie behind further requests: the next read tells
  if (ssl_ && SSL_has_pending(ssl_.get())) read_some();
}

}  // namespace pintle::kernel

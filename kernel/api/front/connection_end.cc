// The other half of a connection: its calls from other threads, pipes, deadlines and the end.
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel/api/front/answer.h"
#include "kernel/api/front/connection.h"

namespace pintle::kernel {
namespace {
constexpr size_t kMinBodyProgress = 4096;  // bytes of a body that must arrive per header_timeout
constexpr uint64_t kLingerNs = 3ull * 1000000000;
}  // namespace

// ---------------------------------------------------------------- any thread

void Connection::post_flush_locked() {
  if (flush_posted_ || closed_) return;
  flush_posted_ = true;
  loop_->post([self = shared_from_this()] { self->flush(); });
}

size_t Connection::push(uint64_t exchange, std::vector<Chunk> chunks, End end) {
  std::lock_guard lock(mutex_);
  if (closed_ || exchange != exchange_ || !exchange_open_ || end_ != End::kMore) return 0;
  for (auto& chunk : chunks) out_.push(std::move(chunk));
  end_ = end;
  post_flush_locked();
  return out_.bytes();
}

size_t Connection::queued() const {
  std::lock_guard lock(mutex_);
  return out_.bytes();
}

void Connection::on_drained(uint64_t exchange, size_t low_water, std::function<void()> fn) {
  std::function<void()> replaced;
  std::lock_guard lock(mutex_);
  if (closed_ || exchange != exchange_ || !exchange_open_) return;
  replaced.swap(drained_fn_);
  low_water_ = low_water;
  drained_fn_ = std::move(fn);
  if (out_.bytes() <= low_water) post_flush_locked();
}

void Connection::on_closed(uint64_t exchange, std::function<void()> fn) {
  std::function<void()> replaced;
  bool now = false;
  {
    std::lock_guard lock(mutex_);
    if (exchange != exchange_) return;
    now = closed_;
    if (!now && !exchange_open_) return;
    if (!now) {
      replaced.swap(closed_fn_);
      closed_fn_ = std::move(fn);
      // The peer may have left before anybody asked; the loop knows.
      loop_->post([self = shared_from_this()] {
        if (self->phase_ != Phase::kClosed && self->hang_up_seen_) self->peer_is_gone(), self->update_interest();
      });
    }
  }
  if (now) post_to_executor(std::move(fn));
}

void Connection::set_streaming(uint64_t exchange) {
  std::lock_guard lock(mutex_);
  if (exchange == exchange_) streaming_ = true;
}

void Connection::begin_pipe(uint64_t exchange, Chunk head, std::function<void(std::string_view)> on_data) {
  std::lock_guard lock(mutex_);
  if (closed_ || exchange != exchange_ || !exchange_open_ || end_ != End::kMore) return;
  out_.push(std::move(head));
  data_fn_ = std::move(on_data);
  pipe_asked_ = true;
  post_flush_locked();
}

void Connection::set_paused(uint64_t exchange, bool paused) {
  std::lock_guard lock(mutex_);
  if (closed_ || exchange != exchange_ || paused == paused_) return;
  paused_ = paused;
  loop_->post([self = shared_from_this()] {
    if (self->phase_ != Phase::kPipe) return;
    bool reads = false;
    {
      std::lock_guard inner(self->mutex_);
      reads = !self->paused_;
    }
    if (reads) {
      self->take_pipe_bytes({});
      if (self->phase_ == Phase::kPipe) self->read_some();
    } else if (self->hang_up_seen_) {
      self->peer_is_gone();
    }
    self->update_interest();
  });
}

void Connection::abort(uint64_t exchange) {
  std::lock_guard lock(mutex_);
  if (closed_ || exchange != exchange_ || !exchange_open_) return;
  loop_->post([self = shared_from_this(), exchange] {
    {
      std::lock_guard inner(self->mutex_);
      if (exchange != self->exchange_ || !self->exchange_open_) return;
      self->closed_fn_ = nullptr;  // the caller ended it, it need not be told
    }
    self->close_now();
  });
}

void Connection::post_to_executor(std::function<void()> fn) {
  if (fn) core_->executor.post(std::move(fn));
}

// ---------------------------------------------------------------- loop thread

void Connection::enter_pipe() {
  phase_ = Phase::kPipe;
  take_pipe_bytes({});
  if (phase_ == Phase::kPipe && ssl_ && SSL_has_pending(ssl_.get())) read_some();
}

// Delivers what waits and then `bytes`, until paused; the rest waits.
void Connection::take_pipe_bytes(std::string_view bytes) {
  if (!pending_.empty()) {
    pending_.append(bytes);
    bytes = {};
  }
  std::function<void(std::string_view)> data;
  {
    std::lock_guard lock(mutex_);
    if (paused_ || !data_fn_) {
      pending_.append(bytes);
      return;
    }
    data = data_fn_;
  }
  if (pending_.empty()) {
    if (!bytes.empty()) data(bytes);
    return;
  }
  const std::string waiting = std::move(pending_);
  std::string().swap(pending_);
  data(waiting);
}

void Connection::peer_is_gone() {
  if (phase_ != Phase::kBusy && phase_ != Phase::kPipe) return;
  std::function<void()> closed;
  bool end_now = phase_ == Phase::kPipe;
  {
    std::lock_guard lock(mutex_);
    end_now = end_now || streaming_;
    closed.swap(closed_fn_);
  }
  peer_closed_ = true;
  post_to_executor(std::move(closed));
  // A client may close its sending side and still wait for a whole answer; a stream is over for it.
  if (end_now) close_now();
}

void Connection::release_body() {
  core_->body_bytes.fetch_sub(counted_body_);
  counted_body_ = 0;
}

void Connection::start_linger() {
  phase_ = Phase::kLinger;
  deadline_ = loop_->now() + kLingerNs;
  write_deadline_ = 0;
  if (ssl_) SSL_shutdown(ssl_.get());
  ::shutdown(fd_, SHUT_WR);
  std::string().swap(pending_);
  peer_closed_ = false;
}

void Connection::close_when_done() {
  if (phase_ == Phase::kReading || phase_ == Phase::kSniff || phase_ == Phase::kHandshake) close_now();
}

void Connection::check_deadline(uint64_t now) {
  if (write_deadline_ != 0 && now >= write_deadline_ && phase_ != Phase::kPipe) {
    core_->counters.timeouts.fetch_add(1);
    return close_now();
  }
  if (deadline_ == 0 || now < deadline_) return;
  if (phase_ == Phase::kReading && parser_.state() == RequestParser::State::kBody) {
    if (window_bytes_ >= kMinBodyProgress) {  // slow but honest
      window_bytes_ = 0;
      deadline_ = now + core_->options.header_timeout_ns;
      return;
    }
  }
  if (phase_ == Phase::kReading && parser_.started()) {
    core_->counters.timeouts.fetch_add(1);
    refuse({408, "the request did not arrive in time"});
    return update_interest();
  }
  if (phase_ == Phase::kHandshake || phase_ == Phase::kSniff) core_->counters.timeouts.fetch_add(1);
  close_now();
}

void Connection::close_now() {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();  // the table's reference goes away below
  phase_ = Phase::kClosed;
  leave_idle();
  release_body();
  loop_->forget(fd_);
  ssl_.reset();
  close(fd_);
  shard_->connections.erase(fd_);
  shard_->count.fetch_sub(1);
  core_->connections.fetch_sub(1);
  fd_ = -1;
  std::function<void()> drained, closed;
  std::function<void(std::string_view)> data;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    out_.clear();
    drained.swap(drained_fn_);
    closed.swap(closed_fn_);
    data.swap(data_fn_);
  }
  parser_.reset();
  std::string().swap(pending_);
  post_to_executor(std::move(closed));
  std::lock_guard lock(core_->mutex);
  core_->quiet.notify_all();
}

}  // namespace pintle::kernel

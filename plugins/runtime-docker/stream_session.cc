#include "stream_session.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace pintle::runtime_docker {
namespace {
constexpr size_t kBuffer = 64 * 1024;

void close_fd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}
}  // namespace

std::shared_ptr<StreamSession> StreamSession::start(const Host& host, Ends ends, std::function<void()> done) {
  std::shared_ptr<StreamSession> s(new StreamSession(host, std::move(ends), std::move(done)));
  s->self_ = s;
  s->strand_->post([s] {
    for (int fd : {s->ends_.engine, s->ends_.in, s->ends_.out, s->ends_.err})
      if (fd >= 0) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    const auto watch = [&](int fd, void (StreamSession::*fn)(uint32_t)) {
      return s->host_.watch_fd(fd, [weak = s->weak_from_this(), fn](uint32_t ev) {
        if (auto self = weak.lock()) self->strand_->post([self, fn, ev] { ((*self).*fn)(ev); });
      });
    };
    const auto watch_client = [&](int fd, int which) {
      return s->host_.watch_fd(fd, [weak = s->weak_from_this(), which](uint32_t ev) {
        if (auto self = weak.lock()) self->strand_->post([self, which, ev] { self->on_client(which, ev); });
      });
    };
    s->engine_watch_ = watch(s->ends_.engine, &StreamSession::on_engine);
    if (s->ends_.in >= 0) s->in_watch_ = watch_client(s->ends_.in, 0);
    if (s->ends_.out >= 0 && s->ends_.out != s->ends_.in) s->out_watch_ = watch_client(s->ends_.out, 1);
    if (s->ends_.err >= 0) s->err_watch_ = watch_client(s->ends_.err, 2);
    s->in_open_ = s->ends_.in >= 0;
    s->take(std::exchange(s->ends_.rest, {}));
    s->arm();
  });
  return s;
}

StreamSession::StreamSession(const Host& host, Ends ends, std::function<void()> done)
    : host_(host), ends_(std::move(ends)), done_(std::move(done)), strand_(std::make_shared<Strand>(host)) {}

StreamSession::~StreamSession() {
  engine_watch_.reset();
  in_watch_.reset();
  out_watch_.reset();
  err_watch_.reset();
  close_fd(ends_.engine);
  if (ends_.out != ends_.in) close_fd(ends_.out);
  close_fd(ends_.in);
  close_fd(ends_.err);
}

void StreamSession::cancel() {
  strand_->post([self = shared_from_this()] { self->finish(); });
}

void StreamSession::take(std::string_view bytes) {
  const auto deliver = [&](int stream, std::string_view piece) {
    const bool err = stream == 2;
    const int fd = err ? ends_.err : ends_.out;
    if (fd >= 0) {
      (err ? to_err_ : to_out_).bytes.append(piece);
      return;
    }
    std::string& kept = err ? captured_err_ : captured_out_;
    if (kept.size() < ends_.capture) kept.append(piece.substr(0, ends_.capture - kept.size()));
  };
  if (ends_.multiplexed) demultiplexer_.feed(bytes, deliver);
  else deliver(1, bytes);
}

bool StreamSession::flush(int fd, Pipe& pipe) {
  while (!pipe.empty()) {
    const ssize_t n = send(fd, pipe.bytes.data() + pipe.at, pipe.bytes.size() - pipe.at, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    pipe.at += static_cast<size_t>(n);
  }
  pipe.bytes.clear();
  pipe.at = 0;
  return true;
}

void StreamSession::arm() {
  if (finished_) return;
  // Write what can be written now; then wait for what is missing.
  if (!flush(ends_.engine, to_engine_)) to_engine_ = {};
  if (ends_.out >= 0 && !flush(ends_.out, to_out_)) return finish();
  if (ends_.err >= 0 && !flush(ends_.err, to_err_)) return finish();
  if (!in_open_ && to_engine_.empty() && !engine_shut_ && ends_.in >= 0) {
    engine_shut_ = true;
    shutdown(ends_.engine, SHUT_WR);
  }
  if (!engine_open_ && to_out_.empty() && to_err_.empty()) return finish();

  uint32_t engine = 0;
  if (engine_open_ && to_out_.empty() && to_err_.empty()) engine |= PINTLE_READABLE;
  if (!to_engine_.empty()) engine |= PINTLE_WRITABLE;
  if (engine) engine_watch_.arm(engine);
  uint32_t in = in_open_ && to_engine_.empty() ? uint32_t{PINTLE_READABLE} : 0u;
  if (ends_.out == ends_.in && !to_out_.empty()) in |= PINTLE_WRITABLE;
  if (in && in_watch_) in_watch_.arm(in);
  if (out_watch_ && !to_out_.empty()) out_watch_.arm(PINTLE_WRITABLE);
  if (err_watch_ && !to_err_.empty()) err_watch_.arm(PINTLE_WRITABLE);
}

void StreamSession::on_engine(uint32_t events) {
  if (finished_) return;
  if (engine_open_ && to_out_.empty() && to_err_.empty() && (events & (PINTLE_READABLE | PINTLE_HANGUP))) {
    std::string buffer(kBuffer, '\0');
    const ssize_t n = recv(ends_.engine, buffer.data(), buffer.size(), 0);
    if (n > 0) take(std::string_view(buffer.data(), static_cast<size_t>(n)));
    else if (n == 0 || (errno != EAGAIN && errno != EINTR)) engine_open_ = false;
  }
  arm();
}

void StreamSession::on_client(int which, uint32_t events) {
  if (finished_) return;
  if (which == 0 && in_open_ && to_engine_.empty() && (events & (PINTLE_READABLE | PINTLE_HANGUP))) {
    std::string buffer(kBuffer, '\0');
    const ssize_t n = recv(ends_.in, buffer.data(), buffer.size(), 0);
    if (n > 0) {
      buffer.resize(static_cast<size_t>(n));
      to_engine_.bytes = std::move(buffer);
      to_engine_.at = 0;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      in_open_ = false;
    }
  }
  arm();
}

void StreamSession::finish() {
  if (std::exchange(finished_, true)) return;
  const auto alive = std::move(self_);
  engine_watch_.reset();
  in_watch_.reset();
  out_watch_.reset();
  err_watch_.reset();
  close_fd(ends_.engine);
  if (ends_.out != ends_.in) close_fd(ends_.out);
  else ends_.out = -1;
  close_fd(ends_.in);
  close_fd(ends_.err);
  if (done_) std::exchange(done_, nullptr)();
}

int connect_in_namespace(int64_t pid, uint16_t port) {
  const int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  const int other = open(("/proc/" + std::to_string(pid) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC);
  int fd = -1, error = errno;
  if (own >= 0 && other >= 0 && setns(other, CLONE_NEWNET) == 0) {
    // A socket belongs to the namespace it was made in, for ever: the thread goes back at once.
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    error = errno;
    if (setns(own, CLONE_NEWNET) != 0) std::abort();  // a host thread in a pod's network would be far worse
  } else {
    error = errno;
  }
  if (own >= 0) close(own);
  if (other >= 0) close(other);
  if (fd < 0) {
    errno = error;
    return -1;
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return fd;
  int failed = errno;
  if (failed == EINPROGRESS) {
    pollfd p{fd, POLLOUT, 0};
    socklen_t len = sizeof failed;
    if (poll(&p, 1, 5000) != 1) failed = ETIMEDOUT;
    else getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len);
  }
  if (failed != 0) {
    close(fd);
    errno = failed;
    return -1;
  }
  return fd;
}

}  // namespace pintle::runtime_docker

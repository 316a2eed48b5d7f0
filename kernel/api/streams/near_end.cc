#include "kernel/api/streams/near_end.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

namespace pintle::kernel {

std::shared_ptr<NearEnd> NearEnd::make(std::shared_ptr<Loop> loop, int* far) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return nullptr;
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  *far = ends[1];
  return std::shared_ptr<NearEnd>(new NearEnd(std::move(loop), ends[0]));
}

NearEnd::~NearEnd() {
  if (fd_ >= 0) ::close(fd_);
}

void NearEnd::start(Events events, bool reads) {
  events_ = std::move(events);
  reads_ = reads;
  started_ = loop_->watch(fd_, reads ? EPOLLIN : 0u, shared_from_this());
  flush();
}

void NearEnd::update() {
  if (fd_ < 0 || !started_) return;
  uint32_t events = 0;
  if (reads_ && !ended_ && !starved_) events |= EPOLLIN;
  if (queued() > 0 && !broken_) events |= EPOLLOUT;
  loop_->change(fd_, events);
}

void NearEnd::on_ready(uint32_t events) {
  const auto self = shared_from_this();
  if (events & EPOLLOUT) flush();
  bool empty = false;
  if (fd_ >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && reads_ && !ended_) {
    for (int i = 0; i < 4 && reads_ && read_piece(&empty); ++i) {}
  }
  if (fd_ >= 0 && (events & (EPOLLHUP | EPOLLERR))) hang_up();
  update();
}

// The far end is closed in both directions; bytes it wrote before may still wait to be read.
void NearEnd::hang_up() {
  broken_ = true;
  std::string().swap(out_);
  out_at_ = 0;
  if (was_high_) {
    was_high_ = false;
    if (events_.drained) events_.drained();
  }
  const bool will_read = !ended_ && events_.bytes;
  if (will_read && reads_ && !starved_) return;
  // Unwatched, or the loop would be told again and again; set_reading() watches it again.
  loop_->forget(fd_);
  started_ = false;
  if (ended_ || will_read) return;
  ended_ = true;
  if (events_.end) events_.end();
}

bool NearEnd::read_piece(bool* empty) {
  if (fd_ < 0 || ended_) return false;
  const size_t want = std::min(kPieceBytes, events_.room ? events_.room() : kPieceBytes);
  starved_ = want == 0;
  if (starved_) return false;
  const ssize_t n = recv(fd_, loop_->scratch(), want, MSG_DONTWAIT);
  if (n > 0) {
    if (events_.bytes) events_.bytes({loop_->scratch(), static_cast<size_t>(n)});
    return fd_ >= 0;
  }
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    *empty = errno != EINTR;
    return false;
  }
  ended_ = true;
  *empty = true;
  if (events_.end) events_.end();
  return false;
}

bool NearEnd::read_all() {
  const auto self = shared_from_this();
  bool empty = ended_ || fd_ < 0;
  while (!empty && reads_ && read_piece(&empty)) {}
  update();
  return empty;
}

void NearEnd::set_reading(bool reads) {
  reads_ = reads;
  starved_ = false;
  if (reads && fd_ >= 0 && !started_ && !ended_) started_ = loop_->watch(fd_, EPOLLIN, shared_from_this());
  update();
}

size_t NearEnd::write(std::string_view bytes) {
  if (fd_ < 0 || broken_ || finishing_) return 0;
  if (out_at_ > 0 && out_at_ * 2 >= out_.size()) {
    out_.erase(0, out_at_);
    out_at_ = 0;
  }
  out_.append(bytes);
  flush();
  if (queued() > kHighWater) was_high_ = true;
  return queued();
}

void NearEnd::flush() {
  while (fd_ >= 0 && !broken_ && queued() > 0) {
    const ssize_t n = send(fd_, out_.data() + out_at_, queued(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) break;
    if (n < 0) broken_ = true;
    else out_at_ += static_cast<size_t>(n);
  }
  if (broken_ || queued() == 0) {
    std::string().swap(out_);
    out_at_ = 0;
    if (finishing_ && !broken_ && fd_ >= 0) {
      ::shutdown(fd_, SHUT_WR);
      broken_ = true;
    }
  }
  update();
  if (was_high_ && queued() <= kLowWater) {
    was_high_ = false;
    if (events_.drained) events_.drained();
  }
}

void NearEnd::finish_writing() {
  if (finishing_) return;
  finishing_ = true;
  flush();
}

void NearEnd::close() {
  if (fd_ < 0) return;
  const auto self = shared_from_this();
  loop_->forget(fd_);
  ::close(fd_);
  fd_ = -1;
  ended_ = true;
  // Not destroyed here: one of them may be running.
  loop_->post([gone = std::move(events_)] {});
  events_ = Events();
}

}  // namespace pintle::kernel

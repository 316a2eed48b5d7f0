#include "kernel/plugin/proxy_channel.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "kernel/plugin/fd_loop.h"

namespace pintle::kernel {

void Strand::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (std::exchange(running_, true)) return;
  }
  executor_.post([self = shared_from_this()] { self->run(); });
}

void Strand::run() {
  // Not for ever on one thread: others want it too.
  for (int i = 0; i < 32; ++i) {
    Task task;
    {
      std::lock_guard lock(mutex_);
      if (tasks_.empty()) {
        running_ = false;
        return;
      }
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
  executor_.post([self = shared_from_this()] { self->run(); });
}

Channel::Channel(int fd) : fd_(fd) {}

Channel::~Channel() {
  close();
  for (const int fd : in_fds_) ::close(fd);
  ::close(fd_);
}

void Channel::open(Events events) {
  events_ = std::move(events);
  // Weak: the loop must not keep a channel alive that nobody has any more.
  std::weak_ptr<Channel> weak = weak_from_this();
  const auto on = [weak](void (Channel::*fn)()) {
    return [weak, fn](uint32_t) {
      if (auto self = weak.lock()) (self.get()->*fn)();
    };
  };
  std::lock_guard lock(mutex_);
  read_id_ = FdLoop::shared().add(fd_, on(&Channel::readable));
  write_id_ = FdLoop::shared().add(fd_, on(&Channel::writable));
  opened_ = true;
  FdLoop::shared().arm(read_id_, EPOLLIN);
  if (!flush()) FdLoop::shared().arm(read_id_, EPOLLIN);
}

void Channel::close() {
  uint64_t r, w;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    out_.clear();
    r = read_id_;
    w = write_id_;
  }
  if (r) FdLoop::shared().remove(r);
  if (w) FdLoop::shared().remove(w);
  ::shutdown(fd_, SHUT_RDWR);
}

void Channel::end(std::string why) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
  }
  close();
  events_.on_end(std::move(why));
}

bool Channel::send(FrameType type, uint64_t id, Writer payload, std::vector<int> fds) {
  OwnedFds owned_fds(std::move(fds));
  const size_t size = payload.size();
  if (size > kMaxPayload || owned_fds.get().size() > kMaxFrameFds) return false;
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  Outgoing o;
  o.bytes = payload.finish(type, id, owned_fds.get().size());
  o.fds = std::move(owned_fds);
  queued_ += o.bytes.size();
  out_.push_back(std::move(o));
  // A peer that does not read is as good as dead; the reading side notices the shutdown and tells.
  if (opened_ && out_.size() == 1 && !flush()) ::shutdown(fd_, SHUT_RDWR);
  else if (queued_ > kMaxQueued) ::shutdown(fd_, SHUT_RDWR);
  return true;
}

bool Channel::flush() {
  while (!out_.empty()) {
    Outgoing& o = out_.front();
    iovec iov{o.bytes.data() + o.at, o.bytes.size() - o.at};
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFrameFds)];
    const auto& fds = o.fds.get();
    if (o.at == 0 && !fds.empty()) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
      cmsghdr* c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
      std::memcpy(CMSG_DATA(c), fds.data(), sizeof(int) * fds.size());
    }
    const ssize_t n = ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS) return false;
      FdLoop::shared().arm(write_id_, EPOLLOUT);
      return true;
    }
    if (o.at == 0) o.fds = OwnedFds();
    o.at += static_cast<size_t>(n);
    queued_ -= static_cast<size_t>(n);
    if (o.at == o.bytes.size()) out_.pop_front();
  }
  return true;
}

void Channel::writable() {
  std::lock_guard lock(mutex_);
  if (!closed_ && !flush()) ::shutdown(fd_, SHUT_RDWR);
}

void Channel::hold(size_t bytes) {
  std::lock_guard lock(mutex_);
  held_ += bytes;
}

void Channel::release(size_t bytes) {
  std::lock_guard lock(mutex_);
  held_ -= bytes;
  if (paused_ && held_ < kMaxHeld && !closed_) {
    paused_ = false;
    FdLoop::shared().arm(read_id_, EPOLLIN);
  }
}

// Whole frames out of the buffer. False: what came is not a frame.
bool Channel::parse(std::string& wrong) {
  while (in_.size() - in_at_ >= kFrameHeader) {
    const char* h = in_.data() + in_at_;
    uint32_t length;
    uint16_t zero;
    Frame frame;
    std::memcpy(&length, h, sizeof length);
    std::memcpy(&zero, h + 6, sizeof zero);
    std::memcpy(&frame.id, h + 8, sizeof frame.id);
    const auto type = static_cast<uint8_t>(h[4]);
    const auto fds = static_cast<uint8_t>(h[5]);
    if (length > kMaxPayload || type < 1 || type >= static_cast<uint8_t>(FrameType::kLast) || fds > kMaxFrameFds || zero != 0) {
      wrong = "sent what is not a frame";
      return false;
    }
    if (in_.size() - in_at_ - kFrameHeader < length) {
      // Not reserved from the announced length: a peer that only announces gets no memory.
      break;
    }
    if (fds > in_fds_.size()) {
      wrong = "sent fewer descriptors than it announced";
      return false;
    }
    for (uint8_t i = 0; i < fds; ++i) {
      frame.fds.push(in_fds_.front());
      in_fds_.pop_front();
    }
    frame.type = static_cast<FrameType>(type);
    frame.payload.assign(in_, in_at_ + kFrameHeader, length);
    in_at_ += kFrameHeader + length;
    events_.on_frame(std::move(frame));
  }
  if (in_at_ == in_.size()) {
    in_.clear();
    in_at_ = 0;
  } else if (in_at_ > (1u << 20)) {
    in_.erase(0, in_at_);
    in_at_ = 0;
  }
  return true;
}

void Channel::readable() {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFrameFds)];
  char buffer[64 << 10];
  for (int round = 0; round < 16; ++round) {
    iovec iov{buffer, sizeof buffer};
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t n = ::recvmsg(fd_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      return end("");
    }
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        in_fds_.push_back(fd);
      }
    }
    if (n == 0) return end("");
    in_.append(buffer, static_cast<size_t>(n));
    std::string wrong;
    if (!parse(wrong)) return end(std::move(wrong));
    if ((message.msg_flags & MSG_CTRUNC) || in_fds_.size() > 2 * kMaxFrameFds) return end("sent more descriptors than it announced");
    std::lock_guard lock(mutex_);
    if (closed_) return;
    if (held_ >= kMaxHeld) {
      paused_ = true;
      return;
    }
  }
  std::lock_guard lock(mutex_);
  if (!closed_) FdLoop::shared().arm(read_id_, EPOLLIN);
}

}  // namespace pintle::kernel

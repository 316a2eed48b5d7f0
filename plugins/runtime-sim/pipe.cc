#include "pipe.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace pintle::runtime_sim {

namespace {

constexpr size_t kBuffer = 64u << 10;

void unblock(int fd) {
  if (fd >= 0) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

}  // namespace

Pipe::Pipe(const Host& host, const Strand& strand, int from, int to, std::string first, std::function<void()> done)
    : host_(host), strand_(strand), from_(from), to_(to), buffer_(std::move(first)), done_(std::move(done)) {
  unblock(from_);
  unblock(to_);
}

Pipe::~Pipe() {
  reading_.reset();
  writing_.reset();
  if (from_ >= 0) ::close(from_);
  if (to_ >= 0) ::close(to_);
}

void Pipe::start() {
  const auto wake = [this, weak = std::weak_ptr(alive_)](uint32_t) {
    strand_.post([this, weak] {
      if (weak.lock()) turn();
    });
  };
  if (from_ >= 0) reading_ = host_.watch_fd(from_, wake);
  if (to_ >= 0) writing_ = host_.watch_fd(to_, wake);
  turn();
}

void Pipe::turn() {
  if (over_) return;
  char chunk[16384];
  for (;;) {
    bool moved = false;
    if (!buffer_.empty()) {
      if (to_ < 0) {
        buffer_.clear();
        moved = true;
      } else {
        const ssize_t n = ::send(to_, buffer_.data(), buffer_.size(), MSG_NOSIGNAL);
        if (n > 0) {
          buffer_.erase(0, static_cast<size_t>(n));
          moved = true;
        } else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
          return finish();
        }
      }
    }
    if (from_ >= 0 && buffer_.size() < kBuffer) {
      const ssize_t n = ::recv(from_, chunk, sizeof chunk, 0);
      if (n > 0) {
        buffer_.append(chunk, static_cast<size_t>(n));
        moved = true;
      } else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        reading_.reset();
        ::close(std::exchange(from_, -1));
        moved = true;
      }
    }
    if (from_ < 0 && buffer_.empty()) return finish();
    if (!moved) break;
  }
  if (from_ >= 0 && buffer_.size() < kBuffer) reading_.arm(PINTLE_READABLE);
  if (!buffer_.empty() && to_ >= 0) writing_.arm(PINTLE_WRITABLE);
}

void Pipe::finish() {
  over_ = true;
  reading_.reset();
  writing_.reset();
  if (from_ >= 0) ::close(std::exchange(from_, -1));
  if (to_ >= 0) ::close(std::exchange(to_, -1));
  if (auto fn = std::move(done_)) fn();
}

}  // namespace pintle::runtime_sim

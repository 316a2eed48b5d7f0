#include "kernel/plugin/fd_loop.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace pintle::kernel {

FdLoop::FdLoop() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.u64 = 0;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &e);
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "plugin-net");
}

FdLoop::~FdLoop() {
  stop_ = true;
  const uint64_t one = 1;
  (void)!::write(wake_, &one, sizeof one);
  thread_.join();
  for (auto& [id, entry] : entries_) ::close(entry.fd);
  ::close(wake_);
  ::close(epoll_);
}

FdLoop& FdLoop::shared() {
  static auto* loop = new FdLoop;
  return *loop;
}

uint64_t FdLoop::add(int fd, std::function<void(uint32_t)> ready) {
  const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return 0;
  std::lock_guard lock(mutex_);
  const uint64_t id = next_++;
  epoll_event e{};
  e.events = EPOLLONESHOT;
  e.data.u64 = id;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, own, &e) != 0) {
    ::close(own);
    return 0;
  }
  entries_.emplace(id, Entry{own, std::move(ready), false});
  return id;
}

void FdLoop::arm(uint64_t id, uint32_t epoll_events) {
  std::lock_guard lock(mutex_);
  const auto at = entries_.find(id);
  if (at == entries_.end()) return;
  epoll_event e{};
  e.events = epoll_events | EPOLLONESHOT;
  e.data.u64 = id;
  at->second.armed = true;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, at->second.fd, &e);
}

void FdLoop::remove(uint64_t id) {
  std::unique_lock lock(mutex_);
  const auto at = entries_.find(id);
  if (at == entries_.end()) return;
  epoll_ctl(epoll_, EPOLL_CTL_DEL, at->second.fd, nullptr);
  ::close(at->second.fd);
  entries_.erase(at);
  if (std::this_thread::get_id() != thread_.get_id()) quiet_.wait(lock, [&] { return running_ != id; });
}

void FdLoop::run() {
  epoll_event events[64];
  while (!stop_) {
    const int n = epoll_wait(epoll_, events, 64, -1);
    for (int i = 0; i < n; ++i) {
      if (events[i].data.u64 == 0) continue;
      std::function<void(uint32_t)> ready;
      {
        std::lock_guard lock(mutex_);
        const auto at = entries_.find(events[i].data.u64);
        // Not armed: a hang-up, which epoll reports unasked; arm() will see it again.
        if (at != entries_.end() && at->second.armed) {
          at->second.armed = false;
          ready = at->second.ready;
          running_ = at->first;
        }
      }
      if (!ready) continue;
      ready(events[i].events);
      ready = nullptr;
      std::lock_guard lock(mutex_);
      running_ = 0;
      quiet_.notify_all();
    }
  }
}

}  // namespace pintle::kernel

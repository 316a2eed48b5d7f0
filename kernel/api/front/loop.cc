#include "kernel/api/front/loop.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

namespace pintle::kernel {
namespace {
constexpr uint64_t kWakeKey = ~0ull;
uint64_t key_of(int fd, uint32_t generation) { return (static_cast<uint64_t>(generation) << 32) | static_cast<uint32_t>(fd); }
}  // namespace

Loop::Loop(std::function<uint64_t()> now) : now_(std::move(now)), scratch_(new char[kScratchBytes]) {}

Loop::~Loop() { stop(); }

bool Loop::start(const std::string& thread_name) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeKey;
  if (epoll_ < 0 || wake_ < 0 || epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) != 0) return false;
  // Signals belong to the main thread; SIGPIPE of a TLS write stays blocked and pending here, harmless.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  thread_id_.store(thread_.get_id(), std::memory_order_release);
  pthread_setname_np(thread_.native_handle(), thread_name.substr(0, 15).c_str());
  return true;
}

void Loop::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    if (wake_ >= 0) eventfd_write(wake_, 1);
  }
  if (thread_.joinable()) thread_.join();
  // This thread is the loop from now on. What was posted meanwhile runs here, and what is destroyed may post again.
  thread_id_.store(std::this_thread::get_id(), std::memory_order_release);
  for (;;) {
    timers_.clear();
    for (size_t fd = 0; fd < entries_.size(); ++fd) {
      const auto source = std::move(entries_[fd].source);
      entries_[fd].source = nullptr;
    }
    run_tasks();
    std::lock_guard lock(mutex_);
    if (!tasks_.empty()) continue;
    over_ = true;
    break;
  }
  thread_id_.store({}, std::memory_order_release);
  std::lock_guard lock(mutex_);
  if (epoll_ >= 0) close(epoll_);
  if (wake_ >= 0) close(wake_);
  epoll_ = wake_ = -1;
}

bool Loop::post(std::function<void()> task) {
  // A refused task dies after the lock has been released: what it holds may post again.
  std::lock_guard lock(mutex_);
  if (over_) return false;
  tasks_.push_back(std::move(task));
  if (tasks_.size() == 1 && wake_ >= 0) eventfd_write(wake_, 1);
  return true;
}

void Loop::after(uint64_t delay_ns, std::function<void()> task) {
  const uint64_t due = now_() + delay_ns;
  if (in_loop()) {
    timers_.emplace(due, std::move(task));
  } else {
    post([this, due, task = std::move(task)]() mutable { timers_.emplace(due, std::move(task)); });
  }
}

bool Loop::watch(int fd, uint32_t events, std::shared_ptr<Source> source) {
  if (static_cast<size_t>(fd) >= entries_.size()) entries_.resize(static_cast<size_t>(fd) + 64);
  Entry& entry = entries_[static_cast<size_t>(fd)];
  ++entry.generation;
  epoll_event event{};
  event.events = events;
  event.data.u64 = key_of(fd, entry.generation);
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) return false;
  entry.events = events;
  entry.source = std::move(source);
  return true;
}

void Loop::change(int fd, uint32_t events) {
  if (static_cast<size_t>(fd) >= entries_.size()) return;
  Entry& entry = entries_[static_cast<size_t>(fd)];
  if (!entry.source || entry.events == events) return;
  entry.events = events;
  epoll_event event{};
  event.events = events;
  event.data.u64 = key_of(fd, entry.generation);
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
}

void Loop::forget(int fd) {
  if (fd < 0 || static_cast<size_t>(fd) >= entries_.size()) return;
  Entry& entry = entries_[static_cast<size_t>(fd)];
  if (!entry.source) return;
  if (epoll_ >= 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  ++entry.generation;
  const auto source = std::move(entry.source);  // may be the last reference: dies after the entry is in order
  entry.source = nullptr;
}

void Loop::run_tasks() {
  std::vector<std::function<void()>> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (auto& task : tasks) {
    task();
    task = nullptr;
  }
}

int Loop::run_timers() {
  while (!timers_.empty()) {
    const uint64_t now = now_();
    const auto first = timers_.begin();
    if (first->first > now) return static_cast<int>(std::min<uint64_t>((first->first - now) / 1000000 + 1, 60000));
    const auto task = std::move(first->second);
    timers_.erase(first);
    task();
  }
  return -1;
}

void Loop::run() {
  thread_id_.store(std::this_thread::get_id(), std::memory_order_release);
  epoll_event events[256];
  for (;;) {
    int timeout = run_timers();
    bool stopping = false;
    {
      std::lock_guard lock(mutex_);
      stopping = stopping_;
      if (!tasks_.empty()) timeout = 0;
    }
    if (stopping) return run_tasks();
    const int count = epoll_wait(epoll_, events, 256, timeout);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kWakeKey) {
        eventfd_t drained;
        eventfd_read(wake_, &drained);
        continue;
      }
      const auto fd = static_cast<uint32_t>(events[i].data.u64);
      const auto generation = static_cast<uint32_t>(events[i].data.u64 >> 32);
      // A descriptor closed and reused within this batch has another generation.
      if (fd >= entries_.size() || entries_[fd].generation != generation || !entries_[fd].source) continue;
      const std::shared_ptr<Source> source = entries_[fd].source;
      source->on_ready(events[i].events);
    }
    run_tasks();
  }
}

}  // namespace pintle::kernel

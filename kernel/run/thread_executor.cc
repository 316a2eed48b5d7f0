#include "kernel/run/thread_executor.h"

#include <pthread.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <vector>
#include "kernel/run/executor.h"

namespace pintle::kernel {
namespace {

uint64_t read_clock(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return static_cast<uint64_t>(t.tv_sec) * kSecond + static_cast<uint64_t>(t.tv_nsec);
}

void from_the_system(char* at, size_t len) {
  while (len > 0) {
    const ssize_t n = getrandom(at, len, 0);
    if (n < 0) {
      if (errno == EINTR) continue;
      std::abort();  // no randomness means no keys and no names: nothing sensible can go on
    }
    at += n;
    len -= static_cast<size_t>(n);
  }
}

void name_this_thread(const std::string& name) { pthread_setname_np(pthread_self(), name.substr(0, 15).c_str()); }

}  // namespace

// Threads on one queue; starts with `start` of them and adds one whenever nobody is idle, up to `max`.
class ThreadExecutor::Pool {
 public:
  Pool(std::string name, size_t start, size_t max) : name_(std::move(name)), max_(max) {
    std::lock_guard lock(mu_);
    for (size_t i = 0; i < start; ++i) add_thread();
  }

  ~Pool() { stop(); }

  void post(Task task) {
    std::lock_guard lock(mu_);
    if (stopping_) return;
    queue_.push_back(std::move(task));
    if (queue_.size() > idle_ && threads_.size() < max_) add_thread();
    // Under the lock: the task may be what the executor's owner waits for before it destroys it.
    if (idle_ > 0) wake_.notify_one();
  }

  // Waits for running tasks; queued ones are destroyed without running. Idempotent.
  void stop() {
    {
      std::lock_guard lock(mu_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
    std::deque<Task> dropped;  // destroyed outside the lock: a task's captures may post
    std::lock_guard lock(mu_);
    dropped.swap(queue_);
  }

 private:
  void add_thread() {
    const std::string name = name_ + std::to_string(threads_.size());
    threads_.emplace_back([this, name] {
      name_this_thread(name);
      run();
    });
  }

  void run() {
    std::unique_lock lock(mu_);
    for (;;) {
      while (queue_.empty() && !stopping_) {
        ++idle_;
        wake_.wait(lock);
        --idle_;
      }
      if (stopping_) return;
      Task task = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    }
  }

  const std::string name_;
  const size_t max_;
  std::mutex mu_;
  std::condition_variable wake_;
  std::deque<Task> queue_;
  size_t idle_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

// Ordered by deadline. The timerfd is always armed for the first one; arming is done by whoever changes it.
class ThreadExecutor::Timers {
 public:
  Timers(const std::string& name, Pool& target) : target_(target), fd_(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC)) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "timerfd_create");
    thread_ = std::thread([this, name] {
      name_this_thread(name);
      run();
    });
  }

  ~Timers() {
    stop();
    close(fd_);
  }

  // Ends the thread and destroys what waits, outside the lock. Idempotent.
  void stop() {
    {
      std::lock_guard lock(mu_);
      stopping_ = true;
      arm(1);
    }
    if (thread_.joinable()) thread_.join();
    std::map<std::pair<uint64_t, TimerId>, Task> dropped;
    std::lock_guard lock(mu_);
    dropped.swap(waiting_);
    deadlines_.clear();
  }

  TimerId add(uint64_t deadline, Task task) {
    std::lock_guard lock(mu_);
    if (stopping_) return 0;
    const TimerId id = ++last_id_;
    const auto at = waiting_.emplace(std::pair(deadline, id), std::move(task)).first;
    deadlines_.emplace(id, deadline);
    if (at == waiting_.begin()) arm(deadline);
    return id;
  }

  bool cancel(TimerId id) {
    Task dropped;  // destroyed after the lock
    std::lock_guard lock(mu_);
    const auto known = deadlines_.find(id);
    if (known == deadlines_.end()) return false;
    const auto at = waiting_.find(std::pair(known->second, id));
    dropped = std::move(at->second);
    waiting_.erase(at);
    deadlines_.erase(known);
    return true;
  }

 private:
  void arm(uint64_t deadline) {
    itimerspec when{};
    when.it_value.tv_sec = static_cast<time_t>(deadline / kSecond);
    when.it_value.tv_nsec = static_cast<long>(deadline % kSecond);
    if (deadline == 0) when.it_value.tv_nsec = 1;  // all zero would disarm
    timerfd_settime(fd_, TFD_TIMER_ABSTIME, &when, nullptr);
  }

  void run() {
    for (;;) {
      uint64_t expirations = 0;
      if (read(fd_, &expirations, sizeof expirations) < 0 && errno != EINTR) std::abort();
      std::vector<Task> due;
      {
        std::lock_guard lock(mu_);
        if (stopping_) return;
        const uint64_t now = read_clock(CLOCK_BOOTTIME);
        while (!waiting_.empty() && waiting_.begin()->first.first <= now) {
          deadlines_.erase(waiting_.begin()->first.second);
          due.push_back(std::move(waiting_.begin()->second));
          waiting_.erase(waiting_.begin());
        }
        if (!waiting_.empty()) arm(waiting_.begin()->first.first);
      }
      for (Task& task : due) target_.post(std::move(task));
    }
  }

  Pool& target_;
  const int fd_;
  std::mutex mu_;
  std::map<std::pair<uint64_t, TimerId>, Task> waiting_;
  std::unordered_map<TimerId, uint64_t> deadlines_;
  TimerId last_id_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

ThreadExecutor::ThreadExecutor(const ThreadExecutorOptions& options) {
  size_t workers = options.workers;
  if (workers == 0) workers = std::max<size_t>(2, std::thread::hardware_concurrency());
  workers_ = std::make_unique<Pool>(options.name + "-w", workers, workers);
  blocking_ = std::make_unique<Pool>(options.name + "-b", 0, std::max<size_t>(1, options.max_blocking));
  timers_ = std::make_unique<Timers>(options.name + "-timer", *workers_);
}

ThreadExecutor::~ThreadExecutor() {
  // Only the threads end here; the objects stay until all of them have: a task that still runs may post anywhere.
  workers_->stop();
  blocking_->stop();
  timers_->stop();
}

void ThreadExecutor::post(Task task) { workers_->post(std::move(task)); }
void ThreadExecutor::post_blocking(Task task) { blocking_->post(std::move(task)); }

TimerId ThreadExecutor::after(uint64_t delay_ns, Task task) {
  const uint64_t start = now();
  const uint64_t deadline = delay_ns > UINT64_MAX / 2 - start ? UINT64_MAX / 2 : start + delay_ns;
  return timers_->add(deadline, std::move(task));
}

bool ThreadExecutor::cancel(TimerId id) { return timers_->cancel(id); }

uint64_t ThreadExecutor::now() const { return read_clock(CLOCK_BOOTTIME); }
int64_t ThreadExecutor::wall() const { return static_cast<int64_t>(read_clock(CLOCK_REALTIME)); }

// Ids and jitter take a few bytes, many times a second: a system call for a supply of them per thread.
void ThreadExecutor::random(void* out, size_t len) {
  thread_local struct {
    char bytes[256];
    size_t left = 0;
  } supply;
  auto* at = static_cast<char*>(out);
  if (len > sizeof supply.bytes / 4) return from_the_system(at, len);
  if (supply.left < len) {
    from_the_system(supply.bytes, sizeof supply.bytes);
    supply.left = sizeof supply.bytes;
  }
  supply.left -= len;
  memcpy(at, supply.bytes + supply.left, len);
  memset(supply.bytes + supply.left, 0, len);  // handed out once
}

}  // namespace pintle::kernel

#include "kernel/run/work_queue.h"

#include <algorithm>
#include <memory>

namespace pintle::kernel {

struct WorkQueue::State : std::enable_shared_from_this<WorkQueue::State> {
  State(Executor& e, std::function<void()> w) : executor(e), wake(std::move(w)) {}

  Executor& executor;
  std::function<void()> wake;
  mutable std::mutex mutex;
  std::deque<std::pair<std::string, uint64_t>> queue;  // key, since
  std::unordered_set<std::string> dirty;               // in the queue, or to come back into it
  std::unordered_set<std::string> working;
  std::unordered_map<std::string, uint32_t> failures;
  struct Delayed {
    TimerId timer;
    uint64_t at;
  };
  std::unordered_map<std::string, Delayed> delayed;
  bool closed = false;
  uint64_t adds = 0, retries = 0;

  // Lock held. True when somebody should look.
  bool put(const std::string& key) {
    if (closed || !dirty.insert(key).second) return false;
    ++adds;
    if (working.count(key)) return false;
    queue.emplace_back(key, executor.now());
    return true;
  }

  void later(const std::string& key, uint64_t delay) {
    std::lock_guard lock(mutex);
    if (closed) return;
    const uint64_t at = executor.now() + delay;
    const auto have = delayed.find(key);
    if (have != delayed.end()) {
      if (have->second.at <= at) return;
      executor.cancel(have->second.timer);
      delayed.erase(have);
    }
    std::weak_ptr<State> weak = weak_from_this();
    const TimerId timer = executor.after(delay, [weak, key, at] {
      auto self = weak.lock();
      if (!self) return;
      bool look = false;
      {
        std::lock_guard inner(self->mutex);
        const auto it = self->delayed.find(key);
        if (it == self->delayed.end() || it->second.at != at) return;
        self->delayed.erase(it);
        look = self->put(key);
      }
      if (look) self->wake();
    });
    delayed[key] = {timer, at};
  }
};

WorkQueue::WorkQueue(Executor& executor, std::function<void()> wake) : state_(std::make_shared<State>(executor, std::move(wake))) {}
WorkQueue::~WorkQueue() { shut_down(); }

void WorkQueue::add(const std::string& key) {
  bool look;
  {
    std::lock_guard lock(state_->mutex);
    look = state_->put(key);
  }
  if (look) state_->wake();
}

void WorkQueue::add_all(const std::vector<std::string>& keys) {
  bool look = false;
  {
    std::lock_guard lock(state_->mutex);
    for (const auto& key : keys) look |= state_->put(key);
  }
  if (look) state_->wake();
}

void WorkQueue::add_after(const std::string& key, uint64_t delay_ns) {
  if (delay_ns == 0) return add(key);
  state_->later(key, delay_ns);
}

std::vector<std::string> WorkQueue::take(size_t max) {
  std::lock_guard lock(state_->mutex);
  std::vector<std::string> out;
  if (state_->closed) return out;
  while (out.size() < max && !state_->queue.empty()) {
    std::string key = std::move(state_->queue.front().first);
    state_->queue.pop_front();
    state_->dirty.erase(key);
    state_->working.insert(key);
    out.push_back(std::move(key));
  }
  return out;
}

void WorkQueue::finish(const std::string& key) {
  bool look = false;
  {
    std::lock_guard lock(state_->mutex);
    state_->failures.erase(key);
    state_->working.erase(key);
    if (!state_->closed && state_->dirty.count(key)) {
      state_->queue.emplace_back(key, state_->executor.now());
      look = true;
    }
  }
  if (look) state_->wake();
}

void WorkQueue::retry(const std::string& key) {
  uint64_t delay;
  bool look = false;
  {
    std::lock_guard lock(state_->mutex);
    const uint32_t n = std::min<uint32_t>(state_->failures[key]++, 30);
    delay = std::min(kLastBackoffNs, kFirstBackoffNs << std::min<uint32_t>(n, 20));
    uint32_t random = 0;
    state_->executor.random(&random, sizeof random);
    delay += delay / 10 * (random % 1000) / 1000;
    ++state_->retries;
    state_->working.erase(key);
    // Something has changed meanwhile: that is news, not a repetition.
    if (!state_->closed && state_->dirty.count(key)) {
      state_->queue.emplace_back(key, state_->executor.now());
      look = true;
    }
  }
  if (look) state_->wake();
  else state_->later(key, delay);
}

void WorkQueue::shut_down() {
  std::lock_guard lock(state_->mutex);
  state_->closed = true;
  for (auto& [key, d] : state_->delayed) state_->executor.cancel(d.timer);
  state_->delayed.clear();
  state_->queue.clear();
  state_->dirty.clear();
}

bool WorkQueue::idle() const {
  std::lock_guard lock(state_->mutex);
  return state_->working.empty();
}

size_t WorkQueue::waiting() const {
  std::lock_guard lock(state_->mutex);
  return state_->queue.size();
}

json::Value WorkQueue::metrics() const {
  std::lock_guard lock(state_->mutex);
  const uint64_t oldest = state_->queue.empty() ? 0 : state_->executor.now() - state_->queue.front().second;
  return json::Value::object({{"depth", state_->queue.size()},
                              {"working", state_->working.size()},
                              {"delayed", state_->delayed.size()},
                              {"adds", state_->adds},
                              {"retries", state_->retries},
                              {"oldestSeconds", static_cast<double>(oldest) / 1e9}});
}

}  // namespace pintle::kernel

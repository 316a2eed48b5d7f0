// What all parts of one agent share.
//
// Threads: the members are safe from any thread.
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "agent_config.h"
#include "pintle/event_recorder.h"
#include "pintle/host.h"
#include "pintle/http_client.h"

namespace pintle::node_agent {

// Timers and descriptors that wait on behalf of nobody who could be destroyed first: stop() ends them.
class Pending {
 public:
  uint64_t add(std::function<void()> end) {
    std::lock_guard lock(mutex_);
    ends_[++last_] = std::move(end);
    return last_;
  }
  void remove(uint64_t id) {
    std::function<void()> dropped;
    std::lock_guard lock(mutex_);
    const auto it = ends_.find(id);
    if (it == ends_.end()) return;
    dropped = std::move(it->second);
    ends_.erase(it);
  }
  void end_all() {
    std::map<uint64_t, std::function<void()>> all;
    {
      std::lock_guard lock(mutex_);
      all.swap(ends_);
    }
    for (auto& [id, end] : all) end();
  }

 private:
  std::mutex mutex_;
  std::map<uint64_t, std::function<void()>> ends_;
  uint64_t last_ = 0;
};

// Actions that began and have not ended. Any thread.
class InHand {
 public:
  // One more; it ends with the last copy of what is returned, which goes into the callback.
  [[nodiscard]] std::shared_ptr<void> begin() {
    {
      std::lock_guard lock(mutex_);
      ++count_;
    }
    return {this, [](InHand* in) { in->end(); }};
  }
  bool none() const {
    std::lock_guard lock(mutex_);
    return count_ == 0;
  }
  // Calls `fn` once, when there is none: at once or on the thread that ends the last. Replaces an earlier one.
  void when_none(std::function<void()> fn) {
    {
      std::lock_guard lock(mutex_);
      if (count_ > 0) {
        when_none_ = std::move(fn);
        return;
      }
    }
    fn();
  }

 private:
  void end() {
    std::function<void()> fn;
    {
      std::lock_guard lock(mutex_);
      if (--count_ == 0) fn = std::exchange(when_none_, nullptr);
    }
    if (fn) fn();
  }

  mutable std::mutex mutex_;
  size_t count_ = 0;
  std::function<void()> when_none_;
};

struct Context {
  Context(const Host& h, AgentConfig c) : host(h), config(std::move(c)), events(h, "node-agent"), http(h) {}
  const Host host;
  const AgentConfig config;
  EventRecorder events;
  HttpClient http;
  Pending pending;
  std::atomic<bool> draining{false};  // no new action begins
  InHand in_hand;
};

}  // namespace pintle::node_agent

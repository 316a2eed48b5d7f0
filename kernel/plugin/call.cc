#include "kernel/plugin/call.h"

#include <unistd.h>

#include <array>
#include <optional>
#include <utility>
#include <unordered_map>

#include "kernel/base/log.h"

namespace pintle::kernel {
namespace {

constexpr size_t kPartBudget = 1u << 20;  // queued bytes; beyond it emit() says WOULD_BLOCK

// All open calls of the process, by number.
struct Table {
  struct Shard {
    std::mutex mutex;
    std::unordered_map<uint64_t, std::shared_ptr<CallState>> calls;
  };
  std::array<Shard, 32> shards;
  std::atomic<uint64_t> next{1};
  Shard& shard(uint64_t id) { return shards[id % shards.size()]; }
};

Table& table() {
  static auto* t = new Table;  // never destroyed: late answers may come while the process ends
  return *t;
}

void release(pintle_buf b) {
  if (b.release) b.release(b.owner, b.ptr, b.len);
}

void close_all(std::vector<int>& fds) {
  for (const int fd : fds)
    if (fd >= 0) ::close(fd);
  fds.clear();
}

}  // namespace

void CallScope::cancel_all() {
  std::vector<std::shared_ptr<CallState>> all;
  {
    std::lock_guard lock(mutex);
    for (auto& [id, weak] : open)
      if (auto call = weak.lock()) all.push_back(std::move(call));
  }
  for (auto& call : all) call->give_up(Error(PINTLE_UNAVAILABLE, "plugin \"" + plugin + "\" is being stopped"));
}

CallState::CallState(std::shared_ptr<CallScope> scope, Invoke call) : scope_(std::move(scope)), call_(std::move(call)) {}

CallState::~CallState() {
  close_all(call_.fds);
  close_all(out_fds_);
  if (result_ && result_->ok()) close_all((*result_)->fds);
}

std::shared_ptr<CallState> CallState::make(std::shared_ptr<CallScope> scope, Invoke call) {
  std::shared_ptr<CallState> c(new CallState(std::move(scope), std::move(call)));
  c->id_ = table().next.fetch_add(1);
  c->scope_->traffic.add(Traffic::kOpen);
  ++c->scope_->calls;
  {
    std::lock_guard lock(c->scope_->mutex);
    c->scope_->open.emplace(c->id_, c);
  }
  auto& shard = table().shard(c->id_);
  {
    std::lock_guard lock(shard.mutex);
    shard.calls.emplace(c->id_, c);
  }
  if (c->call_.deadline != 0 && c->call_.deadline != UINT64_MAX) {
    const uint64_t now = c->scope_->executor->now();
    std::weak_ptr<CallState> weak = c;
    c->timer_ = c->scope_->executor->after(c->call_.deadline > now ? c->call_.deadline - now : 0, [weak] {
      if (auto call_state = weak.lock()) {
        ++call_state->scope_->timeouts;
        call_state->give_up(Error(PINTLE_TIMEOUT, "plugin \"" + call_state->scope_->plugin + "\" did not answer in time"));
      }
    });
  }
  return c;
}

std::shared_ptr<CallState> CallState::find(const pintle_call* handle) {
  const auto id = reinterpret_cast<uint64_t>(handle);
  auto& shard = table().shard(id);
  std::lock_guard lock(shard.mutex);
  const auto at = shard.calls.find(id);
  return at == shard.calls.end() ? nullptr : at->second;
}

bool CallState::begin() {
  {
    std::lock_guard lock(mutex_);
    if (!cancelled_) return true;
    settled_ = true;
  }
  settle();
  return false;
}

void CallState::refuse(Error error) {
  {
    std::lock_guard lock(mutex_);
    if (settled_) return;
    settled_ = true;
    answer(std::move(error));
  }
  settle();
}

void CallState::settle() {
  if (timer_) scope_->executor->cancel(timer_);
  {
    std::lock_guard lock(scope_->mutex);
    scope_->open.erase(id_);
  }
  std::shared_ptr<CallState> keep;
  auto& shard = table().shard(id_);
  {
    std::lock_guard lock(shard.mutex);
    const auto at = shard.calls.find(id_);
    if (at != shard.calls.end()) {
      keep = std::move(at->second);
      shard.calls.erase(at);
    }
  }
  scope_->traffic.remove(Traffic::kOpen);
}

void CallState::answer(Result<Reply> result) {
  if (answered_) {
    if (result) close_all(result->fds);
    return;
  }
  answered_ = true;
  if (!result && result.error().code != PINTLE_CANCELLED) ++scope_->failures;
  result_ = std::make_unique<Result<Reply>>(std::move(result));
  schedule();
}

void CallState::schedule() {
  if (delivering_ || delivered_) return;
  delivering_ = true;
  scope_->executor->post([self = shared_from_this()] { self->deliver(); });
}

void CallState::deliver() {
  for (;;) {
    std::string part;
    bool have_part = false;
    std::unique_ptr<Result<Reply>> result;
    pintle_task_fn ready = nullptr;
    void* ready_ctx = nullptr;
    // Before the function is taken: once it is, complete() cannot take it back, and the call may no longer be open.
    std::optional<Traffic::Inside> inside(std::in_place, scope_->traffic, false);
    {
      std::lock_guard lock(mutex_);
      if (!parts_.empty() && !paused_ && !(answered_ && cancelled_)) {
        part = std::move(parts_.front());
        parts_.pop_front();
        part_bytes_ -= part.size();
        have_part = true;
        resumed_ = false;
        if (ready_fn_ && part_bytes_ < kPartBudget / 2) {
          std::swap(ready, ready_fn_);
          ready_ctx = ready_ctx_;
        }
      } else if (result_ && (parts_.empty() || cancelled_)) {
        result = std::move(result_);
        delivered_ = true;
        parts_.clear();
      } else {
        if (ready_fn_ && !paused_ && !settled_) {
          std::swap(ready, ready_fn_);
          ready_ctx = ready_ctx_;
        }
        delivering_ = false;
        if (!ready) return;
      }
    }
    if (ready) {
      ready(ready_ctx);
      if (!have_part) return;
    }
    inside.reset();
    if (result) {
      auto done = std::move(call_.done);
      call_.part = nullptr;
      if (done) done(std::move(*result));
      return;
    }
    if (call_.part && !call_.part(part)) {
      std::lock_guard lock(mutex_);
      part_bytes_ += part.size();
      parts_.push_front(std::move(part));
      paused_ = !resumed_;
    }
  }
}

void CallState::resume() {
  std::lock_guard lock(mutex_);
  paused_ = false;
  resumed_ = true;  // also when it comes before deliver() has noticed that the part was not taken
  schedule();
}

void CallState::cancel() { give_up(Error(PINTLE_CANCELLED, "the caller gave up")); }

void CallState::give_up(Error error) {
  {
    std::lock_guard lock(mutex_);
    if (settled_ || cancelled_) return;
    cancelled_ = true;
    answer(std::move(error));
    if (!cancel_fn_) return;
  }
  scope_->executor->post([self = shared_from_this()] { self->run_cancel(); });
}

void CallState::run_cancel() {
  pintle_task_fn fn = nullptr;
  void* ctx = nullptr;
  Traffic::Inside inside(scope_->traffic, false);
  {
    std::lock_guard lock(mutex_);
    if (settled_ || !cancel_fn_) return;
    std::swap(fn, cancel_fn_);
    ctx = cancel_ctx_;
    cancel_running_ = true;
    cancel_thread_ = std::this_thread::get_id();
  }
  fn(ctx);
  {
    std::lock_guard lock(mutex_);
    cancel_running_ = false;
  }
  changed_.notify_all();
}

void CallState::complete(pintle_code code, const pintle_error* error, pintle_buf reply) {
  Reply out;
  if (code == PINTLE_OK && reply.len) out.body.assign(reply.ptr, reply.len);
  release(reply);
  {
    std::unique_lock lock(mutex_);
    if (settled_) {
      lock.unlock();
      log::error("plugin", "\"" + scope_->plugin + "\" answered a call twice");
      return;
    }
    settled_ = true;
    // on_cancel's function never runs after this returns: wait for one that is running on another thread.
    changed_.wait(lock, [&] { return !cancel_running_ || cancel_thread_ == std::this_thread::get_id(); });
    cancel_fn_ = ready_fn_ = nullptr;
    if (code == PINTLE_OK) {
      out.fds = std::move(out_fds_);
      out_fds_.clear();
      answer(std::move(out));
    } else {
      close_all(out_fds_);
      answer(Error::from_c(code, error));
    }
  }
  settle();
}

bool CallState::emit(pintle_buf part) {
  {
    std::lock_guard lock(mutex_);
    if (!settled_ && !cancelled_) {
      if (paused_ || part_bytes_ >= kPartBudget) return false;
      parts_.emplace_back(part.ptr, part.len);
      part_bytes_ += part.len;
      schedule();
    }
  }
  release(part);
  return true;
}

struct CallState::Api {
  static void complete(pintle_call* handle, pintle_code code, const pintle_error* error, pintle_buf reply) {
    if (auto c = find(handle)) return c->complete(code, error, reply);
    release(reply);
    log::error("plugin", "a call was answered that is not open: answered twice, or by an instance that is gone");
  }
  static bool emit(pintle_call* handle, pintle_buf part) {
    if (auto c = find(handle)) return c->emit(part);
    release(part);
    return true;
  }
  static void on_ready(pintle_call* handle, pintle_task_fn fn, void* ctx) {
    if (auto c = find(handle)) {
      std::lock_guard lock(c->mutex_);
      c->ready_fn_ = fn;
      c->ready_ctx_ = ctx;
      c->schedule();
    }
  }
  static void on_cancel(pintle_call* handle, pintle_task_fn fn, void* ctx) {
    auto c = find(handle);
    if (!c) return;
    bool now;
    {
      std::lock_guard lock(c->mutex_);
      now = c->cancelled_;
      c->cancel_fn_ = fn;
      c->cancel_ctx_ = ctx;
    }
    if (now) c->run_cancel();
  }
  static bool cancelled(const pintle_call* handle) {
    auto c = find(handle);
    if (!c) return true;
    std::lock_guard lock(c->mutex_);
    return c->cancelled_;
  }
  static uint64_t deadline(const pintle_call* handle) {
    auto c = find(handle);
    return c && c->call_.deadline != UINT64_MAX ? c->call_.deadline : 0;
  }
  static int take_fd(pintle_call* handle, uint32_t index) {
    auto c = find(handle);
    if (!c) return -1;
    std::lock_guard lock(c->mutex_);
    return index < c->call_.fds.size() ? std::exchange(c->call_.fds[index], -1) : -1;
  }
  static void give_fd(pintle_call* handle, int fd) {
    if (auto c = find(handle)) {
      std::lock_guard lock(c->mutex_);
      c->out_fds_.push_back(fd);
    } else {
      ::close(fd);
    }
  }
};

const pintle_call_api* CallState::api() {
  static constexpr pintle_call_api kApi{sizeof(pintle_call_api), Api::complete, Api::emit,    Api::on_ready, Api::on_cancel,
                                        Api::cancelled,          Api::deadline, Api::take_fd, Api::give_fd};
  return &kApi;
}

}  // namespace pintle::kernel

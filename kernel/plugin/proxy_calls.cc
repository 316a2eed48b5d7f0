#include "kernel/plugin/proxy_calls.h"

namespace pintle::kernel {
namespace {

constexpr size_t kMaxServed = 65536;  // calls that one end may have open at the other
constexpr size_t kEnvelope = 4096;    // of a frame around its body

pintle_error to_c(const Error& error) {
  pintle_error e{};
  e.size = sizeof e;
  error.to_c(&e);
  return e;
}

}  // namespace

// ---------------------------------------------------------------- the end that asks

struct RemoteCaller::Remote {
  uint64_t id = 0;
  std::weak_ptr<RemoteCaller> owner;
  std::shared_ptr<CallState> call;
  std::mutex mutex;
  std::deque<std::string> pending;  // refused by the call's own queue: its receiver is slow
  int64_t outstanding = 0;          // bytes of parts that came and were not taken
  int64_t owed = 0;                 // taken, credit not sent yet
  std::unique_ptr<Result<Reply>> result;  // came while parts were pending
  bool finished = false;
};

std::shared_ptr<CallState> RemoteCaller::call(const std::string& slot, Invoke invoke) {
  auto remote = std::make_shared<Remote>();
  remote->owner = weak_from_this();
  const bool parts = invoke.part != nullptr;
  if (parts)
    invoke.part = [weak = std::weak_ptr<Remote>(remote), part = std::move(invoke.part)](std::string_view text) {
      if (!part(text)) return false;
      if (auto r = weak.lock())
        if (auto owner = r->owner.lock()) owner->taken(r, text.size());
      return true;
    };
  std::string request = std::move(invoke.request);
  OwnedFds fds(std::move(invoke.fds));
  invoke.fds.clear();
  Writer w;
  w.text(slot);
  w.text(invoke.interface_id);
  w.u32(invoke.method);
  w.u64(invoke.deadline);
  w.u8(parts);
  const bool fits = request.size() + slot.size() + invoke.interface_id.size() + kEnvelope <= kMaxPayload;
  if (fits) w.text(request);
  remote->call = CallState::make(scope_, std::move(invoke));
  std::unique_ptr<Error> refusal;
  {
    std::lock_guard lock(mutex_);
    if (ended_) {
      refusal = std::make_unique<Error>(*ended_);
    } else if (!fits) {
      refusal = std::make_unique<Error>(PINTLE_TOO_LARGE, "the request is too large for a plugin in its own process: " + std::to_string(request.size()) + " bytes");
    } else if (fds.get().size() > kMaxFrameFds) {
      refusal = std::make_unique<Error>(PINTLE_INVALID, "more than " + std::to_string(kMaxFrameFds) + " descriptors in one request");
    } else {
      remote->id = next_++;
      open_.emplace(remote->id, remote);
    }
  }
  if (refusal) {
    finish(remote, *refusal);
    return remote->call;
  }
  const pintle_call_api* api = CallState::api();
  api->on_cancel(remote->call->handle(), on_cancel, remote.get());
  if (!channel_->send(FrameType::kCall, remote->id, std::move(w), fds.take()))
    finish(remote, Error(PINTLE_UNAVAILABLE, "the connection to the other process is closed"));
  else if (api->cancelled(remote->call->handle()))
    channel_->send(FrameType::kCallCancel, remote->id);  // the first one may have gone before the call itself
  return remote->call;
}

// The remote lives until complete() has returned, and this never runs after that.
void RemoteCaller::on_cancel(void* ctx) {
  auto* raw = static_cast<Remote*>(ctx);
  auto owner = raw->owner.lock();
  if (!owner) return;
  owner->channel_->send(FrameType::kCallCancel, raw->id);
  if (auto remote = owner->find(raw->id)) owner->scope_->executor->post([owner, remote] { owner->flush(remote); });
}

std::shared_ptr<RemoteCaller::Remote> RemoteCaller::find(uint64_t id) {
  std::lock_guard lock(mutex_);
  const auto at = open_.find(id);
  return at == open_.end() ? nullptr : at->second;
}

bool RemoteCaller::on_part(Frame frame) {
  auto remote = find(frame.id);
  if (!remote) return true;  // answered meanwhile
  {
    std::lock_guard lock(remote->mutex);
    if (remote->result) return false;
    // One part may go over the window.
    if (remote->outstanding > kCallWindow) return false;
    remote->outstanding += static_cast<int64_t>(frame.payload.size());
    remote->pending.push_back(std::move(frame.payload));
  }
  flush(remote);
  return true;
}

void RemoteCaller::flush(const std::shared_ptr<Remote>& remote) {
  std::unique_ptr<Result<Reply>> result;
  {
    std::lock_guard lock(remote->mutex);
    if (remote->finished) return;
    while (!remote->pending.empty()) {
      auto* part = new std::string(std::move(remote->pending.front()));
      const pintle_buf buf{part->data(), part->size(), [](void* o, const char*, size_t) { delete static_cast<std::string*>(o); }, part};
      if (!CallState::api()->emit(remote->call->handle(), buf)) {
        remote->pending.front() = std::move(*part);
        delete part;
        return;  // taken() comes back here
      }
      remote->pending.pop_front();
    }
    result = std::move(remote->result);
  }
  if (result) finish(remote, std::move(*result));
}

void RemoteCaller::taken(const std::shared_ptr<Remote>& remote, size_t bytes) {
  int64_t credit = 0;
  {
    std::lock_guard lock(remote->mutex);
    remote->outstanding -= static_cast<int64_t>(bytes);
    remote->owed += static_cast<int64_t>(bytes);
    if (remote->owed >= kCallWindow / 4 || remote->outstanding == 0) credit = std::exchange(remote->owed, 0);
  }
  if (credit > 0) {
    Writer w;
    w.u64(static_cast<uint64_t>(credit));
    channel_->send(FrameType::kCallCredit, remote->id, std::move(w));
  }
  flush(remote);
}

bool RemoteCaller::on_done(Frame frame) {
  Reader r(frame.payload);
  Error error = get_error(r);
  const std::string_view body = r.text();
  if (!r.at_end()) return false;
  auto remote = find(frame.id);
  if (!remote) return true;
  {
    std::lock_guard lock(remote->mutex);
    if (remote->result) return false;
    if (error.code == PINTLE_OK) remote->result = std::make_unique<Result<Reply>>(Reply{std::string(body), frame.fds.take()});
    else remote->result = std::make_unique<Result<Reply>>(std::move(error));
  }
  flush(remote);
  return true;
}

void RemoteCaller::finish(const std::shared_ptr<Remote>& remote, Result<Reply> result) {
  {
    std::lock_guard lock(remote->mutex);
    if (std::exchange(remote->finished, true)) {
      if (result) OwnedFds discard(std::move(result->fds));
      return;
    }
    remote->pending.clear();
  }
  const pintle_call_api* api = CallState::api();
  pintle_call* handle = remote->call->handle();
  if (result) {
    for (const int fd : result->fds) api->give_fd(handle, fd);
    api->complete(handle, PINTLE_OK, nullptr, owned(std::move(result->body)));
  } else {
    const pintle_error e = to_c(result.error());
    api->complete(handle, result.error().code, &e, {});
  }
  std::lock_guard lock(mutex_);
  open_.erase(remote->id);
}

void RemoteCaller::end(const Error& why) {
  std::vector<std::shared_ptr<Remote>> all;
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    ended_ = std::make_unique<Error>(why);
    for (auto& [id, remote] : open_) all.push_back(remote);
  }
  for (auto& remote : all) finish(remote, why);
}

// ---------------------------------------------------------------- the end that answers

struct RemoteCallee::Served {
  std::mutex mutex;
  std::shared_ptr<OpenCall> open;
  int64_t credit = kCallWindow;
  bool paused = false, cancelled = false, too_large = false;
};

std::shared_ptr<RemoteCallee::Served> RemoteCallee::find(uint64_t id) {
  std::lock_guard lock(mutex_);
  const auto at = open_.find(id);
  return at == open_.end() ? nullptr : at->second;
}

bool RemoteCallee::on_call(Frame frame) {
  Reader r(frame.payload);
  const std::string slot = r.string();
  Invoke invoke;
  invoke.interface_id = r.string();
  invoke.method = r.u32();
  invoke.deadline = r.u64();
  const bool parts = r.u8() != 0;
  invoke.request = r.string();
  if (!r.at_end()) return false;
  invoke.fds = frame.fds.take();
  const uint64_t id = frame.id;
  auto served = std::make_shared<Served>();
  Target target;
  {
    std::lock_guard lock(mutex_);
    if (!target_) return true;
    if (open_.size() >= kMaxServed || !open_.emplace(id, served).second) return false;
    target = target_;
  }
  const std::weak_ptr<RemoteCallee> weak = weak_from_this();
  if (parts)
    invoke.part = [channel = channel_, served, id](std::string_view text) {
      std::shared_ptr<OpenCall> too_large;
      {
        std::lock_guard lock(served->mutex);
        if (served->cancelled || served->too_large) return true;
        if (served->credit <= 0) {
          served->paused = true;
          return false;
        }
        if (text.size() + kEnvelope > kMaxPayload) {
          served->too_large = true;
          too_large = served->open;
        } else {
          served->credit -= static_cast<int64_t>(text.size());
        }
      }
      if (text.size() + kEnvelope > kMaxPayload) {
        if (too_large) too_large->cancel();
        return true;
      }
      Writer w;
      w.append(text);
      channel->send(FrameType::kPart, id, std::move(w));
      return true;
    };
  invoke.done = [weak, served, id](Result<Reply> result) {
    if (auto self = weak.lock()) self->done(id, served, std::move(result));
    else if (result) OwnedFds discard(std::move(result->fds));
  };
  auto open = target(slot, std::move(invoke));
  bool cancel, resume;
  {
    std::lock_guard lock(served->mutex);
    served->open = open;
    cancel = served->cancelled || served->too_large;
    resume = served->paused && served->credit > 0;
    if (resume) served->paused = false;
  }
  if (open && cancel) open->cancel();
  if (open && resume) open->resume();
  return true;
}

void RemoteCallee::done(uint64_t id, const std::shared_ptr<Served>& served, Result<Reply> result) {
  {
    std::lock_guard lock(mutex_);
    open_.erase(id);
  }
  bool too_large;
  {
    std::lock_guard lock(served->mutex);
    too_large = served->too_large;
    served->open = nullptr;
  }
  OwnedFds fds;
  if (result) fds = OwnedFds(std::move(result->fds));
  if (result && result->body.size() + kEnvelope > kMaxPayload) too_large = true;
  Error error;
  error.code = PINTLE_OK;
  if (too_large) error = Error(PINTLE_TOO_LARGE, "the answer is too large for a call between processes");
  else if (!result) error = result.error();
  else if (fds.get().size() > kMaxFrameFds) error = Error(PINTLE_INVALID, "more than " + std::to_string(kMaxFrameFds) + " descriptors in one answer");
  Writer w;
  put(w, error);
  w.text(error.code == PINTLE_OK ? std::string_view(result->body) : std::string_view());
  channel_->send(FrameType::kDone, id, std::move(w), error.code == PINTLE_OK ? fds.take() : std::vector<int>());
}

bool RemoteCallee::on_credit(const Frame& frame) {
  Reader r(frame.payload);
  const uint64_t bytes = r.u64();
  if (!r.at_end() || bytes > 2 * kMaxPayload) return false;
  auto served = find(frame.id);
  if (!served) return true;
  std::shared_ptr<OpenCall> open;
  {
    std::lock_guard lock(served->mutex);
    // More than was ever sent cannot have been taken.
    served->credit += static_cast<int64_t>(bytes);
    if (served->credit > kCallWindow) return false;
    if (served->paused && served->credit > 0 && served->open) {
      served->paused = false;
      open = served->open;
    }
  }
  if (open) open->resume();
  return true;
}

bool RemoteCallee::on_cancel(const Frame& frame) {
  auto served = find(frame.id);
  if (!served) return true;
  std::shared_ptr<OpenCall> open;
  {
    std::lock_guard lock(served->mutex);
    served->cancelled = true;
    open = served->open;
  }
  if (open) open->cancel();
  return true;
}

size_t RemoteCallee::open() const {
  std::lock_guard lock(mutex_);
  return open_.size();
}

void RemoteCallee::end() {
  std::vector<std::shared_ptr<Served>> all;
  Target gone;
  {
    std::lock_guard lock(mutex_);
    gone = std::move(target_);
    target_ = nullptr;
    for (auto& [id, served] : open_) all.push_back(served);
  }
  for (auto& served : all) {
    std::shared_ptr<OpenCall> open;
    {
      std::lock_guard lock(served->mutex);
      served->cancelled = true;
      open = served->open;
    }
    if (open) open->cancel();
  }
}

}  // namespace pintle::kernel

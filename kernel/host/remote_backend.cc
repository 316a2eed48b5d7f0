#include "kernel/host/remote_backend.h"

#include <algorithm>
#include <deque>

namespace pintle::kernel {
namespace {

std::shared_ptr<CallScope> scope_for(Executor& executor, const std::string& plugin) {
  auto scope = std::make_shared<CallScope>();
  scope->plugin = plugin;
  scope->executor = &executor;
  return scope;
}

}  // namespace

// Events that came and were not taken. `wake` runs under the mutex, so that none runs after the feed is gone; it may end
// the feed on its own thread, therefore recursive.
struct RemoteBackend::Watching {
  std::recursive_mutex mutex;
  std::deque<WatchEvent> events;
  std::function<void()> wake;
};

class RemoteBackend::RemoteFeed final : public WatchFeed {
 public:
  RemoteFeed(std::shared_ptr<RemoteBackend> owner, uint64_t id, std::shared_ptr<Watching> state)
      : owner_(std::move(owner)), id_(id), state_(std::move(state)) {}
  ~RemoteFeed() override {
    {
      std::lock_guard lock(owner_->mutex_);
      owner_->watches_.erase(id_);
    }
    {
      std::lock_guard lock(state_->mutex);
      state_->wake = nullptr;
    }
    owner_->channel_->send(FrameType::kUnwatch, id_);
  }
  std::vector<WatchEvent> take(size_t max) override {
    std::vector<WatchEvent> out;
    bool empty;
    {
      std::lock_guard lock(state_->mutex);
      while (!state_->events.empty() && out.size() < max) {
        out.push_back(std::move(state_->events.front()));
        state_->events.pop_front();
      }
      empty = state_->events.empty();
    }
    owed_ += static_cast<uint32_t>(out.size());
    if (owed_ > 0 && (empty || owed_ >= kWatchWindow / 2)) {
      Writer w;
      w.u32(std::exchange(owed_, 0));
      owner_->channel_->send(FrameType::kWatchCredit, id_, std::move(w));
    }
    return out;
  }

 private:
  const std::shared_ptr<RemoteBackend> owner_;
  const uint64_t id_;
  const std::shared_ptr<Watching> state_;
  uint32_t owed_ = 0;
};

RemoteBackend::RemoteBackend(Executor& executor, std::shared_ptr<Channel> channel, const std::string& plugin)
    : executor_(executor), channel_(std::move(channel)), caller_(std::make_shared<RemoteCaller>(scope_for(executor, plugin), channel_)) {}

void RemoteBackend::log(int level, std::string_view text, std::string_view fields) {
  if (level < level_) return;
  Writer w;
  w.u8(static_cast<uint8_t>(level));
  w.text(text);
  w.text(fields);
  channel_->send(FrameType::kLog, 0, std::move(w));
}

void RemoteBackend::report(int health, std::string_view message) {
  Writer w;
  w.u8(static_cast<uint8_t>(health));
  w.text(message);
  channel_->send(FrameType::kReport, 0, std::move(w));
}

Error RemoteBackend::ask(FrameType type, Writer w, std::function<void(Reader&)> read, std::function<void(Reader&)> part, uint64_t* id_out) {
  auto asked = std::make_shared<Asked>();
  asked->read = std::move(read);
  asked->part = std::move(part);
  const uint64_t id = id_out ? *id_out : next_++;
  {
    std::lock_guard lock(mutex_);
    asked_.emplace(id, asked);
  }
  if (!channel_->send(type, id, std::move(w))) {
    std::lock_guard lock(mutex_);
    asked_.erase(id);
    return Error(PINTLE_TOO_LARGE, "too large a question for another process");
  }
  std::unique_lock lock(mutex_);
  answered_.wait(lock, [&] { return asked->answered; });
  return asked->error;
}

Result<ObjectRef> RemoteBackend::get(const Key& key) {
  Writer w;
  w.text(key.kind);
  w.text(key.ns);
  w.text(key.name);
  ObjectRef object;
  const Error error = ask(FrameType::kGet, std::move(w), [&](Reader& r) { object = get_object(r); });
  if (error.code != PINTLE_OK) return error;
  return object;
}

Result<Listed> RemoteBackend::list(const StoreQuery& query) {
  Writer w;
  put(w, query);
  Listed out;
  const Error error = ask(
      FrameType::kList, std::move(w),
      [&](Reader& r) {
        out.revision = r.u64();
        out.continue_token = r.string();
      },
      [&](Reader& r) {
        for (uint32_t n = r.count(1); n > 0 && r.ok(); --n) out.objects.push_back(get_object(r));
      });
  if (error.code != PINTLE_OK) return error;
  return out;
}

Result<std::unique_ptr<WatchFeed>> RemoteBackend::watch(const StoreQuery& query, std::function<void()> wake) {
  auto state = std::make_shared<Watching>();
  state->wake = std::move(wake);
  uint64_t id = next_++;
  {
    std::lock_guard lock(mutex_);
    watches_.emplace(id, state);  // events may come before the answer is looked at
  }
  Writer w;
  put(w, query);
  const Error error = ask(FrameType::kWatch, std::move(w), [](Reader&) {}, {}, &id);
  if (error.code != PINTLE_OK) {
    std::lock_guard lock(mutex_);
    watches_.erase(id);
    return error;
  }
  return std::unique_ptr<WatchFeed>(new RemoteFeed(shared_from_this(), id, std::move(state)));
}

void RemoteBackend::commit(std::vector<StoreOp> ops, std::vector<FenceCheck> fences, uint32_t flags,
                           std::function<void(pintle_code, std::vector<StoreOpResult>)> done) {
  Writer w;
  w.u32(static_cast<uint32_t>(ops.size()));
  for (const auto& op : ops) put(w, op);
  w.u32(static_cast<uint32_t>(fences.size()));
  for (const auto& f : fences) {
    w.text(f.slot);
    w.u64(f.epoch);
  }
  w.u32(flags);
  const uint64_t id = next_++;
  {
    std::lock_guard lock(mutex_);
    commits_.emplace(id, std::move(done));
  }
  if (channel_->send(FrameType::kCommit, id, std::move(w))) return;
  {
    std::lock_guard lock(mutex_);
    const auto at = commits_.find(id);
    done = std::move(at->second);
    commits_.erase(at);
  }
  std::vector<StoreOpResult> results(ops.size());
  for (auto& r : results) r.error = Error(PINTLE_TOO_LARGE, "too large a commit for a plugin in its own process");
  executor_.post([done, results = std::move(results)]() mutable { done(PINTLE_TOO_LARGE, std::move(results)); });
}

uint64_t RemoteBackend::epoch(const std::string& slot) {
  Writer w;
  w.text(slot);
  uint64_t out = 0;
  (void)ask(FrameType::kEpoch, std::move(w), [&](Reader& r) { out = r.u64(); });
  return out;
}

bool RemoteBackend::on_frame(Frame frame) {
  Reader r(frame.payload);
  switch (frame.type) {
    case FrameType::kLevel:
      level_ = r.u8();
      return r.at_end();
    case FrameType::kPart: return caller_->on_part(std::move(frame));
    case FrameType::kDone: return caller_->on_done(std::move(frame));
    case FrameType::kEvents: {
      std::shared_ptr<Watching> state;
      {
        std::lock_guard lock(mutex_);
        const auto at = watches_.find(frame.id);
        if (at == watches_.end()) return true;
        state = at->second;
      }
      std::lock_guard lock(state->mutex);
      for (uint32_t n = r.count(1); n > 0 && r.ok(); --n) state->events.push_back(get_event(r));
      if (state->wake) state->wake();
      return r.at_end();
    }
    case FrameType::kListPart: {
      std::lock_guard lock(mutex_);
      const auto at = asked_.find(frame.id);
      if (at == asked_.end() || !at->second->part) return false;
      at->second->part(r);
      return r.at_end();
    }
    case FrameType::kAnswer: {
      Error error = get_error(r);
      std::function<void(pintle_code, std::vector<StoreOpResult>)> done;
      {
        std::lock_guard lock(mutex_);
        if (const auto at = asked_.find(frame.id); at != asked_.end()) {
          Asked& asked = *at->second;
          if (error.code == PINTLE_OK) asked.read(r);
          asked.error = std::move(error);
          asked.answered = true;
          asked_.erase(at);
          answered_.notify_all();
          return r.at_end();
        }
        const auto at = commits_.find(frame.id);
        if (at == commits_.end()) return false;
        done = std::move(at->second);
        commits_.erase(at);
      }
      const auto code = static_cast<pintle_code>(r.u32());
      auto results = std::make_shared<std::vector<StoreOpResult>>();
      for (uint32_t n = r.count(5); n > 0 && r.ok(); --n) {
        StoreOpResult one;
        one.error = get_error(r);
        one.object = get_object(r);
        results->push_back(std::move(one));
      }
      executor_.post([done, code, results] { done(code, std::move(*results)); });
      return r.at_end();
    }
    default: return false;
  }
}

}  // namespace pintle::kernel

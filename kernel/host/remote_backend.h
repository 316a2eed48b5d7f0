// The host services of the plugin in this process: what is local runs here, the rest is asked of pintled over the channel.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "kernel/plugin/proxy_calls.h"

namespace pintle::kernel {

// Threads: any. get(), list(), watch() and epoch() block the calling thread until pintled has answered; answers arrive on the
// thread that waits on descriptors, so a pool whose threads all wait still goes on.
class RemoteBackend final : public HostBackend, public std::enable_shared_from_this<RemoteBackend> {
 public:
  RemoteBackend(Executor& executor, std::shared_ptr<Channel> channel, const std::string& plugin);
  Executor& executor() override { return executor_; }
  void log(int level, std::string_view text, std::string_view fields) override;
  void report(int health, std::string_view message) override;
  int log_level() const override { return level_; }
  void set_level(int level) { level_ = level; }
  Result<ObjectRef> get(const Key& key) override;
  Result<Listed> list(const StoreQuery& query) override;
  Result<std::unique_ptr<WatchFeed>> watch(const StoreQuery& query, std::function<void()> wake) override;
  void commit(std::vector<StoreOp> ops, std::vector<FenceCheck> fences, uint32_t flags,
              std::function<void(pintle_code, std::vector<StoreOpResult>)> done) override;
  std::shared_ptr<OpenCall> invoke(const std::string& slot, Invoke call) override { return caller_->call(slot, std::move(call)); }
  uint64_t epoch(const std::string& slot) override;
  void hold(const std::string&, uint64_t) override {}  // pintled holds the fences

  // Frames for this backend; on the thread that waits on descriptors. False: nonsense.
  bool on_frame(Frame frame);

 private:
  struct Watching;
  class RemoteFeed;
  // Sends, waits, and has `read` decode the answer (behind its error) on the way. List parts go to `part`.
  Error ask(FrameType type, Writer w, std::function<void(Reader&)> read, std::function<void(Reader&)> part = {}, uint64_t* id = nullptr);

  struct Asked {
    std::function<void(Reader&)> read, part;
    Error error;
    bool answered = false;
  };
  Executor& executor_;
  const std::shared_ptr<Channel> channel_;
  const std::shared_ptr<RemoteCaller> caller_;
  std::atomic<int> level_{PINTLE_LOG_INFO};
  std::atomic<uint64_t> next_{1};
  std::mutex mutex_;
  std::condition_variable answered_;
  std::unordered_map<uint64_t, std::shared_ptr<Asked>> asked_;
  std::unordered_map<uint64_t, std::function<void(pintle_code, std::vector<StoreOpResult>)>> commits_;
  std::unordered_map<uint64_t, std::shared_ptr<Watching>> watches_;
};

}  // namespace pintle::kernel

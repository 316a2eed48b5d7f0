// The kernel's side of the host services of a plugin in another process: its frames in, the instance's HostBackend behind them.
//
// The same backend as in-process, so the same identity, permissions and fences: nothing the other process says can widen them.
// Threads: all functions on the strand.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>

#include "kernel/plugin/log_budget.h"
#include "kernel/plugin/backend.h"
#include "kernel/plugin/proxy_channel.h"

struct pintle_metric;

namespace pintle::kernel {

class RemoteServices : public std::enable_shared_from_this<RemoteServices> {
 public:
  RemoteServices(std::shared_ptr<HostBackend> backend, std::shared_ptr<Channel> channel, std::shared_ptr<Strand> strand, std::shared_ptr<LogBudget> log)
      : backend_(std::move(backend)), channel_(std::move(channel)), strand_(std::move(strand)), log_(std::move(log)) {}
  // False: a frame that is none of its business, or nonsense.
  bool on_frame(const Frame& frame);
  // Watches end, late commits are answered to nobody. [any, once nothing else is called]
  void end();
  size_t watches() const { return watch_count_; }
  size_t commits() const { return commits_; }

 private:
  struct RemoteWatch {
    std::unique_ptr<WatchFeed> feed;
    uint32_t credit = kWatchWindow;
    std::shared_ptr<std::atomic<bool>> woken = std::make_shared<std::atomic<bool>>(false);
  };
  bool list(const Frame& frame);
  bool watch(const Frame& frame);
  bool commit(const Frame& frame);
  bool metrics(const Frame& frame);
  void pump(uint64_t id);
  void answer(uint64_t id, const Error& error);
  const std::shared_ptr<HostBackend> backend_;
  const std::shared_ptr<Channel> channel_;
  const std::shared_ptr<Strand> strand_;
  const std::shared_ptr<LogBudget> log_;
  std::unordered_map<uint64_t, RemoteWatch> watches_;
  std::unordered_map<uint64_t, pintle_metric*> metrics_;
  std::atomic<size_t> commits_{0}, watch_count_{0};
  bool ended_ = false;
};

}  // namespace pintle::kernel

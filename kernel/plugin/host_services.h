// The C tables of one instance's host services, over a HostBackend.
//
// Counts everything it hands out in the instance's Traffic and enters the plugin only through Traffic::Inside.
// Owned by the instance; tasks that are still on the executor keep it alive.
#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "kernel/plugin/backend.h"
#include "kernel/plugin/call.h"

namespace pintle::kernel {

class PluginHost : public std::enable_shared_from_this<PluginHost> {
 public:
  PluginHost(std::shared_ptr<CallScope> scope, std::shared_ptr<HostBackend> backend);
  ~PluginHost();
  const pintle_host* table() const { return &c_.host; }

  // Peer calls that the plugin has not cancelled itself: `done` runs with CANCELLED. After stop().
  void cancel_invocations();
  // After stop(): whatever was left behind can no longer call. Returns what it was: "1 timer, 2 watches", or "".
  std::string revoke();
  // After destroy() nothing enters any more: late tasks are dropped.
  void close();

  // Host interfaces that exist, for `requires` of manifests.
  static const std::vector<std::string>& interfaces();

 private:
  friend struct HostTables;
  struct C {  // what the plugin's pointer points at
    pintle_host host;
    PluginHost* self;
  };
  C c_{};
  const std::shared_ptr<CallScope> scope_;
  const std::shared_ptr<HostBackend> backend_;
  std::atomic<bool> closed_{false};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<pintle_timer*, std::shared_ptr<pintle_timer>> timers_;
  std::unordered_map<pintle_watch*, std::shared_ptr<pintle_watch>> watches_;
  std::unordered_map<pintle_fdwatch*, std::shared_ptr<pintle_fdwatch>> fd_watches_;
  std::unordered_map<uint64_t, std::shared_ptr<struct PeerCall>> peer_calls_;
  uint64_t next_peer_call_ = 1;
};

// "1 timer", "3 timers".
std::string counted(uint64_t n, const std::string& noun);

}  // namespace pintle::kernel

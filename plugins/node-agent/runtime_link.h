// The way to one runtime driver: calls by slot, its stream of events, what it can do.
//
// Threads: any. Callbacks run on host threads; receivers go over to their own strand.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "context.h"
#include "pintle/if/runtime.h"

namespace pintle::node_agent {

class RuntimeLink : public std::enable_shared_from_this<RuntimeLink> {
 public:
  using Done = std::function<void(Result<json::Value>)>;
  RuntimeLink(Context& context, std::string slot) : context_(context), slot_(std::move(slot)) {}

  // `method` = PINTLE_METHOD(pintle_runtime, create). Counts as an action in hand until `done` has run. timeout 0 = the host's default.
  void call(uint32_t method, const json::Value& request, Done done, uint64_t timeout_ns = 0) const;
  // The same for what may take minutes and can be taken up again by the next instance (pull, stop): a drain does not wait for it.
  void call_long(uint32_t method, const json::Value& request, Done done, uint64_t timeout_ns) const;
  // A call that lives as long as the client wants: no deadline (timeout 0), partial answers, descriptors. Not an action in hand.
  Invocation stream(uint32_t method, const json::Value& request, std::function<bool(std::string_view)> part, Done done, uint64_t timeout_ns = 0,
                    std::vector<int> fds = {}) const;

  // Connects: recover, info, then events. `synced` after each (re)connection: list everything. `changed(node, pod uid)`: node may be "".
  // `state(ready, message)` when that changes.
  struct Listener {
    std::function<void()> synced;
    std::function<void(const std::string& node, const std::string& uid)> changed;
    std::function<void(bool ready, const std::string& message)> state;
  };
  void connect(Listener listener);
  // Cancels everything; no callback of the listener comes afterwards.
  void close();

  bool has_network() const { return !can("probe:exec"); }
  bool can(const std::string& capability) const;
  std::string name() const;     // "docker"
  std::string version() const;
  const std::string& slot() const { return slot_; }

 private:
  void begin();
  void listen();
  void again(const Error& why, bool tell = true);
  void set_state(bool ready, const std::string& message);

  Context& context_;
  const std::string slot_;
  mutable std::mutex mutex_;
  Listener listener_;
  std::set<std::string> capabilities_;
  std::string name_ = "runtime", version_;
  bool closed_ = false, ready_ = false, told_ = false, recovered_ = false;
  std::string message_;
  Invocation events_;
  mutable std::map<uint64_t, Invocation> long_calls_;
  mutable uint64_t last_long_ = 0;
  Timer retry_;
};

}  // namespace pintle::node_agent

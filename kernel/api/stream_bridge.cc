#include "kernel/api/stream_bridge.h"

#include "kernel/api/streams/exec_bridge.h"
#include "kernel/api/streams/portforward_bridge.h"
#include "pintle/if/stream.h"

namespace pintle::kernel {
namespace {

// The calls behind one client; when it leaves, all of them are cancelled, also those that begin while it leaves.
class Calls {
 public:
  // Remembers how to cancel; 0 = the client has left, cancelled at once.
  uint64_t add(std::function<void()> cancel) {
    {
      const std::lock_guard lock(mutex_);
      if (!gone_) {
        cancels_[++last_] = std::move(cancel);
        return last_;
      }
    }
    if (cancel) cancel();
    return 0;
  }
  void remove(uint64_t id) {
    const std::lock_guard lock(mutex_);
    cancels_.erase(id);
  }
  void cancel_all() {
    std::map<uint64_t, std::function<void()>> all;
    {
      const std::lock_guard lock(mutex_);
      gone_ = true;
      all.swap(cancels_);
    }
    for (auto& [id, cancel] : all) {
      if (cancel) cancel();
    }
  }

 private:
  std::mutex mutex_;
  bool gone_ = false;
  uint64_t last_ = 0;
  std::map<uint64_t, std::function<void()>> cancels_;
};

bool truth(const ApiRequest& api, std::string_view name) {
  for (const auto& [n, v] : api.query) {
    if (n == name) return !v.empty() && v != "false" && v != "0";
  }
  return false;
}

void bridge_exec(Executor& executor, HookCaller& hooks, const ExchangeRef& ex, const std::string& slot, json::Value request) {
  ExecFlags flags;
  flags.in = truth(ex->api, "stdin");
  flags.out = truth(ex->api, "stdout");
  flags.err = truth(ex->api, "stderr");
  flags.tty = truth(ex->api, "tty");
  auto calls = std::make_shared<Calls>();
  std::shared_ptr<ExecBridge> bridge = ExecBridge::open(executor, ex->request, ex->out, flags, [calls] { calls->cancel_all(); });
  if (!bridge) return;
  request.set("fds", bridge->fd_names());
  std::vector<int> fds = bridge->take_fds();
  std::function<void()> cancel = hooks.open(
      slot, PINTLE_STREAM, 0, request.dump(), std::move(fds), [](std::string_view) { return true; },
      [bridge](Result<std::string> end) {
        if (end) {
          bridge->finish(static_cast<int>(json::parse_or_null(*end)["exitCode"].as_int()));
        } else if (end.error().code != PINTLE_CANCELLED) {
          bridge->finish(end.error());
        }
      },
      nullptr);
  calls->add(std::move(cancel));
}

void bridge_ports(Executor& executor, HookCaller& hooks, const ExchangeRef& ex, const std::string& slot, json::Value request) {
  auto calls = std::make_shared<Calls>();
  auto connect = [&hooks, calls, slot, request](uint16_t port, int fd, PortForwardBridge::Finish finish) {
    json::Value one = request;
    one.set("port", static_cast<int64_t>(port));
    one.set("fds", json::Value::object()).set("data", 0);
    auto id = std::make_shared<std::atomic<uint64_t>>(0);
    std::function<void()> cancel = hooks.open(
        slot, PINTLE_STREAM, 0, one.dump(), {fd}, [](std::string_view) { return true; },
        [calls, id, finish = std::move(finish)](Result<std::string> end) {
          if (end) {
            finish({});
          } else {
            finish(end.error());
          }
          calls->remove(*id);
        },
        nullptr);
    *id = calls->add(std::move(cancel));
  };
  (void)PortForwardBridge::open(executor, ex->request, ex->out, connect, [calls] { calls->cancel_all(); });
}

}  // namespace

void bridge_stream(Executor& executor, HookCaller& hooks, const ExchangeRef& ex, const std::string& mode, const std::string& slot,
                   json::Value request) {
  if (mode != "exec" && mode != "attach" && mode != "portforward") {
    return ex->fail(Error(PINTLE_UNSUPPORTED, "streams of mode \"" + mode + "\" are not known to this server"));
  }
  if (!ex->claim(101, true)) return;  // the bridge answers
  if (mode == "portforward") {
    bridge_ports(executor, hooks, ex, slot, std::move(request));
  } else {
    bridge_exec(executor, hooks, ex, slot, std::move(request));
  }
}

}  // namespace pintle::kernel

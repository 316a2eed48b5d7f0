// Connect subresources: the owner's hook says where the stream goes, the kernel carries it.
//
// mode "text" (logs) is a chunked body; "exec", "attach" and "portforward" are bridges of kernel/api/streams.
#include <algorithm>
#include <map>

#include "kernel/api/async.h"
#include "kernel/api/rest_state.h"
#include "kernel/api/status.h"
#include "kernel/api/stream_bridge.h"
#include "pintle/if/resource.h"
#include "pintle/if/stream.h"

namespace pintle::kernel {
namespace {

constexpr uint32_t kConnectHook = 6;
constexpr uint64_t kHookTimeout = 10ull * 1000000000;
constexpr uint64_t kHeaderAfter = 200ull * 1000000;  // a quiet stream answers with its header then
constexpr size_t kAnswerHigh = 256 << 10;
constexpr size_t kAnswerLow = 64 << 10;

json::Value query_value_object(const std::vector<std::pair<std::string, std::string>>& query) {
  json::Value out = json::Value::object();
  for (const auto& [name, value] : query) {
    json::Value* at = out.find(name);
    if (at && at->is_array()) {
      at->push(value);
    } else if (at) {
      json::Value list = json::Value::array();
      list.push(std::move(*at));
      list.push(value);
      out.set(name, std::move(list));
    } else if (name == "command" || name == "ports") {
      out.set(name, json::Value::array()).push(value);
    } else {
      out.set(name, value);
    }
  }
  return out;
}

// The body of a text stream. The header leaves with the first byte, so that an early error is a Status.
class TextStream : public std::enable_shared_from_this<TextStream> {
 public:
  TextStream(ExchangeRef ex, Executor& executor) : ex_(std::move(ex)), executor_(executor) {}

  void start(HookCaller& hooks, const std::string& slot, std::string request) {
    auto self = shared_from_this();
    const TimerId timer = executor_.after(kHeaderAfter, [self] {
      const std::lock_guard lock(self->mutex_);
      if (!self->done_) self->begin();
    });
    {
      const std::lock_guard lock(mutex_);
      timer_ = timer;
    }
    std::function<void(std::function<void()>)> resume = [self](std::function<void()> ready) {
      const std::lock_guard lock(self->mutex_);
      self->ready_ = std::move(ready);
    };
    std::function<void()> cancel = hooks.open(
        slot, PINTLE_STREAM, 0, std::move(request), {}, [self](std::string_view part) { return self->part(part); },
        [self](Result<std::string> end) { self->finish(std::move(end)); }, &resume);
    ex_->on_gone([self, cancel = std::move(cancel)] {
      if (cancel) cancel();
    });
    bool over = false;
    {
      const std::lock_guard lock(mutex_);
      over = done_;
    }
    if (over) ex_->on_gone(nullptr);  // it holds us
  }

 private:
  // With mutex_ held. False: somebody else answered.
  bool begin() {
    if (begun_) return true;
    if (!ex_->claim(200, true)) return false;
    begun_ = true;
    ex_->out->start(200, ex_->headers("text/plain"));
    return true;
  }

  bool part(std::string_view data) {
    const std::lock_guard lock(mutex_);
    if (done_ || ex_->gone() || !begin()) return true;  // nobody listens any more: swallowed
    if (ex_->out->queued() > kAnswerHigh) {
      ex_->out->on_drained(kAnswerLow, [weak = weak_from_this()] {
        auto self = weak.lock();
        if (!self) return;
        self->executor_.post([self] {  // it may run inside part()
          std::function<void()> ready;
          {
            const std::lock_guard inner(self->mutex_);
            ready = self->ready_;
          }
          if (ready) ready();
        });
      });
      return false;
    }
    if (!data.empty()) ex_->out->write(std::make_shared<const std::string>(data));
    return true;
  }

  void finish(Result<std::string> end) {
    TimerId timer = 0;
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(done_, true)) return;
      timer = std::exchange(timer_, 0);
      ready_ = nullptr;
      if (end.ok() || begun_) {
        if (!ex_->gone() && begin()) {
          if (!end.ok() && end.error().code != PINTLE_CANCELLED) {
            ex_->out->write(std::make_shared<const std::string>(end.error().text + "\n"));
          }
          ex_->out->finish();
        }
      } else if (end.error().code != PINTLE_CANCELLED) {
        ex_->fail(end.error());
      }
    }
    if (timer) executor_.cancel(timer);
    ex_->on_gone(nullptr);
  }

  const ExchangeRef ex_;
  Executor& executor_;
  std::mutex mutex_;  // also keeps calls of the responder apart
  bool begun_ = false, done_ = false;
  TimerId timer_ = 0;
  std::function<void()> ready_;
};

}  // namespace

// Follows authorization, the parent's existence and the connect hook with the stream itself.
Async<bool> run_connect(std::shared_ptr<RestServer::State> server, ExchangeRef ex, std::shared_ptr<const Kind> kind, Subresource sub) {
  const ApiRequest& api = ex->api;
  ObjectRef object = server->pipeline.store().get({kind->name(), api.ns, api.name});
  if (!object) {
    ex->fail(not_found(*kind, api.name));
    co_return false;
  }
  json::Value ask = json::Value::object();
  ask.set("kind", kind->name());
  ask.set("namespace", api.ns);
  ask.set("name", api.name);
  ask.set("subresource", sub.name);
  ask.set("path", api.path_rest);
  ask.set("query", query_value_object(api.query));
  ask.set("object", json::parse_or_null(object->json()));
  ask.set("user", ex->identity.user);
  const std::string provider = sub.provider.empty() ? kind->owner : sub.provider;
  const uint64_t deadline = server->executor.now() + kHookTimeout;
  std::string text = ask.dump();
  HookCaller& hooks = server->hooks;
  Result<std::string> reply = co_await Wait<Result<std::string>>(
      [&hooks, &provider, &text, deadline](std::function<void(Result<std::string>)> done) {
        hooks.call(provider, PINTLE_RESOURCE, kConnectHook, std::move(text), deadline, std::move(done));
      });
  if (!reply) {
    Error e = reply.error();
    if (e.code == PINTLE_UNAVAILABLE && !e.retry_after_ms) e.retry_after_ms = 1000;
    ex->fail(e);
    co_return false;
  }
  json::Value target = json::parse_or_null(*reply);
  const std::string slot(target["slot"].as_string());
  if (slot.empty()) {
    ex->fail(internal("plugin \"" + provider + "\" did not say where " + sub.name + " of " + kind->name() + " leads"));
    co_return false;
  }
  json::Value request = target["request"].is_object() ? target["request"] : json::Value::object();
  if (!request.contains("mode")) request.set("mode", sub.stream);
  if (sub.stream == "text") {
    std::make_shared<TextStream>(ex, server->executor)->start(hooks, slot, request.dump());
  } else {
    bridge_stream(server->executor, hooks, ex, sub.stream, slot, std::move(request));
  }
  co_return true;
}

void RestServer::State::connect(const ExchangeRef& ex, std::shared_ptr<const Kind> kind, const Subresource& sub) {
  auto self = shared_from_this();
  pipeline.authorize(ex->api, [self, ex, kind, sub](Result<void> may) {
    if (!may) return ex->fail(may.error());
    spawn<bool>(run_connect(self, ex, kind, sub), [self](bool) {});
  });
}

}  // namespace pintle::kernel

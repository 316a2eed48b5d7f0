#include "runtime_link.h"

#include <atomic>

#include "pintle/timestamp.h"

namespace pintle::node_agent {

using json::Value;

namespace {

Result<Value> parsed(Result<std::string> r) {
  if (!r) return r.error();
  auto p = json::parse(r->empty() ? std::string_view("{}") : std::string_view(*r));
  if (!p) return Error(PINTLE_INTERNAL, "the runtime's answer is not JSON: " + p.error);
  return std::move(p.value);
}

}  // namespace

void RuntimeLink::call(uint32_t method, const Value& request, Done done, uint64_t timeout_ns) const {
  context_.host.invoke(
      slot_, PINTLE_RUNTIME, method, request,
      [in_hand = context_.in_hand.begin(), done = std::move(done)](Result<std::string> r, std::vector<int>) { done(parsed(std::move(r))); },
      {}, {}, timeout_ns ? context_.host.now() + timeout_ns : 0);
}

void RuntimeLink::call_long(uint32_t method, const Value& request, Done done, uint64_t timeout_ns) const {
  uint64_t id;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    id = ++last_long_;
    long_calls_[id];
  }
  const Invocation made = context_.host.invoke(
      slot_, PINTLE_RUNTIME, method, request,
      [weak = weak_from_this(), id, done = std::move(done)](Result<std::string> r, std::vector<int>) {
        if (const auto self = weak.lock()) {
          std::lock_guard lock(self->mutex_);
          self->long_calls_.erase(id);
        }
        done(parsed(std::move(r)));
      },
      {}, {}, context_.host.now() + timeout_ns);
  std::lock_guard lock(mutex_);
  if (const auto it = long_calls_.find(id); it != long_calls_.end()) it->second = made;
}

Invocation RuntimeLink::stream(uint32_t method, const Value& request, std::function<bool(std::string_view)> part, Done done, uint64_t timeout_ns,
                               std::vector<int> fds) const {
  return context_.host.invoke(
      slot_, PINTLE_RUNTIME, method, request, [done = std::move(done)](Result<std::string> r, std::vector<int>) { done(parsed(std::move(r))); },
      std::move(part), fds, timeout_ns ? context_.host.now() + timeout_ns : UINT64_MAX);
}

void RuntimeLink::connect(Listener listener) {
  {
    std::lock_guard lock(mutex_);
    listener_ = std::move(listener);
  }
  begin();
}

void RuntimeLink::begin() {
  const auto weak = weak_from_this();
  call(PINTLE_METHOD(pintle_runtime, info), Value::object(), [weak](Result<Value> r) {
    const auto self = weak.lock();
    if (!self) return;
    if (!r) return self->again(r.error());
    bool recovered;
    {
      std::lock_guard lock(self->mutex_);
      if (self->closed_) return;
      self->capabilities_.clear();
      for (const auto& c : (*r)["capabilities"].items()) self->capabilities_.emplace(c.as_string());
      self->name_ = std::string((*r)["name"].as_string("runtime"));
      self->version_ = std::string((*r)["version"].as_string());
      recovered = std::exchange(self->recovered_, true);
    }
    if (!(*r)["ready"].as_bool(true)) return self->again(Error(PINTLE_UNAVAILABLE, std::string((*r)["message"].as_string("the runtime is not ready"))));
    if (recovered) return self->listen();
    self->call(PINTLE_METHOD(pintle_runtime, recover), Value::object(), [weak](Result<Value> rec) {
      const auto me = weak.lock();
      if (!me) return;
      if (!rec && rec.error().code != PINTLE_UNSUPPORTED) {
        {
          std::lock_guard lock(me->mutex_);
          me->recovered_ = false;
        }
        return me->again(rec.error());
      }
      me->listen();
    });
  });
}

void RuntimeLink::listen() {
  const auto weak = weak_from_this();
  const auto stood = std::make_shared<std::atomic<bool>>(false);
  Invocation made = stream(
      PINTLE_METHOD(pintle_runtime, events), Value::object(),
      [weak, stood](std::string_view part) {
        const auto self = weak.lock();
        if (!self) return true;
        const Value event = json::parse_or_null(part);
        std::function<void()> synced;
        std::function<void(const std::string&, const std::string&)> changed;
        {
          std::lock_guard lock(self->mutex_);
          if (self->closed_) return true;
          synced = self->listener_.synced;
          changed = self->listener_.changed;
        }
        if (event["type"].as_string() == "sync") {
          *stood = true;
          self->set_state(true, "");
          if (synced) synced();
        } else if (event["type"].as_string() == "changed") {
          if (changed) changed(std::string(event["node"].as_string()), std::string(event["podUid"].as_string()));
        }
        return true;
      },
      [weak, stood](Result<Value> r) {
        // A driver that is replaced ends its streams, and the next one is there at once: the node is not ready when that one says so.
        if (const auto self = weak.lock()) self->again(r ? Error(PINTLE_UNAVAILABLE, "the runtime ended its event stream") : r.error(), !*stood);
      });
  bool cancel = false;
  {
    std::lock_guard lock(mutex_);
    if (closed_) cancel = true;
    else events_ = made;
  }
  if (cancel) made.cancel();
}

void RuntimeLink::again(const Error& why, bool tell) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
  }
  if (tell) set_state(false, slot_ + ": " + why.text);
  Timer next = context_.host.after(tell ? kSecond : kSecond / 10, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->begin();
  });
  Timer old;
  std::lock_guard lock(mutex_);
  old = std::exchange(retry_, closed_ ? Timer() : std::move(next));
}

void RuntimeLink::set_state(bool ready, const std::string& message) {
  std::function<void(bool, const std::string&)> tell;
  {
    std::lock_guard lock(mutex_);
    if (closed_ || (told_ && ready_ == ready && message_ == message)) return;
    told_ = true;
    ready_ = ready;
    message_ = message;
    tell = listener_.state;
  }
  if (tell) tell(ready, message);
}

void RuntimeLink::close() {
  Invocation events;
  std::map<uint64_t, Invocation> calls;
  Timer retry;
  Listener listener;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    events = events_;
    retry = std::move(retry_);
    listener = std::exchange(listener_, {});
    calls.swap(long_calls_);
  }
  events.cancel();
  for (auto& [id, invocation] : calls) invocation.cancel();
}

bool RuntimeLink::can(const std::string& capability) const {
  std::lock_guard lock(mutex_);
  return capabilities_.count(capability) > 0;
}
std::string RuntimeLink::name() const {
  std::lock_guard lock(mutex_);
  return name_;
}
std::string RuntimeLink::version() const {
  std::lock_guard lock(mutex_);
  return version_;
}

}  // namespace pintle::node_agent

#include "kernel/plugin/hook_caller.h"

#include <unistd.h>

namespace pintle::kernel {
namespace {
constexpr uint64_t kDeadlineNs = 1000000000;
constexpr int kBreakAfter = 5;
constexpr uint64_t kBreakNs = 5000000000;
}  // namespace

void PluginCalls::set_slots(std::shared_ptr<SlotTable> slots) {
  std::lock_guard lock(mutex_);
  slots_ = std::move(slots);
}
void PluginCalls::set_built_in(std::string owner, BuiltIn fn) {
  std::lock_guard lock(mutex_);
  owner_ = std::move(owner);
  built_in_ = std::move(fn);
}
void PluginCalls::set_alias(const std::string& manifest_name, const std::string& object_name) {
  std::lock_guard lock(mutex_);
  aliases_.emplace(manifest_name, object_name);
}

void PluginCalls::set_providers(std::function<std::vector<std::string>(const std::string&)> source) {
  std::lock_guard lock(mutex_);
  providers_ = std::move(source);
}

std::shared_ptr<SlotTable> PluginCalls::table() const {
  std::lock_guard lock(mutex_);
  return slots_;
}

std::string PluginCalls::target(const std::string& name) const {
  std::shared_ptr<SlotTable> t = table();
  if (t && t->held(name)) return name;
  std::lock_guard lock(mutex_);
  const auto alias = aliases_.find(name);
  return "plugin." + (alias == aliases_.end() ? name : alias->second);
}

void PluginCalls::call(const std::string& name, const char* interface_id, uint32_t method, std::string request, uint64_t deadline,
                       std::function<void(Result<std::string>)> done) {
  const uint64_t now = executor_.now();
  BuiltIn built_in;
  {
    std::lock_guard lock(mutex_);
    if (built_in_ && name == owner_) built_in = built_in_;
    Breaker& b = breakers_[name];
    if (!built_in && b.closed_until > now) {
      executor_.post([done = std::move(done), name] { done(Error(PINTLE_UNAVAILABLE, "\"" + name + "\" did not answer the last calls; it is left alone for a moment")); });
      return;
    }
    if (b.closed_until != 0) b.closed_until = now + kBreakNs;  // this call tries; the others wait for what it finds
  }
  if (built_in) return built_in(method, std::move(request), std::move(done));
  Invoke call;
  call.interface_id = interface_id;
  call.method = method;
  call.request = std::move(request);
  call.deadline = deadline ? deadline : now + kDeadlineNs;
  call.done = [this, name, done = std::move(done)](Result<Reply> r) {
    const pintle_code code = r ? PINTLE_OK : r.error().code;
    {
      std::lock_guard lock(mutex_);
      Breaker& b = breakers_[name];
      if (code == PINTLE_TIMEOUT || code == PINTLE_UNAVAILABLE || code == PINTLE_NOT_FOUND) {
        if (++b.failures >= kBreakAfter) b.closed_until = executor_.now() + kBreakNs;
      } else {
        b = {};
      }
    }
    if (!r) return done(r.error());
    for (const int fd : r->fds) ::close(fd);
    done(std::move(r->body));
  };
  const std::string slot = target(name);
  auto slots = table();
  // A plugin that was never started: not the 404 of an object.
  if (!slots || !slots->held(slot)) {
    executor_.post([done = std::move(call.done), name] { done(Error(PINTLE_UNAVAILABLE, "plugin or slot \"" + name + "\" is not running")); });
    return;
  }
  slots->invoke(slot, std::move(call));
}

std::function<void()> PluginCalls::open(const std::string& name, const char* interface_id, uint32_t method, std::string request,
                                        std::vector<int> fds, std::function<bool(std::string_view)> part,
                                        std::function<void(Result<std::string>)> done, std::function<void(std::function<void()>)>* resume) {
  Invoke call;
  call.interface_id = interface_id;
  call.method = method;
  call.request = std::move(request);
  call.fds = std::move(fds);
  call.part = std::move(part);
  call.done = [done = std::move(done)](Result<Reply> r) {
    if (!r) return done(r.error());
    for (const int fd : r->fds) ::close(fd);
    done(std::move(r->body));
  };
  auto slots = table();
  const std::string slot = target(name);
  // The handle exists only after invoke(), the function to resume must be there before the first part.
  auto handle = std::make_shared<std::pair<std::mutex, std::shared_ptr<OpenCall>>>();
  const auto get = [handle] {
    std::lock_guard lock(handle->first);
    return handle->second;
  };
  if (resume && *resume)
    (*resume)([get] {
      if (auto open = get()) open->resume();
    });
  if (!slots || !slots->held(slot)) {
    for (const int fd : call.fds) ::close(fd);
    executor_.post([done = std::move(call.done), name] { done(Error(PINTLE_UNAVAILABLE, "plugin or slot \"" + name + "\" is not running")); });
    return [] {};
  }
  auto open = slots->invoke(slot, std::move(call));
  {
    std::lock_guard lock(handle->first);
    handle->second = std::move(open);
  }
  return [get] {
    if (auto o = get()) o->cancel();
  };
}

bool PluginCalls::slot_held(const std::string& slot) const {
  auto t = table();
  return t && t->held(slot);
}

std::vector<std::string> PluginCalls::providers(const std::string& interface_id) const {
  std::function<std::vector<std::string>(const std::string&)> source;
  {
    std::lock_guard lock(mutex_);
    source = providers_;
  }
  return source ? source(interface_id) : std::vector<std::string>{};
}

std::vector<std::string> PluginCalls::slots(const std::string& prefix) const {
  auto t = table();
  return t ? t->held_below(prefix) : std::vector<std::string>{};
}

}  // namespace pintle::kernel

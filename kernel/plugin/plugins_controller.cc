#include "kernel/plugin/plugins_controller.h"

#include <algorithm>
#include <utility>

#include "kernel/base/log.h"
#include "kernel/plugin/host_services.h"
#include "kernel/plugin/module.h"
#include "pintle/if/controller.h"
#include "pintle/if/http.h"
#include "pintle/if/resource.h"

extern "C" const char pintle_manifest_json[];

namespace pintle::kernel {
PluginsController::PluginsController(KernelServices& services, PluginCalls& calls, Config config, std::string modules_directory,
                                     InstanceFactory factory)
    : services_(services),
      calls_(calls),
      config_(std::move(config)),
      modules_directory_(std::move(modules_directory)),
      factory_(std::move(factory)),
      inventory_(services.executor, config_.plugin_directories),
      events_(services.executor, services.pipeline) {}

PluginsController::~PluginsController() = default;

void PluginsController::close() {
  std::deque<std::function<void()>> dropped;  // destroyed after the lock: their captures may be the last of something
  {
    std::unique_lock lock(strand_mutex_);
    closed_ = true;
    dropped.swap(strand_queue_);
    strand_idle_.wait(lock, [&] { return strand_thread_ == std::thread::id() || strand_thread_ == std::this_thread::get_id(); });
  }
  for (uint64_t& id : watches_)
    if (id) services_.bus.unwatch(std::exchange(id, 0));
}

void PluginsController::strand(std::function<void()> fn) {
  std::lock_guard lock(strand_mutex_);
  if (closed_) return;
  strand_queue_.push_back(std::move(fn));
  if (strand_running_) return;
  strand_running_ = true;
  services_.executor.post([self = shared_from_this()] { self->run_strand(); });
}

void PluginsController::run_strand() {
  for (;;) {
    std::function<void()> fn;
    {
      std::lock_guard lock(strand_mutex_);
      strand_thread_ = {};
      if (closed_) strand_idle_.notify_all();
      if (strand_queue_.empty()) {
        strand_running_ = false;
        return;
      }
      fn = std::move(strand_queue_.front());
      strand_queue_.pop_front();
      strand_thread_ = std::this_thread::get_id();
    }
    fn();
  }
}

void PluginsController::kick() {
  strand([self = shared_from_this()] { self->step(); });
}

void PluginsController::later(uint64_t delay_ns) {
  const uint64_t at = services_.executor.now() + delay_ns;
  if (timer_ != 0 && timer_at_ <= at) return;
  if (timer_ != 0) services_.executor.cancel(timer_);
  timer_at_ = at;
  timer_ = services_.executor.after(delay_ns, [weak = weak_from_this()] {
    if (auto self = weak.lock())
      self->strand([self] {
        self->timer_ = 0;
        self->step();
      });
  });
}

Result<void> PluginsController::prepare() {
  inventory_.on_change([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->kick();
  });
  events_.run_on([weak = weak_from_this()](std::function<void()> fn) {
    if (auto self = weak.lock()) self->strand(std::move(fn));
  });
  inventory_.scan();
  const json::Value own = json::parse_or_null(pintle_manifest_json);
  if (auto r = services_.pipeline.registry().add(kKernelOwner, own); !r) return r;
  calls_.set_built_in(kKernelOwner, [weak = weak_from_this()](uint32_t method, std::string request, std::function<void(Result<std::string>)> done) {
    if (auto self = weak.lock()) self->hook(method, std::move(request), std::move(done));
    else done(Error(PINTLE_UNAVAILABLE, "the server is stopping"));
  });
  calls_.set_providers([weak = weak_from_this()](const std::string& interface_id) {
    auto self = weak.lock();
    return self ? self->providers(interface_id) : std::vector<std::string>{};
  });
  services_.pipeline.set_permissions([weak = weak_from_this()](const std::string& plugin, const std::string& kind, const std::string& sub, const char* verb) {
    auto self = weak.lock();
    return self && self->permits(plugin, kind, sub, verb);
  });
  return {};
}

void PluginsController::start(std::function<void(Result<void>)> settled) {
  strand([self = shared_from_this(), settled = std::move(settled)]() mutable {
    self->settled_ = std::move(settled);
    for (int i = 0; i < 2; ++i) {
      WatchOptions options;
      options.kind = i == 0 ? kPluginKind : kSlotKind;
      auto id = std::make_shared<std::atomic<uint64_t>>(0);
      auto watch = self->services_.bus.watch(options, [weak = self->weak_from_this(), id] {
        auto s = weak.lock();
        if (!s) return;
        s->strand([s, id] {
          while (!s->services_.bus.take(*id, 0).changes.empty()) {
          }
          s->step();
        });
      });
      if (!watch) continue;
      *id = self->watches_[i] = *watch;
    }
    self->busy_ = true;
    self->seed([self] {
      self->strand([self] {
        self->started_ = true;
        self->finish();
      });
    });
  });
}

void PluginsController::finish() {
  busy_ = false;
  again_ = false;
  remember();
  publish();
  kick();
}

void PluginsController::step() {
  if (!started_ || busy_ || stopping_) {
    again_ = true;
    if (stopping_ && !busy_ && stopped_) {
      auto done = std::move(stopped_);
      stopped_ = nullptr;
      std::vector<std::string> order(run_order_.rbegin(), run_order_.rend());
      stop_next(std::move(order), std::move(done));
    }
    return;
  }
  inventory_.scan();
  read_objects();
  resolve();
  remember();
  if (create_missing() || act()) return;
  publish();
  events_.flush();
  if (!settled_ || !still_starting().empty()) return;
  auto settled = std::move(settled_);
  settled_ = nullptr;
  std::string missing;
  for (const auto& [name, unit] : units_)
    if (unit.exists && unit.enabled && unit.required && !unit.current && unit.reason != "Standby")
      missing += (missing.empty() ? "" : "; ") + ("plugin \"" + name + "\": " + unit.message);
  // Who leaves a plugin out by hand wants to get in, whatever hangs on it.
  if (!missing.empty() && !config_.without.empty()) {
    log::error("plugin", "goes on without required plugins: " + missing);
    missing.clear();
  }
  services_.executor.post([settled, missing] {
    if (missing.empty()) settled({});
    else settled(Error(PINTLE_UNAVAILABLE, "required plugins do not run: " + missing));
  });
}

// The first thing to do; false when there is none.
bool PluginsController::act() {
  const uint64_t now = services_.executor.now();
  for (const auto& name : plan_.order) {
    Unit& u = units_.at(name);
    if (u.current || !should_run(u)) continue;
    if (!can_try(u)) {
      if (u.retry_at > now && u.failed_for != u.fingerprint()) later(u.retry_at - now);
      continue;
    }
    // Who is needed comes first; when that one cannot run now, this one waits for it.
    bool ready = true;
    for (const auto& other : u.file.manifest->needs)
      if (const auto at = units_.find(other); at != units_.end() && should_run(at->second) && !at->second.current) {
        ready = false;
        show(u, PluginState::kInspected, "Waiting", "needs plugin \"" + other + "\", which does not run");
      }
    if (!ready) continue;
    busy_ = true;
    bring_up(u);
    return true;
  }
  for (const auto& name : plan_.order) {
    Unit& u = units_.at(name);
    if (!u.current) continue;
    std::vector<std::string> gain;
    for (const auto& slot : slots_for(name))
      if (!is_plugin_slot(slot) && services_.slots->info(slot).provider != name) gain.push_back(slot);
    if (gain.empty()) continue;
    busy_ = true;
    swap(u, std::move(gain));
    return true;
  }
  for (const auto& name : plan_.order) {
    Unit& u = units_.at(name);
    if (!u.current || !should_run(u) || u.failed_for == u.fingerprint()) continue;
    const bool same_base = u.current->base == u.base();
    if (same_base && !u.replace && u.current->config == u.config_text) continue;
    if (!can_try(u)) {
      later(u.retry_at - now);
      continue;
    }
    busy_ = true;
    if (same_base && !u.replace) reconfigure(u);
    else bring_up(u);
    return true;
  }
  for (auto at = run_order_.rbegin(); at != run_order_.rend(); ++at) {
    Unit& u = units_.at(*at);
    if (!u.current || should_run(u)) continue;
    // A file that vanished or a dependency that broke does not stop what runs; only a decision does.
    const bool decided = !u.exists || !u.enabled || (u.problem.code == PINTLE_OK && !plan_.refused.count(u.name));
    if (!decided) continue;
    busy_ = true;
    const bool hide = !u.exists || !u.enabled;
    const std::string manifest = u.current->manifest->name, name = u.name;
    if (hide) {
      const auto snapshot = services_.pipeline.registry().snapshot();
      services_.pipeline.registry().set_hidden(manifest, true);
      for (const auto& kind : snapshot->kinds)
        if (kind->owner == manifest && kind->same_storage_as.empty()) services_.bus.close_kind(kind->name());
    }
    retire(u, [self = shared_from_this()] { self->finish(); });
    return true;
  }
  for (auto& [name, u] : units_) {
    if (!u.file.manifest || !registered_.count(u.file.manifest->name)) continue;
    const bool first = u.plugin.empty() || u.plugin == name;
    if (first) services_.pipeline.registry().set_hidden(u.file.manifest->name, !(u.exists && u.enabled));
  }
  return false;
}

void PluginsController::show(Unit& u, PluginState state, std::string reason, std::string message) {
  const bool changed = u.state != state || u.reason != reason || u.message != message;
  if (!changed) return;
  const bool transition = u.state != state;
  u.state = state;
  u.reason = std::move(reason);
  u.message = std::move(message);
  u.changed_at = services_.executor.wall();
  const bool bad = state == PluginState::kFailed || state == PluginState::kParked || state == PluginState::kCrashLoopBackOff;
  if (transition || bad) {
    const std::string text = u.message.empty() ? std::string("is ") + to_string(state) : u.message;
    const std::string line = "\"" + u.name + "\" " + to_string(state) + (u.message.empty() ? "" : ": " + u.message);
    if (bad) log::error("plugin", line);
    else log::debug("plugin", line);
    if (state != PluginState::kFound && state != PluginState::kInspected) events_.record("Plugin", u.name, u.uid, bad, bad && !u.reason.empty() ? u.reason : to_string(state), text);
  }
}

void PluginsController::remember() {
  Seen s;
  for (const auto& [name, u] : units_) {
    s.states[name] = u.current ? u.current->state : u.state;
    if (u.file.manifest) s.manifests[u.file.manifest->name] = u.current ? u.current->manifest : u.file.manifest;
    if (u.exists && u.enabled && u.file.manifest)
      s.enabled[name] = {u.file.manifest->provides, u.file.manifest->requirements, u.file.manifest->needs, u.file.manifest->after};
    if (u.current) {
      s.instances[name] = u.current->instance;
      if (u.current->loops) s.loops[name] = u.current->loops;
      if (u.current->health == PINTLE_HEALTH_STARTING) s.starting += (s.starting.empty() ? "" : "; ") + ("plugin \"" + name + "\": " + u.current->health_message);
    }
  }
  s.candidates = candidates_;
  for (const auto& [name, slot] : slot_objects_) s.required_slots[name] = slot.required;
  std::lock_guard lock(seen_mutex_);
  seen_ = std::move(s);
}

bool PluginsController::permits(const std::string& plugin, const std::string& kind, const std::string& subresource, const char* verb) const {
  std::shared_ptr<const Manifest> manifest;
  {
    std::lock_guard lock(seen_mutex_);
    const auto at = seen_.manifests.find(plugin);
    if (at == seen_.manifests.end()) return false;
    manifest = at->second;
  }
  return manifest->permits(kind, subresource, verb);
}

std::vector<std::string> PluginsController::providers(const std::string& interface_id) const {
  std::vector<std::string> out;
  std::lock_guard lock(seen_mutex_);
  for (const auto& [name, node] : seen_.enabled)
    if (std::find(node.provides.begin(), node.provides.end(), interface_id) != node.provides.end()) out.push_back(name);
  return out;
}

std::map<std::string, PluginState> PluginsController::states() const {
  std::lock_guard lock(seen_mutex_);
  return seen_.states;
}

std::string PluginsController::still_starting() const {
  std::lock_guard lock(seen_mutex_);
  return seen_.starting;
}

json::Value PluginsController::metrics() const {
  Seen s;
  {
    std::lock_guard lock(seen_mutex_);
    s.instances = seen_.instances;
    s.loops = seen_.loops;
  }
  json::Value out = json::Value::object();
  for (const auto& [name, instance] : s.instances) {
    const InstanceCounters c = instance->counters();
    out.set(name, json::Value::object({{"open", c.open}, {"inside", c.inside}, {"calls", c.calls}, {"failures", c.failures}, {"timeouts", c.timeouts}, {"timers", c.timers}, {"watches", c.watches}}));
    if (const auto at = s.loops.find(name); at != s.loops.end()) out.set(name).set("controllers", at->second->metrics());
  }
  return out;
}

}  // namespace pintle::kernel

// The actions of PluginsController: start, take slots, replace, retire.
#include <algorithm>
#include <utility>

#include "kernel/base/log.h"
#include "kernel/plugin/plugins_controller.h"
#include "pintle/if/controller.h"

namespace pintle::kernel {
namespace {

constexpr uint64_t kDrainNs = 30ull * 1000000000;
constexpr uint64_t kStopNs = 10ull * 1000000000;
constexpr uint64_t kLongLifeNs = 600ull * 1000000000;  // after it a crash counts as the first
constexpr uint64_t kFirstBackOffNs = 200000000, kLastBackOffNs = 300ull * 1000000000;
constexpr uint64_t kWorthWaitingNs = 5ull * 1000000000;  // callers wait that long for a successor

// Worth trying again without anybody changing anything?
bool transient(pintle_code code) {
  return code != PINTLE_INVALID && code != PINTLE_FORBIDDEN && code != PINTLE_NOT_FOUND && code != PINTLE_UNSUPPORTED && code != PINTLE_BAD_REQUEST;
}

std::string seconds_text(uint64_t ns) {
  const uint64_t tenths = (ns + 50000000) / 100000000;
  return std::to_string(tenths / 10) + (tenths % 10 && tenths < 100 ? "." + std::to_string(tenths % 10) : "") + " s";
}

}  // namespace

void PluginsController::bring_up(Unit& u) {
  auto g = std::make_shared<Generation>();
  g->number = next_number_++;
  g->manifest = u.file.manifest;
  g->digest = u.file.digest;
  g->config = u.config_text;
  g->base = u.base();
  g->own_process = own_process(u);
  g->since = services_.executor.wall();
  InstanceOptions options;
  options.name = u.name;
  options.manifest = g->manifest;
  options.file = u.file.path;
  options.digest = g->digest;
  options.config = g->config;
  const std::string name = u.name;
  const uint64_t number = g->number;
  std::weak_ptr<PluginsController> weak = weak_from_this();
  options.backend = std::make_shared<KernelBackend>(services_, u.name, g->manifest, u.level, [weak, name, number](int health, const std::string& message) {
    if (auto self = weak.lock()) self->strand([self, name, number, health, message] { self->on_report(name, number, health, message); });
  });
  options.events.on_state = [weak, name, number](PluginState state, const std::string& message) {
    if (auto self = weak.lock()) self->strand([self, name, number, state, message] { self->on_state(name, number, state, message); });
  };
  options.events.on_exit = [weak, name, number](const Error& why) {
    if (auto self = weak.lock()) self->strand([self, name, number, why] { self->on_exit(name, number, why); });
  };
  u.starting = g;
  u.replace = false;
  u.retry_at = 0;
  auto instance = factory_(std::move(options), g->own_process);
  if (!instance) {
    u.starting = nullptr;
    failed(name, nullptr, instance.error());
    return finish();
  }
  g->instance = std::move(*instance);
  g->instance->start([self = shared_from_this(), name, g](Result<void> r) {
    self->strand([self, name, g, r] { self->started(name, g, r); });
  });
}

void PluginsController::started(const std::string& name, std::shared_ptr<Generation> g, Result<void> r) {
  Unit& u = units_[name];
  if (!r) {
    u.starting = nullptr;
    failed(name, g, r.error());
    g->instance->stop(services_.executor.now() + kStopNs, [self = shared_from_this(), name, g](Ending e) {
      self->strand([self, name, g, e] {
        if (e.state == PluginState::kParked) {
          ++self->units_[name].parked;
          g->state = e.state;
          g->message = e.message;
          self->units_[name].old.push_back(g);
        }
        self->finish();
      });
    });
    return;
  }
  // New is warm: the old one stops handing out keys, then the slots move.
  if (u.current) drain_loops(u.current, [self = shared_from_this(), name, g] { self->take_slots(name, g); });
  else take_slots(name, g);
}

void PluginsController::take_slots(const std::string& name, std::shared_ptr<Generation> g) {
  const std::vector<std::string> slots = slots_for(name);
  services_.slots->take_over(slots, name, g->instance, [self = shared_from_this(), name, g, before_swap = note_change(slots, name)](Result<void> r) {
    self->strand([self, name, g, before_swap, r] {
      Unit& u = self->units_[name];
      u.starting = nullptr;
      auto before = u.current;
      if (!r) {
        self->failed(name, g, r.error());
        if (before) self->start_loops(name, before);
        self->end_generation(name, g, [self] { self->finish(); });
        return;
      }
      u.current = g;
      g->state = PluginState::kActive;
      g->started_at = self->services_.executor.now();
      u.failed_for.clear();
      u.attempts = 0;
      self->run_order_.erase(std::remove(self->run_order_.begin(), self->run_order_.end(), name), self->run_order_.end());
      self->run_order_.push_back(name);
      self->taken(name, before_swap);
      self->services_.pipeline.registry().set_hidden(g->manifest->name, false);
      self->services_.pipeline.registry().set_available(g->manifest->name, true);
      self->show(u, PluginState::kActive, "", "");
      log::info("plugin", "\"" + name + "\" " + g->manifest->version + " is active" + (g->own_process ? " in its own process" : ""));
      self->start_loops(name, g);
      if (before) {
        u.old.push_back(before);
        self->end_generation(name, before, [] {});  // drains beside the new one; nobody waits for it
      }
      self->finish();
    });
  });
}

void PluginsController::failed(const std::string& name, std::shared_ptr<Generation> g, const Error& why) {
  Unit& u = units_[name];
  u.last_error = why.text;
  ++u.attempts;
  if (transient(why.code)) {
    const uint64_t delay = std::min<uint64_t>(1000000000ull << std::min(u.attempts - 1, 9), 300ull * 1000000000);
    u.retry_at = services_.executor.now() + delay;
    u.tried_for = u.fingerprint();
    later(delay);
  } else {
    u.failed_for = u.fingerprint();
  }
  if (g) {
    g->state = PluginState::kFailed;
    g->message = why.text;
  }
  if (u.current) {
    events_.record("Plugin", name, u.uid, true, "UpdateFailed", why.text + "; the instance before goes on");
    log::error("plugin", "\"" + name + "\" could not be replaced: " + why.text);
    u.reason = "UpdateFailed";
    u.message = "update failed: " + why.text;
  } else {
    show(u, PluginState::kFailed, transient(why.code) ? "Error" : "Invalid", why.text);
  }
}

// Slots move to an instance that runs already.
void PluginsController::swap(Unit& u, std::vector<std::string> slots) {
  const std::string name = u.name;
  services_.slots->take_over(slots, name, u.current->instance, [self = shared_from_this(), name, before = note_change(slots, name)](Result<void> r) {
    self->strand([self, name, before, r] {
      if (r) self->taken(name, before);
      else self->failed(name, nullptr, r.error());
      self->finish();
    });
  });
}

PluginsController::Holders PluginsController::note_change(const std::vector<std::string>& slots, const std::string& name) {
  Holders before;
  for (const auto& slot : slots) {
    const std::string holder = services_.slots->info(slot).provider;
    if (is_plugin_slot(slot) || holder == name) continue;
    before[slot] = holder;
    const auto object = slot_objects_.find(slot);
    if (object == slot_objects_.end()) continue;
    if (!holder.empty()) object->second.previous = holder;
    object->second.last_swap = time_text(services_.executor.wall());
  }
  return before;
}

// Who has lost a slot goes on with a fresh instance, when it goes on.
void PluginsController::taken(const std::string& name, const Holders& before) {
  for (const auto& [slot, loser] : before) {
    const std::string text = "\"" + name + "\" holds the slot, epoch " + std::to_string(services_.slots->epoch(slot));
    if (loser.empty()) {
      slot_event(slot, "Taken", text);
    } else {
      units_[loser].replace = true;
      slot_event(slot, "Swapped", text + ", before \"" + loser + "\"");
    }
  }
}

void PluginsController::slot_event(const std::string& slot, const char* reason, const std::string& text) {
  const auto object = slot_objects_.find(slot);
  events_.record("Slot", slot, object == slot_objects_.end() ? "" : object->second.uid, false, reason, text);
}

void PluginsController::reconfigure(Unit& u) {
  const std::string name = u.name, config = u.config_text;
  u.current->instance->reconfigure(config, [self = shared_from_this(), name, config](Result<void> r) {
    self->strand([self, name, config, r] {
      Unit& unit = self->units_[name];
      if (r) {
        if (unit.current) unit.current->config = config;
        self->events_.record("Plugin", name, unit.uid, false, "Reconfigured", "runs with its new configuration");
        return self->finish();
      }
      if (r.error().code == PINTLE_UNSUPPORTED) return unit.current ? self->bring_up(unit) : self->finish();
      self->failed(name, nullptr, r.error());
      unit.failed_for = unit.fingerprint();
      self->finish();
    });
  });
}

// Ends the running generation for good: slots first, so that nobody waits for it.
void PluginsController::retire(Unit& u, std::function<void()> done) {
  auto g = u.current;
  const std::string name = u.name;
  if (!g) return done();
  u.current = nullptr;
  u.replace = false;
  u.old.push_back(g);
  run_order_.erase(std::remove(run_order_.begin(), run_order_.end(), name), run_order_.end());
  services_.pipeline.registry().set_available(g->manifest->name, false);
  show(u, PluginState::kDraining, "", "");
  std::vector<std::string> mine;
  for (const auto& slot : services_.slots->list())
    if (slot.provider == name) mine.push_back(slot.name);
  for (const auto& slot : mine)
    if (!is_plugin_slot(slot)) slot_event(slot, "Vacated", "nobody holds the slot, before \"" + name + "\"");
  auto self = shared_from_this();
  // Its own loops need its fences: they end before the slots go.
  drain_loops(g, [self, g, name, mine, done] {
    self->services_.slots->vacate(mine, [self, g, name, done](Result<void> r) {
      if (!r) log::error("plugin", "the slots of \"" + name + "\" could not be fenced off: " + r.error().text);
      self->strand([self, g, name, done] { self->end_generation(name, g, done); });
    });
  });
}

void PluginsController::end_generation(const std::string& name, std::shared_ptr<Generation> g, std::function<void()> done) {
  auto self = shared_from_this();
  ++ending_;
  const auto ended = [self, name, g, done](const Ending& e) {
    Unit& u = self->units_[name];
    g->state = e.state;
    g->message = e.message;
    g->loops = nullptr;
    if (e.state == PluginState::kParked) {
      ++u.parked;
      self->events_.record("Plugin", name, u.uid, true, "Parked", "an earlier instance stays in memory: " + e.message);
    }
    u.old.erase(std::remove(u.old.begin(), u.old.end(), g), u.old.end());
    if (e.state == PluginState::kParked) {
      u.old.push_back(g);
      if (u.old.size() > 8) u.old.erase(u.old.begin());
    }
    if (!u.current && !u.starting && (u.state == PluginState::kDraining || u.state == PluginState::kStopped || u.state == PluginState::kDestroyed))
      self->show(u, e.state, u.enabled ? "" : "Disabled", e.message);
    self->publish();
    done();
    if (--self->ending_ == 0 && self->all_ended_) std::exchange(self->all_ended_, nullptr)();
  };
  drain_loops(g, [self, name, g, ended] {
    g->instance->drain(self->services_.executor.now() + kDrainNs, [self, name, g, ended](Result<void> r) {
      if (!r) log::warn("plugin", "\"" + name + "\": " + r.error().text);
      self->strand([self, g, ended] {
        g->instance->stop(self->services_.executor.now() + kStopNs, [self, ended](Ending e) {
          self->strand([ended, e] { ended(e); });
        });
      });
    });
  });
}

void PluginsController::start_loops(const std::string& name, std::shared_ptr<Generation> g) {
  if (!g->manifest->provides_interface(PINTLE_CONTROLLER)) return;
  ReconcileServices s{services_.executor, services_.store, services_.bus, {}, {}, {}, name, {}};
  std::weak_ptr<Instance> instance = g->instance;
  Executor& executor = services_.executor;
  s.call = [instance, &executor](uint32_t method, std::string request, std::function<void(Result<std::string>)> done) {
    auto i = instance.lock();
    if (!i) return executor.post([done = std::move(done)] { done(Error(PINTLE_UNAVAILABLE, "the instance is gone")); });
    Invoke call;
    call.interface_id = PINTLE_CONTROLLER;
    call.method = method;
    call.request = std::move(request);
    call.deadline = executor.now() + 600ull * 1000000000;
    call.done = [done = std::move(done)](Result<Reply> r) {
      if (r) done(std::move(r->body));
      else done(r.error());
    };
    i->invoke(std::move(call));
  };
  Registry& registry = services_.pipeline.registry();
  s.kind_of = [&registry](const std::string& storage) -> std::pair<std::string, std::string> {
    const auto kind = registry.snapshot()->by_name(storage);
    return kind ? std::pair(kind->group, kind->kind) : std::pair<std::string, std::string>();
  };
  s.storage_of = [&registry](const std::string& kind_name) {
    const auto kind = registry.snapshot()->by_name(kind_name);
    return kind && !kind->same_storage_as.empty() ? kind->same_storage_as : kind_name;
  };
  s.log = [name](int level, const std::string& text) {
    if (level >= log::level()) log::write(level, name, text);
  };
  g->loops = ReconcileLoops::make(std::move(s));
  g->loops->start([self = shared_from_this(), name, g](Result<void> r) {
    if (r) return;
    self->strand([self, name, g, r] {
      Unit& u = self->units_[name];
      u.last_error = "controller: " + r.error().text;
      self->events_.record("Plugin", name, u.uid, true, "ControllerFailed", u.last_error);
      log::error("plugin", "\"" + name + "\": controllers do not run: " + r.error().text);
      self->publish();
    });
  });
}

void PluginsController::drain_loops(std::shared_ptr<Generation> g, std::function<void()> done) {
  auto loops = std::move(g->loops);
  g->loops = nullptr;
  auto next = [self = shared_from_this(), done = std::move(done)] { self->strand(done); };
  if (!loops) return next();
  // A reconcile that hangs does not hold up the drain: it is cancelled with the instance.
  struct Once {
    std::atomic<bool> over{false};
  };
  auto once = std::make_shared<Once>();
  const auto go = [once, next, loops] {
    if (!once->over.exchange(true)) next();
  };
  const TimerId timer = services_.executor.after(kStopNs, go);
  Executor& executor = services_.executor;
  loops->drain([go, timer, &executor] {
    executor.cancel(timer);
    go();
  });
}

void PluginsController::on_state(const std::string& name, uint64_t number, PluginState state, const std::string& message) {
  Unit& u = units_[name];
  std::shared_ptr<Generation> g;
  if (u.current && u.current->number == number) g = u.current;
  else if (u.starting && u.starting->number == number) g = u.starting;
  else
    for (auto& o : u.old)
      if (o->number == number) g = o;
  if (!g) return;
  // News are posted and may be read after what followed from them: an instance that has taken its place is not on its way up any more.
  if (state < PluginState::kActive && g->state >= PluginState::kActive) return;
  g->state = state;
  if (!message.empty()) g->message = message;
  g->since = services_.executor.wall();
  if (state == PluginState::kFailed) return;  // told by failed(), with what follows from it
  const bool shown = g == u.current || (g == u.starting && !u.current) || (!u.current && !u.starting && u.old.size() && u.old.back() == g);
  if (shown && state != PluginState::kUnloaded && state != PluginState::kParked) show(u, state, u.enabled ? "" : "Disabled", message);
}

void PluginsController::on_report(const std::string& name, uint64_t number, int health, const std::string& message) {
  Unit& u = units_[name];
  const auto g = u.current && u.current->number == number ? u.current : u.starting && u.starting->number == number ? u.starting : nullptr;
  if (!g || (g->health == health && g->health_message == message)) return;
  if (health == PINTLE_HEALTH_DEGRADED) events_.record("Plugin", name, u.uid, true, "Degraded", message);
  g->health = health;
  g->health_message = message;
  u.changed_at = services_.executor.wall();
  kick();
}

void PluginsController::on_exit(const std::string& name, uint64_t number, const Error& why) {
  Unit& u = units_[name];
  auto g = u.current;
  if (!g || g->number != number) return;
  const uint64_t now = services_.executor.now();
  u.current = nullptr;
  u.old.push_back(g);
  u.last_error = why.text;
  run_order_.erase(std::remove(run_order_.begin(), run_order_.end(), name), run_order_.end());
  // Callers wait at the gate for the successor, when it comes soon.
  services_.slots->close_gates_of(g->instance);
  services_.pipeline.registry().set_available(g->manifest->name, false);
  ++u.restarts;
  u.crashes = now - g->started_at > kLongLifeNs ? 1 : u.crashes + 1;
  const uint64_t delay = std::min(kFirstBackOffNs << std::min(2 * (u.crashes - 1), 20), kLastBackOffNs);
  u.retry_at = now + delay;
  u.tried_for = u.fingerprint();
  later(delay);
  show(u, PluginState::kCrashLoopBackOff, "Crashed", why.text + "; crash " + std::to_string(u.crashes) + ", starts again in " + seconds_text(delay));
  if (delay > kWorthWaitingNs) {
    std::vector<std::string> mine;
    for (const auto& slot : services_.slots->list())
      if (slot.provider == name) mine.push_back(slot.name);
    services_.slots->vacate(mine, [](Result<void>) {});
  }
  end_generation(name, g, [] {});
  publish();
  kick();
}

void PluginsController::stop(std::function<void()> done) {
  strand([self = shared_from_this(), done = std::move(done)] {
    self->stopping_ = true;
    self->stopped_ = done;
    self->step();
  });
}

void PluginsController::stop_next(std::vector<std::string> order, std::function<void()> done) {
  if (order.empty()) {
    if (ending_ == 0) return done();
    all_ended_ = std::move(done);
    return;
  }
  const std::string name = order.front();
  order.erase(order.begin());
  retire(units_[name], [self = shared_from_this(), order = std::move(order), done = std::move(done)]() mutable {
    self->stop_next(std::move(order), std::move(done));
  });
}

}  // namespace pintle::kernel

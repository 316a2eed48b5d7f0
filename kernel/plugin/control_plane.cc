#include "kernel/plugin/control_plane.h"

#include "kernel/api/rest.h"
#include "kernel/base/file.h"
#include "kernel/base/log.h"
#include "kernel/plugin/metrics.h"
#include "kernel/plugin/module.h"

namespace pintle::kernel {

struct ControlPlane::State {
  State(Executor& e, Config c) : executor(e), config(std::move(c)) {}
  Executor& executor;
  const Config config;
  std::unique_ptr<Store> store;
  std::unique_ptr<Bus> bus;
  Registry registry;
  std::unique_ptr<PluginCalls> calls;
  std::unique_ptr<Pipeline> pipeline;
  std::unique_ptr<KernelServices> services;
  std::shared_ptr<PluginsController> plugins;
  std::unique_ptr<RestServer> rest;
  std::atomic<bool> ready{false};

  ~State() {
    rest.reset();
    if (plugins) plugins->close();
    plugins.reset();
  }
};

ControlPlane::ControlPlane(std::unique_ptr<State> state) : state_(std::move(state)) {}
ControlPlane::~ControlPlane() = default;

Result<std::unique_ptr<ControlPlane>> ControlPlane::open(Executor& executor, Config config, InstanceFactory factory) {
  auto s = std::make_unique<State>(executor, std::move(config));
  StoreOptions options;
  std::string modules;
  if (!s->config.data.empty()) {
    if (auto r = make_directory(s->config.data); !r) return r.error();
    options.path = s->config.data;
    modules = s->config.data + "/modules";
  }
  options.history_bytes = s->config.history_bytes;
  auto store = open_store(executor, options);
  if (!store) return store.error();
  s->store = std::move(*store);
  if (!modules.empty()) {
    if (auto r = make_directory(modules); !r) return r.error();
    clear_module_copies(modules);
  }
  s->bus = make_bus(*s->store, executor);
  s->calls = std::make_unique<PluginCalls>(executor);
  s->pipeline = make_pipeline(executor, *s->store, s->registry, *s->calls);
  auto slots = std::make_shared<SlotTable>(executor, *s->store);
  s->calls->set_slots(slots);
  s->services = std::make_unique<KernelServices>(KernelServices{executor, *s->store, *s->bus, *s->pipeline, slots});
  s->plugins = std::make_shared<PluginsController>(*s->services, *s->calls, s->config, modules, factory ? std::move(factory) : default_factory(modules));
  if (auto r = s->plugins->prepare(); !r) return r.error();
  RestOptions rest;
  rest.version = "0.1.0";
  rest.advertise = s->config.advertise;
  rest.token_file = s->config.token_file;
  s->rest = std::make_unique<RestServer>(*s->pipeline, *s->bus, executor, *s->calls, rest);
  State* raw = s.get();
  s->rest->add_check("plugins", false, [raw]() -> Result<void> {
    if (raw->ready) return {};
    const std::string what = raw->plugins->still_starting();
    return Error(PINTLE_UNAVAILABLE, "plugins are still starting" + (what.empty() ? what : ": " + what));
  });
  s->rest->add_metrics([raw](std::string& out) {
    const json::Value m = raw->plugins->metrics();
    for (const auto& plugin : m.members())
      for (const char* what : {"open", "inside", "timers", "watches"})
        metric_set(metric_cell(PINTLE_GAUGE, std::string("pintle_plugin_") + what, "", json::Value::object({{"plugin", plugin.key}}).dump()), plugin.value[what].as_double());
    metric_set(metric_cell(PINTLE_GAUGE, "pintle_parked_modules", "Plugin files that could not be unloaded", ""), static_cast<double>(parked_modules()));
    out += metrics_text();
  });
  return std::unique_ptr<ControlPlane>(new ControlPlane(std::move(s)));
}

void ControlPlane::start(std::function<void(Result<void>)> done) {
  State* raw = state_.get();
  state_->plugins->start([raw, done = std::move(done)](Result<void> r) {
    raw->ready = r.ok();
    done(std::move(r));
  });
}

void ControlPlane::stop(std::function<void()> done) {
  State* raw = state_.get();
  raw->ready = false;
  state_->plugins->stop([raw, done = std::move(done)] {
    log::info("plugin", "all plugins have ended");
    raw->store->close();
    done();
  });
}

void ControlPlane::handle(HttpRequest&& request, std::shared_ptr<Responder> responder) {
  state_->rest->handle(std::move(request), std::move(responder));
}

Executor& ControlPlane::executor() { return state_->executor; }
Store& ControlPlane::store() { return *state_->store; }
Bus& ControlPlane::bus() { return *state_->bus; }
Pipeline& ControlPlane::pipeline() { return *state_->pipeline; }
SlotTable& ControlPlane::slots() { return *state_->services->slots; }
PluginsController& ControlPlane::plugins() { return *state_->plugins; }
HookCaller& ControlPlane::hooks() { return *state_->calls; }
RestServer& ControlPlane::rest() { return *state_->rest; }

}  // namespace pintle::kernel

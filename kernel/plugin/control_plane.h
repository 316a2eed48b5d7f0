// The whole kernel put together: store, bus, registry, pipeline, plugins, REST. pintled runs it on threads and files; tests and
// simulations run it on one thread, in memory, on a virtual clock.
//
//   SimulatedExecutor executor(1);
//   auto plane = ControlPlane::open(executor, config);           // config.data "" = in memory
//   (*plane)->start([&](Result<void> r) { ... });                // plugins are up
//   executor.run_until(...)
//
// Threads: open and destroy on one; the rest from any. Stop before destroying; the executor outlives it.
#pragma once
#include <functional>
#include <memory>

#include "kernel/api/front/http.h"
#include "kernel/plugin/plugins_controller.h"

namespace pintle::kernel {

class RestServer;

class ControlPlane {
 public:
  // `factory` null: plugins of both isolations as this build knows them. Errors as open_store(), and INVALID for the kernel's own kinds.
  static Result<std::unique_ptr<ControlPlane>> open(Executor& executor, Config config, InstanceFactory factory = {});
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;

  // Plugins come up; `done` as PluginsController::start().
  void start(std::function<void(Result<void>)> done);
  // Plugins end in reverse order, then the store is closed. handle() answers 503 meanwhile where plugins are needed.
  void stop(std::function<void()> done);
  void handle(HttpRequest&& request, std::shared_ptr<Responder> responder);

  Executor& executor();
  Store& store();
  Bus& bus();
  Pipeline& pipeline();
  SlotTable& slots();
  PluginsController& plugins();
  HookCaller& hooks();
  RestServer& rest();

 private:
  struct State;
  explicit ControlPlane(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// In-process and own-process instances by what the object and the manifest ask. `modules_directory` as in make_in_process_instance().
InstanceFactory default_factory(std::string modules_directory);

}  // namespace pintle::kernel

// One running copy of a plugin: the same face whether its code is in this process or in another one.
//
//            start()              activate()          drain()        stop()
//   Inspected ───▶ Loaded ─▶ Created ─▶ Started ─▶ Active ─▶ Draining ─▶ Stopped ─▶ Destroyed ─▶ Unloaded
//       │             │          │         │                    │          │            └──────▶ Parked
//       └─────────────┴──────────┴─────────┴──▶ Failed          └──────────┴─ not quiet in time ─▶ Parked
//
// Implementations: make_in_process_instance() (in_process.cc) and the proxy of pintle-host (proxy.h). Everything is a
// continuation on the executor; nothing waits, so that the same code runs in simulation.
// Threads: every function from any thread. The control functions (start, activate, drain, stop, reconfigure) are issued
// one after the other by PluginsController: the next one after the `done` of the last.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel/plugin/backend.h"
#include "kernel/plugin/manifest.h"

namespace pintle::kernel {

enum class PluginState {
  kFound, kInspected, kLoaded, kCreated, kStarted, kActive, kDraining, kStopped, kDestroyed, kUnloaded, kParked,
  kFailed, kSkipped, kCrashLoopBackOff
};
const char* to_string(PluginState state);

// How an instance ended.
struct Ending {
  PluginState state = PluginState::kUnloaded;  // kUnloaded, kDestroyed (unload not allowed by the manifest), kParked
  std::string message;                         // why it is parked: "2 calls are still open", "1 timer was left behind"
};

struct InstanceCounters {
  uint64_t open = 0;    // answers owed to others
  uint64_t inside = 0;  // threads whose stack is in the plugin (0 for another process)
  uint64_t tasks = 0, timers = 0, watches = 0, fd_watches = 0, commits = 0, invocations = 0;
  uint64_t calls = 0, failures = 0, timeouts = 0;  // since start
  uint32_t pid = 0;                                // of the other process; 0 = this one
};

// Runs on the executor, never under a lock; in order, and before the answer (Done, Ending) of what led to it.
struct InstanceEvents {
  // A state was reached. `message` explains Failed and Parked. None comes after the `done` of stop().
  std::function<void(PluginState state, const std::string& message)> on_state;
  // The instance died by itself (other process: exit, signal, missed deadlines). Open calls have been answered
  // UNAVAILABLE. No further call is answered; stop() is still to be called.
  std::function<void(const Error& why)> on_exit;
};

struct InstanceOptions {
  std::string name;                          // of the Plugin object
  std::shared_ptr<const Manifest> manifest;
  std::string file;                          // checked and copied by the module room before it is opened
  std::string digest;                        // sha256 of the file, hex
  std::string config;                        // JSON, defaults applied, validated against the schema
  std::shared_ptr<HostBackend> backend;
  InstanceEvents events;
  uint64_t start_deadline_ns = 30ull * 1000000000;  // for load + create + start, and for each activate
  uint64_t alive_ns = 60ull * 1000000000;           // own process: one that runs nothing for so long hangs and is ended
};

class Instance {
 public:
  using Done = std::function<void(Result<void>)>;
  virtual ~Instance() = default;

  // Loads the file, checks its entry, validates the configuration, creates and starts. On failure everything is
  // undone and the instance is Failed (or Parked, when it hangs): stop() is still to be called.
  virtual void start(Done done) = 0;
  // One call per slot. From here on it may act.
  virtual void activate(const std::string& slot, uint64_t epoch, Done done) = 0;
  // New calls get UNAVAILABLE from now on (the slot's gate holds back callers before). Calls the plugin's drain,
  // waits for it and for open calls; after `deadline` (instant) cancels what is left. `done` is OK when all was answered
  // in time, TIMEOUT when something had to be cancelled.
  virtual void drain(uint64_t deadline, Done done) = 0;
  // After drain, a failed start or on_exit: waits for quiet (until `deadline`), stops, asserts that nothing is left, destroys, unloads.
  // Another process is killed when it does not end.
  virtual void stop(uint64_t deadline, std::function<void(Ending)> done) = 0;
  // UNSUPPORTED: replace the instance instead.
  virtual void reconfigure(std::string config, Done done) = 0;

  // A method of an extension point. UNSUPPORTED: the plugin does not have the interface or the method; UNAVAILABLE: it
  // is not started, draining or dead. The call and its answer run on the executor, never inside invoke().
  virtual std::shared_ptr<OpenCall> invoke(Invoke call) = 0;

  virtual PluginState state() const = 0;
  virtual InstanceCounters counters() const = 0;
  virtual const InstanceOptions& options() const = 0;
};

// `modules_directory`: where copies of the file are loaded from; "" = from memory.
std::shared_ptr<Instance> make_in_process_instance(InstanceOptions options, const std::string& modules_directory);

// Chooses by isolation; the control plane is given one. `own_process`: as spec.isolation asks.
using InstanceFactory = std::function<Result<std::shared_ptr<Instance>>(InstanceOptions options, bool own_process)>;

}  // namespace pintle::kernel

// What PluginsController knows of one Plugin object: the wish, the file, the running generation, the ones before it.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "kernel/plugin/instance.h"
#include "kernel/plugin/inventory.h"
#include "kernel/run/reconcile_loop.h"

namespace pintle::kernel {

// One life of a plugin: loaded, started, perhaps active, ended. Touched on the controller's strand only.
struct Generation {
  uint64_t number = 0;
  std::shared_ptr<Instance> instance;
  std::shared_ptr<ReconcileLoops> loops;
  std::shared_ptr<const Manifest> manifest;
  std::string digest, config;
  std::string base;  // everything but the configuration that a change of asks for a new generation
  bool own_process = false;
  PluginState state = PluginState::kInspected;
  std::string message;
  int64_t since = 0;  // wall clock of the state
  int health = PINTLE_HEALTH_READY;  // what the instance says of itself
  std::string health_message;
  uint64_t started_at = 0;
};

struct Unit {
  std::string name;
  // The object.
  bool exists = false, enabled = false, required = false;
  bool without = false;                       // left out in this run, whatever the object says
  std::string uid, path, plugin, isolation, log_level, restart, source;
  bool drift = false;
  int64_t generation = 0;
  json::Value config;
  // What was found.
  PluginFile file;
  std::string judged;                         // the path that `shipped` is about
  bool shipped = true;                        // came with this program
  std::string config_text;                    // with defaults
  Error problem;                              // code OK: it could be started
  // What runs.
  std::shared_ptr<Generation> current, starting;
  std::vector<std::shared_ptr<Generation>> old;
  std::shared_ptr<std::atomic<int>> level = std::make_shared<std::atomic<int>>(PINTLE_LOG_INFO);
  bool replace = false;                       // lost a slot: the old instance is drained, a fresh one goes on
  // Failures.
  std::string failed_for;                     // fingerprint that failed for good
  uint64_t retry_at = 0;                      // instant; another fingerprint than `tried_for` does not wait for it
  std::string tried_for;
  int attempts = 0;
  int crashes = 0;                            // in a row, without a long life between
  int64_t restarts = 0, parked = 0;
  std::string last_error;
  // What is shown.
  PluginState state = PluginState::kFound;
  std::string reason, message;
  std::string written;                        // key of the status that was written last
  bool writing = false;
  int64_t changed_at = 0;
  std::string ready_since;

  std::string base() const { return file.path + "|" + isolation + "|" + restart; }
  std::string fingerprint() const { return base() + "|" + file.digest + "|" + config_text; }
};

}  // namespace pintle::kernel

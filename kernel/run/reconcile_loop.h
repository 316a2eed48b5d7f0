// Runs the controllers that a plugin describes (pintle.controller/1): the kernel watches, maps events to keys, queues,
// batches, backs off; the plugin only looks at keys.
//
//  - After start() every existing object's key comes once.
//  - A watch that is cut (EXPIRED, kind hidden) lists again: keys may repeat, none is lost.
//  - drain() hands out no further key and waits for those in hand.
// Everything is a continuation on the executor. Threads: start() once, then drain() once, from any thread; metrics() from any.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel/bus/bus.h"
#include "kernel/run/executor.h"
#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::kernel {

struct ReconcileServices {
  Executor& executor;
  Store& store;
  Bus& bus;
  // Method of pintle.controller/1 by index. `done` runs later, on the executor, exactly once.
  std::function<void(uint32_t method, std::string request, std::function<void(Result<std::string>)> done)> call;
  // (group, kind) of a storage name like "deployments.apps"; empty kind: not known (yet).
  std::function<std::pair<std::string, std::string>(const std::string& storage_name)> kind_of;
  // The storage name that objects of this kind are kept under (shared storage); the same name mostly.
  std::function<std::string(const std::string& name)> storage_of;
  std::string plugin;                                        // for messages
  std::function<void(int level, const std::string& text)> log;
};

class ReconcileLoops : public std::enable_shared_from_this<ReconcileLoops> {
 public:
  static std::shared_ptr<ReconcileLoops> make(ReconcileServices services);
  virtual ~ReconcileLoops() = default;
  // Asks for the description and begins. INVALID names what is wrong in the description.
  virtual void start(std::function<void(Result<void>)> done) = 0;
  virtual void drain(std::function<void()> done) = 0;
  virtual json::Value metrics() const = 0;  // {"<controller>": {queue metrics, "reconciles","errors","seconds"}}
};

}  // namespace pintle::kernel

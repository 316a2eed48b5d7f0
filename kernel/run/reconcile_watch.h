// One watch of a controller: from changes to keys.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernel/run/reconcile_loop.h"

namespace pintle::kernel {

struct WatchSpec {
  std::string kind;                              // "*" = all
  std::string map;                               // "self", "owner:deployments.apps", "namespace", "label:KEY", "call"
  std::vector<std::vector<std::string>> fields;  // split paths; empty: every change counts
  static Result<WatchSpec> parse(const json::Value& value);
};

// Threads: any. Ends with stop().
class ReconcileWatch : public std::enable_shared_from_this<ReconcileWatch> {
 public:
  using Keys = std::function<void(const std::vector<std::string>&)>;
  // `controller`: its name, for the plugin's `map`.
  ReconcileWatch(const ReconcileServices& services, std::string controller, WatchSpec spec, Keys keys);
  ~ReconcileWatch();
  void start();
  void resync();  // every object's key again
  void stop();

 private:
  void list_and_watch();
  void list();
  void again_later();
  void pump();
  void wake();
  void apply(const Change& change, std::vector<std::string>& keys);
  void map(const char* type, const ObjectRef& object, const ObjectRef& previous, std::vector<std::string>& keys);
  void key_of(const StoredObject& object, std::vector<std::string>& keys) const;
  std::vector<std::string> storage_kinds() const;

  ReconcileServices services_;
  const std::string controller_;
  const WatchSpec spec_;
  const Keys keys_;
  std::mutex mutex_;
  uint64_t watch_ = 0;
  TimerId timer_ = 0;
  bool stopped_ = false, pumping_ = false, again_ = false;
};

}  // namespace pintle::kernel

// One reconcile of one Deployment: read, do the next thing, read again, until there is nothing to do now; then the status.
//
// What to do next is decided by the pure parts (rollout.h, revision.h, progress.h). Every write is waited for and compares what it was
// decided on. Threads: one reconcile runs one step at a time.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pintle/event_recorder.h"
#include "pintle/host.h"
#include "progress.h"
#include "revision.h"
#include "rollout.h"

namespace pintle::deployment {

inline constexpr const char* kAutoRollback = "pintle.dev/auto-rollback";
inline constexpr const char* kRolledBackFrom = "pintle.dev/rolled-back-from";  // the ReplicaSet that was given up

class Sync : public std::enable_shared_from_this<Sync> {
 public:
  using Done = std::function<void(json::Value result)>;
  Sync(Host host, EventRecorder& events, std::string key, uint32_t owner_path, Done done);
  void run();

 private:
  void round();
  bool read();               // false: finished already
  bool claim();              // true: a commit is on its way
  bool follow_config();      // likewise, as the following ones
  bool roll_back();
  bool make_set();
  bool mark_set();
  bool mark_revision();
  bool apply(const std::vector<Step>& steps);
  bool clean_up();
  void write_status();
  // Commits and goes on with the next round; on failure ends with retry, unless `otherwise` takes care of it.
  void commit(std::vector<Op> ops, std::function<void()> then = {}, std::function<bool(const OpResult&)> otherwise = {},
              bool independent = false);
  Op patch_deployment(const json::Value& patch) const;
  Op patch_set(const SetState& set, const json::Value& patch) const;
  void finish(const char* result, const std::string& message = {});

  const Host host_;
  EventRecorder& events_;
  const std::string key_;
  std::string ns_, name_, uid_;
  const uint32_t owner_path_;
  Done done_;
  int rounds_ = 0;
  json::Value deployment_;
  uint64_t revision_ = 0;
  Wish wish_;
  std::vector<SetState> sets_;
  int newest_ = -1;
  Happened happened_;
  int64_t again_ns_ = INT64_MAX;
};

}  // namespace pintle::deployment

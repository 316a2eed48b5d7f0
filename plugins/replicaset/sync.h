// One reconcile of one ReplicaSet: claim pods, create or delete the difference, write the status.
//
// The store is read at the start and every write is waited for, so that the next reconcile of the same set sees the outcome
// of this one: no expectations are kept. Threads: one reconcile runs one step at a time.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pintle/event_recorder.h"
#include "pintle/host.h"
#include "status.h"

namespace pintle::replicaset {

class Sync : public std::enable_shared_from_this<Sync> {
 public:
  using Done = std::function<void(json::Value result)>;  // an entry of the controller's "results"
  Sync(Host host, EventRecorder& events, std::string key, uint32_t owner_path, Done done);
  void run();

 private:
  void claim(std::vector<json::Value> in_namespace);
  void claimed(const std::vector<json::Value>& adopted, const CommitResult& result);
  void scale();
  void create(size_t missing, size_t together);
  void created(size_t missing, size_t together, const CommitResult& result);
  void remove(size_t surplus);
  void removed(const std::vector<size_t>& which, const CommitResult& result);
  void write_status();
  void finish(const char* result, const std::string& message = {});
  bool is_active(const json::Value& pod) const;

  const Host host_;
  EventRecorder& events_;
  const std::string key_;
  std::string ns_, name_, uid_;
  const uint32_t owner_path_;
  Done done_;
  json::Value set_;
  std::vector<json::Value> pods_;  // ours
  Failure failure_;
  int64_t again_ns_ = INT64_MAX;
  bool claim_failed_ = false;
};

}  // namespace pintle::replicaset

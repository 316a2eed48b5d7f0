// The status of a Deployment and the conditions that kubectl rollout status reads. Kubernetes' reasons and messages.
//
// Pure; threads: any.
#pragma once
#include <string>
#include <vector>

#include "rollout.h"

namespace pintle::deployment {

struct Condition {
  std::string type, status, reason, message;
};

// `conditions` with this one set: unchanged when status and reason are the same already (unless `touch`: then its
// lastUpdateTime is new); lastTransitionTime moves only with the status.
void set_condition(json::Value& conditions, const Condition& c, int64_t wall_ns, bool touch = false);
void remove_condition(json::Value& conditions, const std::string& type);
const json::Value& find_condition(const json::Value& conditions, const std::string& type);

// What happened in this reconcile, besides numbers.
struct Happened {
  std::string created_set, found_set;   // names
  std::string failed_to_create;         // message
};

// The whole new status. `conditions` of the old status are carried over. `again_ns` is lowered to when the deadline passes.
json::Value status_of(const json::Value& deployment, const Wish& wish, const std::vector<SetState>& sets, int newest, const Happened& happened,
                      int64_t wall_ns, int64_t* again_ns);

bool complete(const json::Value& deployment, const Wish& wish, const json::Value& status);
bool timed_out(const json::Value& status);  // Progressing is False, ProgressDeadlineExceeded

// A merge patch of status; null when equal.
json::Value status_patch(const json::Value& old, const json::Value& fresh);

}  // namespace pintle::deployment

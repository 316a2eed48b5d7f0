// The arithmetic of a rollout: how many pods each ReplicaSet of a Deployment should have next. Kubernetes' rules.
//
// Pure; threads: any.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "pintle/json.h"

namespace pintle::deployment {

// A ReplicaSet of the Deployment, as far as numbers go.
struct SetState {
  json::Value object;
  std::string name, uid;
  int64_t wished = 0;                                        // spec.replicas
  int64_t replicas = 0, ready = 0, available = 0, terminating = 0;  // status
  int64_t revision = 0;                                      // deployment.kubernetes.io/revision, 0 = none
  int64_t noted_wished = -1, noted_most = -1;                // desired-replicas, max-replicas; -1 = not noted
  int64_t created_ns = 0;
  bool observed = false;                                     // its controller has seen the newest spec
  static SetState of(const json::Value& set);
};

struct Wish {
  int64_t replicas = 1;
  bool rolling = true;      // false: Recreate
  int64_t surge = 0;        // pods above `replicas`, resolved
  int64_t unavailable = 0;  // pods that may be missing, resolved, at most `replicas`
  static Wish of(const json::Value& deployment);
};

// "25%" of `total` or an absolute number. Percentages round up or down.
int64_t resolve(const json::Value& int_or_percent, int64_t total, bool round_up);

struct Step {
  size_t set;     // position in `sets`
  int64_t wished;
};

// How many pods a new ReplicaSet gets. `all_wished`: sum over all sets, the new one included with `its_wished`.
int64_t next_size_of_new(const Wish& wish, int64_t all_wished, int64_t its_wished);

// A rolling update's next steps: the new set grows first; when it cannot, old ones shrink, unhealthy pods first. `sets[newest]` is
// the new one; -1 = there is none. Empty = nothing to do now.
std::vector<Step> rolling_steps(const Wish& wish, const std::vector<SetState>& sets, int newest);

// Recreate: old sets go to 0; when all their pods are gone the new one gets everything.
std::vector<Step> recreate_steps(const Wish& wish, const std::vector<SetState>& sets, int newest);
bool old_pods_are_gone(const std::vector<SetState>& sets, int newest);

// spec.replicas of the Deployment changed since the sets were sized last.
bool is_scaling(const Wish& wish, const std::vector<SetState>& sets);
// Sizes after that, also in the middle of a rollout or while paused: in proportion.
std::vector<Step> scaling_steps(const Wish& wish, const std::vector<SetState>& sets, int newest);

}  // namespace pintle::deployment

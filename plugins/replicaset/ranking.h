// Which pods go first when there are too many: Kubernetes' order.
//
// Not assigned before assigned; pending before unknown before running; not ready before ready; lower
// controller.kubernetes.io/pod-deletion-cost; on a node with more related pods; ready for a shorter time (by powers of two, then
// by uid, so that not always the newest goes); more restarts; newer.
// Pure; threads: any.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pintle/json.h"

namespace pintle::replicaset {

// Positions in `pods` of the `count` pods to delete, first to go first. `related`: active pods per node that belong to the
// same owner (the pods themselves and those of sibling ReplicaSets).
std::vector<size_t> pods_to_delete(const std::vector<json::Value>& pods, size_t count, const std::map<std::string, int64_t>& related,
                                   int64_t wall_ns);

}  // namespace pintle::replicaset

// From a Service and its pods to EndpointSlices and Endpoints. Pure functions.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "pintle/host.h"
#include "pintle/json.h"

namespace pintle::service {

// The writes that bring the slices of one Service from `existing` to what `pods` say. Endpoints stay in the slice they are in, so that a
// change of one pod writes one slice; at most 100 endpoints a slice. A slice that becomes empty stays for a while: its revision is what service proxies
// confirm, and a deleted one has none. `forget` tells of an empty slice whether its time is over.
std::vector<Op> plan_slices(const json::Value& service, const std::vector<json::Value>& pods, const std::vector<json::Value>& existing,
                            const std::function<bool(const json::Value& slice)>& forget);

// The Endpoints object (core v1) as it should be; at most 1000 addresses, then annotated as truncated.
json::Value make_endpoints(const json::Value& service, const std::vector<json::Value>& pods);

// EndpointSlices that mirror hand-made Endpoints of a Service without selector; null Endpoints, or such that wish no mirror, have none.
std::vector<Op> plan_mirror(const json::Value& endpoints, const std::vector<json::Value>& existing);

inline constexpr char kManagedBy[] = "endpointslice-controller.k8s.io";
inline constexpr char kMirroredBy[] = "endpointslicemirroring-controller.k8s.io";

}  // namespace pintle::service

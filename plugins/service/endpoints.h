// From a Service and its pods to EndpointSlices and Endpoints. Pure functions.
#pragma once
#include <string>
#include <vector>

#include "pintle/host.h"
#include "pintle/json.h"

namespace pintle::service {

// The writes that bring the slices of one Service from `existing` to what `pods` say. Endpoints stay in the slice they are in, so that a
// change of one pod writes one slice; at most 100 endpoints a slice.
std::vector<Op> plan_slices(const json::Value& service, const std::vector<json::Value>& pods, const std::vector<json::Value>& existing);

// The Endpoints object (core v1) as it should be; at most 1000 addresses, then annotated as truncated.
json::Value make_endpoints(const json::Value& service, const std::vector<json::Value>& pods);

// EndpointSlices that mirror hand-made Endpoints of a Service without selector.
std::vector<Op> plan_mirror(const json::Value& endpoints, const std::vector<json::Value>& existing);

inline constexpr char kManagedBy[] = "endpointslice-controller.k8s.io";
inline constexpr char kMirroredBy[] = "endpointslicemirroring-controller.k8s.io";

}  // namespace pintle::service

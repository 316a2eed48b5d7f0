// Computed columns of `kubectl get`.
//
// Threads: any; pure functions of their arguments. `wall`: ns since 1970.
#pragma once
#include <string>

#include "pintle/json.h"

namespace pintle::core {

// The reply of the table hook for objects of `kind` ("pods", "nodes" ... "events.events.k8s.io").
json::Value table_rows(std::string_view kind, const json::Value& objects, int64_t wall);

json::Value pod_row(const json::Value& pod, int64_t wall);
json::Value node_row(const json::Value& node);
json::Value event_row(const json::Value& event, int64_t wall);

// "5s", "3m20s", "2d4h" as kubectl prints ages.
std::string age_text(int64_t ns);

}  // namespace pintle::core

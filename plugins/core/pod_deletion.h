// What a delete request means for pods and namespaces: the answers of the delete hook, phase "request".
//
// Threads: any; pure functions of their arguments.
#pragma once
#include "pintle/json.h"

namespace pintle::core {

// Grace from the options, else from the pod; none for pods that no node runs. A second request can only shorten it.
json::Value delete_pod(const json::Value& pod, const json::Value& options);
// Terminating until the finalizers of its spec are gone; denied for the namespaces that must stay.
json::Value delete_namespace(const json::Value& ns);

}  // namespace pintle::core

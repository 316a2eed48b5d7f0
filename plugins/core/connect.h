// log, exec, attach and port-forward of a pod: what is asked of which node agent.
//
// Threads: any; pure functions of their arguments.
#pragma once
#include "pintle/json.h"

namespace pintle::core {

// {"slot":"node-agent.<node>","request":{mode,namespace,name,uid,container,options}} for the request of the connect hook.
// Throws pintle::Error (BAD_REQUEST, INVALID) in Kubernetes' words.
json::Value connect_pod(const json::Value& request);

}  // namespace pintle::core

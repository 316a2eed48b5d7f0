// What a pod asks for that this agent cannot do. Such a pod stays Pending and says why; nothing is ignored.
//
// Threads: pure function.
#pragma once
#include <string>

#include "pintle/json.h"

namespace pintle::node_agent {

// "" = everything is supported; else a sentence that names the first field that is not.
std::string unsupported(const json::Value& pod);
// What the pod asks for and gets without its limit being kept: a sentence for an Event; "" when there is nothing.
std::string not_enforced(const json::Value& pod);

}  // namespace pintle::node_agent

// Objects of the API as the messages of pintle.scheduler/1, and back into the API's words.
//
// Pure; threads: any.
#pragma once
#include <string>

#include "pintle/json.h"
#include "pintle/scheduling/resources.h"

namespace pintle::scheduling_plugin {

// NODE of pintle.scheduler/1.
json::Value node_message(const json::Value& node);
// POD (assigned to `node`).
json::Value pod_message(const json::Value& pod, const std::string& node);
// PENDING.
json::Value pending_message(const json::Value& pod);

// Which of the happenings (queue.h) lie between two NODE messages; `before` null = the node is new.
uint32_t node_happening(const json::Value& before, const json::Value& after);

bool finished(const json::Value& pod);  // Succeeded or Failed: takes no room any more
bool gated(const json::Value& pod);     // spec.schedulingGates

// The condition PodScheduled. Empty object when the pod says exactly that already.
json::Value scheduled_condition(const json::Value& pod, bool scheduled, const std::string& reason, const std::string& message,
                                const std::string& now);
// The whole list of conditions with this one in its place.
json::Value with_condition(const json::Value& conditions, const json::Value& condition);

// The text of `explain`: each node, its first failing filter with numbers, or its scores; possible nodes first.
std::string explain_text(const std::string& pod, const json::Value& explanation);

}  // namespace pintle::scheduling_plugin

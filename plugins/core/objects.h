// Rules of the small kinds: ConfigMap, Secret, Event, Node, Namespace.
//
// Threads: any; pure functions of their arguments.
#pragma once
#include "pintle/json.h"
#include "plugins/core/causes.h"

namespace pintle::core {

// stringData becomes data (base64) and is gone.
void default_secret(json::Value& secret);
void validate_secret(const json::Value& secret, const json::Value& old, Causes& causes);
void validate_config_map(const json::Value& map, const json::Value& old, Causes& causes);
// `reference`: the field that names the object (involvedObject, or regarding in events.k8s.io).
void validate_event(const json::Value& event, std::string_view reference, Causes& causes);
void default_node(json::Value& node);  // allocatable = capacity
void validate_node(const json::Value& node, Causes& causes);
// Label with its own name; on create also the `kubernetes` finalizer and phase Active.
void prepare_namespace(json::Value& ns, bool create);

std::string base64(std::string_view bytes);
// Number of bytes behind base64 text.
size_t base64_length(std::string_view text);

}  // namespace pintle::core

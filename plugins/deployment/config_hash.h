// pintle.dev/roll-on-config-change: which ConfigMaps and Secrets a pod template refers to, and what they hold.
//
// Pure; threads: any.
#pragma once
#include <functional>
#include <set>
#include <string>
#include <utility>

#include "pintle/json.h"

namespace pintle::deployment {

inline constexpr const char* kRollOnConfigChange = "pintle.dev/roll-on-config-change";
inline constexpr const char* kConfigHash = "pintle.dev/config-hash";

using ConfigRef = std::pair<std::string, std::string>;  // ("configmaps" | "secrets", name)

// env, envFrom, volumes (also projected) of all containers. Image pull secrets do not count.
std::set<ConfigRef> config_refs(const json::Value& pod_spec);

// Of their contents; "" when the template refers to none. `get`: data and binaryData of one, null when it does not exist.
// Says nothing about what a Secret holds: it is a hash of 64 bits over names and values.
std::string config_hash(const json::Value& pod_spec, const std::function<json::Value(const ConfigRef&)>& get);

}  // namespace pintle::deployment

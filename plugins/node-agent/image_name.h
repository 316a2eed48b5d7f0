// Image references: whether two names mean the same, and which registry one comes from.
//
// Threads: pure functions.
#pragma once
#include <string>
#include <string_view>

#include "pintle/json.h"

namespace pintle::node_agent {

// "busybox" -> "docker.io/library/busybox:latest"
std::string full_image_name(std::string_view image);
// Why `image` cannot be the name of an image ("invalid reference format"); "" when it can.
std::string image_name_error(std::string_view image);
std::string registry_of(std::string_view image);  // "docker.io"
// The entry of a docker config ({"auths":{...}}) for the image as {"username","password","server"}; null when there is none.
json::Value credentials_for(const json::Value& docker_config, std::string_view image);

}  // namespace pintle::node_agent

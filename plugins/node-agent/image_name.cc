#include "image_name.h"

#include "pod_env.h"

namespace pintle::node_agent {

using json::Value;

std::string full_image_name(std::string_view image) {
  std::string name(image);
  const size_t slash = name.find('/');
  const std::string first = slash == std::string::npos ? "" : name.substr(0, slash);
  const bool registry = first.find('.') != std::string::npos || first.find(':') != std::string::npos || first == "localhost";
  if (!registry) name = "docker.io/" + (slash == std::string::npos ? "library/" + name : name);
  else if (first == "index.docker.io") name = "docker.io" + name.substr(slash);
  if (name.find('@') != std::string::npos) return name;
  const size_t last = name.rfind('/'), colon = name.rfind(':');
  if (colon == std::string::npos || colon < last) name += ":latest";
  return name;
}

std::string registry_of(std::string_view image) {
  const std::string name = full_image_name(image);
  return name.substr(0, name.find('/'));
}

Value credentials_for(const Value& config, std::string_view image) {
  const std::string name = full_image_name(image);
  const Value* best = nullptr;
  size_t best_length = 0;
  for (const auto& m : config["auths"].members()) {
    std::string key = m.key;
    for (const char* scheme : {"https://", "http://"})
      if (key.starts_with(scheme)) key.erase(0, std::string_view(scheme).size());
    for (const char* end : {"/", "/v1", "/v2"})
      if (key.ends_with(end)) key.erase(key.size() - std::string_view(end).size());
    if (key == "index.docker.io" || key == "registry-1.docker.io") key = "docker.io";
    if (!name.starts_with(key) || (name.size() > key.size() && name[key.size()] != '/') || key.size() < best_length) continue;
    best = &m.value;
    best_length = key.size();
  }
  if (!best) return Value();
  std::string user((*best)["username"].as_string()), password((*best)["password"].as_string());
  if (user.empty())
    if (const auto both = from_base64((*best)["auth"].as_string())) {
      const size_t colon = both->find(':');
      user = both->substr(0, colon);
      if (colon != std::string::npos) password = both->substr(colon + 1);
    }
  return Value::object({{"username", user}, {"password", password}, {"server", registry_of(image)}});
}

}  // namespace pintle::node_agent

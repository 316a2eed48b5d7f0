#include "config_hash.h"

#include <cinttypes>
#include <cstdio>

namespace pintle::deployment {

std::set<ConfigRef> config_refs(const json::Value& spec) {
  std::set<ConfigRef> refs;
  const auto add = [&](const char* kind, const json::Value& name) {
    if (const std::string_view n = name.as_string(); !n.empty()) refs.emplace(kind, n);
  };
  for (const char* list : {"containers", "initContainers"})
    for (const auto& c : spec[list].items()) {
      for (const auto& e : c["env"].items()) {
        add("configmaps", e.at("valueFrom.configMapKeyRef.name"));
        add("secrets", e.at("valueFrom.secretKeyRef.name"));
      }
      for (const auto& e : c["envFrom"].items()) {
        add("configmaps", e.at("configMapRef.name"));
        add("secrets", e.at("secretRef.name"));
      }
    }
  for (const auto& v : spec["volumes"].items()) {
    add("configmaps", v.at("configMap.name"));
    add("secrets", v.at("secret.secretName"));
    for (const auto& s : v.at("projected.sources").items()) {
      add("configmaps", s.at("configMap.name"));
      add("secrets", s.at("secret.name"));
    }
  }
  return refs;
}

std::string config_hash(const json::Value& spec, const std::function<json::Value(const ConfigRef&)>& get) {
  const std::set<ConfigRef> refs = config_refs(spec);
  if (refs.empty()) return {};
  uint64_t h = 1469598103934665603ull;
  const auto mix = [&](std::string_view s) {
    for (const char c : s) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    h = (h ^ 0xff) * 1099511628211ull;
  };
  for (const auto& ref : refs) {
    mix(ref.first);
    mix(ref.second);
    const json::Value content = get(ref);
    for (const char* member : {"data", "binaryData"}) mix(content[member].is_object() ? content[member].dump() : "");
  }
  char text[20];
  std::snprintf(text, sizeof text, "%016" PRIx64, h);
  return text;
}

}  // namespace pintle::deployment

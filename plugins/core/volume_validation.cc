#include "pintle/quantity.h"
#include "plugins/core/pod_validation.h"

namespace pintle::core {
namespace {

void check_relative(const json::Value& path, const std::string& at, Causes& causes) {
  const auto p = path.as_string();
  if (p.empty()) return;  // required: the schema's matter
  if (p.front() == '/') causes.invalid(at, p, "must be a relative path");
  if (("/" + std::string(p) + "/").find("/../") != std::string::npos) causes.invalid(at, p, "must not contain '..'");
}

void check_items(const json::Value& items, const std::string& at, Causes& causes) {
  size_t i = 0;
  for (const auto& item : items.items()) check_relative(item["path"], index(at, i++) + ".path", causes);
}

void check_downward(const json::Value& source, const std::string& at, Causes& causes) {
  check_items(source["items"], at + ".items", causes);
  size_t i = 0;
  for (const auto& item : source["items"].items()) {
    const std::string one = index(at + ".items", i++);
    const bool field = item.contains("fieldRef"), resource = item.contains("resourceFieldRef");
    if (!field && !resource) causes.required(one, "one of fieldRef and resourceFieldRef is required");
    if (field && resource) causes.invalid(one, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
    if (resource && item["resourceFieldRef"]["containerName"].as_string().empty())
      causes.required(one + ".resourceFieldRef.containerName");
  }
}

void check_source(const json::Value& v, const std::string& at, Causes& causes) {
  if (const json::Value* s = v.find("secret")) {
    if ((*s)["secretName"].as_string().empty()) causes.required(at + ".secret.secretName");
    check_items((*s)["items"], at + ".secret.items", causes);
  }
  if (const json::Value* s = v.find("configMap")) {
    if ((*s)["name"].as_string().empty()) causes.required(at + ".configMap.name");
    check_items((*s)["items"], at + ".configMap.items", causes);
  }
  if (const json::Value* s = v.find("downwardAPI")) check_downward(*s, at + ".downwardAPI", causes);
  if (const json::Value* s = v.find("hostPath")) {
    const auto p = (*s)["path"].as_string();
    if (("/" + std::string(p) + "/").find("/../") != std::string::npos)
      causes.invalid(at + ".hostPath.path", p, "must not contain '..'");
  }
  if (const json::Value* s = v.find("emptyDir")) {
    const auto limit = Quantity::parse((*s)["sizeLimit"].as_string());
    if (limit && limit->compare(Quantity()) < 0)
      causes.forbidden(at + ".emptyDir.sizeLimit", "SizeLimit field must be a valid resource quantity");
  }
  size_t i = 0;
  for (const auto& source : v["projected"]["sources"].items()) {
    const std::string one = index(at + ".projected.sources", i++);
    if (source.size() == 0) causes.required(one, "must specify a projected volume source");
    if (source.size() > 1) causes.forbidden(one, "may not specify more than 1 volume type per source");
    for (const char* ref : {"secret", "configMap"})
      if (source.contains(ref)) {
        if (source[ref]["name"].as_string().empty()) causes.required(one + "." + ref + ".name");
        check_items(source[ref]["items"], one + "." + ref + ".items", causes);
      }
    if (source.contains("downwardAPI")) check_downward(source["downwardAPI"], one + ".downwardAPI", causes);
  }
}

}  // namespace

void validate_volumes(const json::Value& volumes, Causes& causes) {
  size_t i = 0;
  for (const auto& v : volumes.items()) {
    const std::string at = index("volumes", i++);
    int sources = 0;
    for (const auto& m : v.members())
      if (m.key != "name" && ++sources > 1) causes.forbidden(at + "." + m.key, "may not specify more than 1 volume type");
    if (sources == 0) causes.required(at, "must specify a volume type");
    check_source(v, at, causes);
  }
}

}  // namespace pintle::core

#include "kernel/plugin/config_schema.h"

#include <algorithm>
#include <vector>

#include "kernel/base/closest.h"

namespace pintle::kernel {
namespace {

class Checker {
 public:
  explicit Checker(const Locate& locate) : locate_(locate) {}
  std::string text() const {
    std::string out;
    for (const auto& p : problems_) out += (out.empty() ? "" : "\n") + p;
    return out;
  }

  void check(const json::Value& schema, json::Value& value, const std::string& path) {
    if (!schema.is_object()) return;
    if (!type_fits(schema["type"], value)) {
      std::string wanted;
      if (schema["type"].is_array())
        for (const auto& t : schema["type"].items()) wanted += (wanted.empty() ? "" : " or ") + std::string(t.as_string());
      else wanted = schema["type"].as_string();
      return problem(path, "must be " + wanted + ", is " + name_of(value));
    }
    if (const auto& allowed = schema["enum"]; allowed.is_array()) {
      const auto& list = allowed.items();
      if (std::find(list.begin(), list.end(), value) == list.end()) {
        std::string all;
        for (const auto& a : list) all += (all.empty() ? "" : ", ") + a.dump();
        problem(path, value.dump() + " is not one of " + all);
      }
    }
    if (value.is_number()) {
      if (schema.contains("minimum") && value.as_double() < schema["minimum"].as_double()) problem(path, "must be at least " + schema["minimum"].dump());
      if (schema.contains("maximum") && value.as_double() > schema["maximum"].as_double()) problem(path, "must be at most " + schema["maximum"].dump());
    }
    if (value.is_string()) bounds(schema, "minLength", "maxLength", static_cast<int64_t>(value.as_string().size()), "characters", path);
    if (value.is_array()) {
      bounds(schema, "minItems", "maxItems", static_cast<int64_t>(value.size()), "items", path);
      auto& items = value.make_array();
      for (size_t i = 0; i < items.size(); ++i) check(schema["items"], items[i], path + "[" + std::to_string(i) + "]");
    }
    if (value.is_object()) object(schema, value, path);
  }

 private:
  void object(const json::Value& schema, json::Value& value, const std::string& path) {
    const auto child = [&](const std::string& key) { return path.empty() ? key : path + "." + key; };
    const auto& properties = schema["properties"];
    for (const auto& p : properties.members()) {
      json::Value* have = value.find(p.key);
      if (!have && p.value.contains("default")) have = &value.set(p.key, p.value["default"]);
      if (have) check(p.value, *have, child(p.key));
    }
    for (const auto& r : schema["required"].items())
      if (!value.contains(r.as_string())) problem(path, "\"" + std::string(r.as_string()) + "\" is missing");
    const json::Value* more = schema.find("additionalProperties");
    if (more && more->is_bool() && more->as_bool()) return;
    for (auto& m : value.make_object()) {
      if (properties.contains(m.key)) continue;
      if (more && more->is_object()) check(*more, m.value, child(m.key));
      else if (more || schema.contains("properties")) problem(child(m.key), "unknown key" + suggestion(properties, m.key));
    }
  }

  static std::string suggestion(const json::Value& properties, const std::string& key) {
    std::string all;
    std::vector<std::string> names;
    for (const auto& p : properties.members()) {
      all += (all.empty() ? "" : ", ") + p.key;
      names.push_back(p.key);
    }
    return all.empty() ? "; there is nothing to configure here" : did_you_mean(key, names) + "; known are " + all;
  }

  static bool type_fits(const json::Value& type, const json::Value& value) {
    if (type.is_null()) return true;
    if (type.is_array()) return std::any_of(type.items().begin(), type.items().end(), [&](const json::Value& t) { return type_fits(t, value); });
    const std::string_view t = type.as_string();
    if (t == "integer") return value.is_int();
    if (t == "number") return value.is_number();
    if (t == "string") return value.is_string();
    if (t == "boolean") return value.is_bool();
    if (t == "object") return value.is_object();
    if (t == "array") return value.is_array();
    return t == "null" && value.is_null();
  }
  static const char* name_of(const json::Value& v) {
    switch (v.type()) {
      case json::Type::kNull: return "null";
      case json::Type::kBool: return "boolean";
      case json::Type::kInt: return "integer";
      case json::Type::kDouble: return "number";
      case json::Type::kString: return "string";
      case json::Type::kArray: return "array";
      default: return "object";
    }
  }
  void bounds(const json::Value& schema, const char* low, const char* high, int64_t n, const char* unit, const std::string& path) {
    if (schema.contains(low) && n < schema[low].as_int()) problem(path, "must have at least " + schema[low].dump() + " " + unit);
    if (schema.contains(high) && n > schema[high].as_int()) problem(path, "must have at most " + schema[high].dump() + " " + unit);
  }
  void problem(const std::string& path, const std::string& what) {
    std::string where = locate_ ? locate_(path) : std::string();
    problems_.push_back((where.empty() ? "" : where + ": ") + (path.empty() ? "" : path + ": ") + what);
  }
  const Locate& locate_;
  std::vector<std::string> problems_;
};

}  // namespace

Result<json::Value> apply_schema(const json::Value& schema, const json::Value& config, const std::string& prefix, const Locate& locate) {
  json::Value value = config.is_null() ? json::Value::object() : config;
  Checker checker(locate);
  static const json::Value nothing = json::Value::object({{"type", "object"}, {"properties", json::Value::object()}});
  checker.check(schema.is_null() ? nothing : schema, value, prefix);
  if (const std::string text = checker.text(); !text.empty()) return Error(PINTLE_INVALID, text);
  return value;
}

Result<void> check_schema(const json::Value& schema) {
  static constexpr const char* kKnown[] = {"type",    "properties", "required",  "additionalProperties", "items",    "enum",     "default", "minimum", "maximum",
                                           "minLength", "maxLength", "minItems", "maxItems",             "title", "description", "examples", "$schema"};
  if (!schema.is_object()) return {};  // absent, or additionalProperties: false
  for (const auto& m : schema.members()) {
    if (std::none_of(std::begin(kKnown), std::end(kKnown), [&](const char* k) { return m.key == k; }))
      return Error(PINTLE_INVALID, "config schema: keyword \"" + m.key + "\" is not supported");
  }
  for (const auto& p : schema["properties"].members())
    if (auto r = check_schema(p.value); !r) return r;
  if (auto r = check_schema(schema["items"]); !r) return r;
  return check_schema(schema["additionalProperties"]);
}

}  // namespace pintle::kernel

#include "kernel/plugin/config.h"

#include <yaml-cpp/yaml.h>

#include <memory>

#include "kernel/base/file.h"

namespace pintle::kernel {
namespace {

constexpr int kMaxDepth = 64;

using Marks = std::map<std::string, std::string>;  // path -> "line:column"

struct Reader {
  std::string file;
  std::shared_ptr<Marks> marks = std::make_shared<Marks>();
  std::string problem;

  std::string at(const YAML::Mark& m) const { return file + ":" + std::to_string(m.line + 1) + ":" + std::to_string(m.column + 1); }

  // Plain scalars become what JSON would make of them; quoted ones stay strings.
  static json::Value scalar(const YAML::Node& n) {
    const std::string& s = n.Scalar();
    if (n.Tag() == "!") return json::Value(s);
    if (s == "null" || s == "~" || s.empty()) return {};
    const auto r = json::parse(s);
    if (r && (r.value.is_number() || r.value.is_bool())) return r.value;
    return json::Value(s);
  }

  json::Value read(const YAML::Node& n, const std::string& path, int depth) {
    (*marks)[path] = at(n.Mark());
    if (depth > kMaxDepth) {
      if (problem.empty()) problem = at(n.Mark()) + ": nested too deeply";
      return {};
    }
    if (n.IsSequence()) {
      json::Value v = json::Value::array();
      for (size_t i = 0; i < n.size(); ++i) v.push(read(n[i], path + "[" + std::to_string(i) + "]", depth + 1));
      return v;
    }
    if (n.IsMap()) {
      json::Value v = json::Value::object();
      for (const auto& kv : n) {
        const std::string key = kv.first.Scalar();
        if (v.contains(key) && problem.empty()) problem = at(kv.first.Mark()) + ": \"" + key + "\" is there twice";
        const std::string below = path.empty() ? key : path + "." + key;
        json::Value child = read(kv.second, below, depth + 1);
        (*marks)[below] = at(kv.first.Mark());  // where a reader looks for an unknown key
        v.set(key, std::move(child));
      }
      return v;
    }
    return n.IsScalar() ? scalar(n) : json::Value();
  }
};

json::Value schema() {
  static const json::Value* v = new json::Value(json::parse_or_null(R"({
    "type": "object", "additionalProperties": false,
    "properties": {
      "data": {"type": "string"},
      "listen": {"type": "array", "items": {"type": "string"}, "minItems": 1},
      "advertise": {"type": "string"},
      "tlsSans": {"type": "array", "items": {"type": "string"}},
      "tokenFile": {"type": "string"},
      "pluginDirectories": {"type": "array", "items": {"type": "string"}},
      "log": {"type": "object", "additionalProperties": false, "properties": {
        "level": {"type": "string", "enum": ["debug", "info", "warn", "error"]},
        "format": {"type": "string", "enum": ["text", "json"]},
        "file": {"type": "string"}}},
      "store": {"type": "object", "additionalProperties": false, "properties": {
        "historyMiB": {"type": "integer", "minimum": 1, "maximum": 65536}}},
      "slots": {"type": "object", "additionalProperties": {"type": "string"}},
      "plugins": {"type": ["object", "null"], "additionalProperties": {
        "type": ["object", "null"], "additionalProperties": false, "properties": {
          "enabled": {"type": "boolean"}, "plugin": {"type": "string"}, "path": {"type": "string"},
          "isolation": {"type": "string", "enum": ["in-process", "process"]},
          "config": {"type": ["object", "null"], "additionalProperties": true},
          "logLevel": {"type": "string", "enum": ["debug", "info", "warn", "error"]},
          "required": {"type": "boolean"}}}}
    }})"));
  return *v;
}

std::vector<std::string> strings(const json::Value& list) {
  std::vector<std::string> out;
  for (const auto& v : list.items()) out.emplace_back(v.as_string());
  return out;
}

}  // namespace

Result<Config> parse_config(const std::string& yaml, const std::string& file) {
  Reader reader{file, {}, {}};
  reader.marks = std::make_shared<Marks>();
  json::Value v;
  try {
    v = reader.read(YAML::Load(yaml), "", 0);
  } catch (const YAML::Exception& e) {
    return Error(PINTLE_INVALID, reader.at(e.mark) + ": " + e.msg);
  }
  if (!reader.problem.empty()) return Error(PINTLE_INVALID, reader.problem);
  Config c;
  c.file = file;
  c.locate = [marks = reader.marks](const std::string& path) {
    const auto at = marks->find(path);
    return at == marks->end() ? std::string() : at->second;
  };
  Result<json::Value> checked = apply_schema(schema(), v, "", c.locate);
  if (!checked) return checked.error();
  v = std::move(*checked);
  c.data = v["data"].as_string();
  if (v.contains("listen")) c.listen = strings(v["listen"]);
  c.advertise = v["advertise"].as_string();
  c.tls_sans = strings(v["tlsSans"]);
  c.token_file = v["tokenFile"].as_string();
  c.plugin_directories = strings(v["pluginDirectories"]);
  c.log_level = v.at("log.level").as_string("info");
  c.log_format = v.at("log.format").as_string("text");
  c.log_file = v.at("log.file").as_string();
  c.history_bytes = static_cast<uint64_t>(v.at("store.historyMiB").as_int(32)) << 20;
  for (const auto& m : v["slots"].members()) c.slots[m.key] = m.value.as_string();
  for (const auto& m : v["plugins"].members()) {
    json::Value spec = m.value.is_null() ? json::Value::object() : m.value;
    if (!spec.contains("enabled")) spec.set("enabled", true);
    if (spec["config"].is_null()) spec.erase("config");
    c.plugins.push_back({m.key, std::move(spec)});
  }
  return c;
}

Result<Config> load_config(const std::string& file) {
  Result<std::string> text = read_file(file);
  if (!text) return text.error();
  return parse_config(*text, file);
}

}  // namespace pintle::kernel

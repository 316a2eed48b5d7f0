// YAML to values; the only place of this program that includes yaml-cpp.
#include <yaml-cpp/yaml.h>

#include "kernel/cli/kubeconfig.h"

namespace pintle::cli {
namespace {

using json::Value;

constexpr int kMaxDepth = 64;
constexpr int kMaxNodes = 200000;  // aliases are followed: their number is what has to be bounded

Value scalar(const YAML::Node& n) {
  const std::string& s = n.Scalar();
  if (n.Tag() == "!") return Value(s);
  if (s.empty() || s == "null" || s == "~") return Value();
  const auto r = json::parse(s);
  // A number only when it reads back as the same text: versions and ids keep their form.
  if (r && (r.value.is_bool() || (r.value.is_number() && r.value.dump() == s))) return r.value;
  return Value(s);
}

Value convert(const YAML::Node& n, int depth, int& budget) {
  if (depth > kMaxDepth || --budget < 0) throw YAML::Exception(n.Mark(), "nested too deeply or too large");
  if (n.IsScalar()) return scalar(n);
  if (n.IsSequence()) {
    Value v = Value::array();
    for (const auto& item : n) v.push(convert(item, depth + 1, budget));
    return v;
  }
  if (!n.IsMap()) return Value();
  Value v = Value::object();
  for (const auto& m : n) {
    if (!m.first.IsScalar()) throw YAML::Exception(m.first.Mark(), "a key is not text");
    if (v.contains(m.first.Scalar())) throw YAML::Exception(m.first.Mark(), "the key \"" + m.first.Scalar() + "\" stands there twice");
    v.set(m.first.Scalar(), convert(m.second, depth + 1, budget));
  }
  return v;
}

}  // namespace

Result<Value> parse_yaml(const std::string& text) {
  try {
    int budget = kMaxNodes;
    return convert(YAML::Load(text), 0, budget);
  } catch (const YAML::Exception& e) {
    return Error(PINTLE_INVALID, std::to_string(e.mark.line + 1) + ":" + std::to_string(e.mark.column + 1) + ": " + e.msg);
  }
}

}  // namespace pintle::cli

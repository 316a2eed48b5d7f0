#include "pintle/labels.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace pintle {
namespace {

std::optional<int64_t> integer(std::string_view s) {
  int64_t v = 0;
  const auto r = std::from_chars(s.data(), s.data() + s.size(), v);
  if (s.empty() || r.ec != std::errc() || r.ptr != s.data() + s.size()) return std::nullopt;
  return v;
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

bool name_like(std::string_view s) {
  if (s.empty() || s.size() > 317) return false;
  for (const char c : s)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '/'))
      return false;
  return true;
}

Error bad(std::string_view text, const std::string& why) {
  return Error(PINTLE_BAD_REQUEST, "unable to parse selector \"" + std::string(text) + "\": " + why);
}

// One comma-separated part of a selector in text form.
Result<LabelRequirement> requirement(std::string_view part, std::string_view whole) {
  LabelRequirement r;
  part = trimmed(part);
  if (part.empty()) return bad(whole, "empty requirement");
  if (part.front() == '!') {
    r.key = trimmed(part.substr(1));
    r.op = LabelOp::kDoesNotExist;
    if (!name_like(r.key)) return bad(whole, "invalid label key \"" + r.key + "\"");
    return r;
  }
  const size_t paren = part.find('(');
  if (paren != std::string_view::npos) {
    if (part.back() != ')') return bad(whole, "expected ')'");
    std::string_view head = trimmed(part.substr(0, paren));
    const size_t space = head.find_first_of(" \t");
    if (space == std::string_view::npos) return bad(whole, "expected in or notin");
    const std::string_view op = trimmed(head.substr(space));
    r.key = head.substr(0, space);
    if (op == "in") r.op = LabelOp::kIn;
    else if (op == "notin") r.op = LabelOp::kNotIn;
    else return bad(whole, "expected in or notin, found \"" + std::string(op) + "\"");
    std::string_view list = part.substr(paren + 1, part.size() - paren - 2);
    for (;;) {
      const size_t comma = list.find(',');
      r.values.emplace_back(trimmed(list.substr(0, comma)));
      if (comma == std::string_view::npos) break;
      list.remove_prefix(comma + 1);
    }
    std::sort(r.values.begin(), r.values.end());
  } else {
    const size_t sign = part.find_first_of("=!<>");
    if (sign == std::string_view::npos) {
      r.key = part;
    } else {
      r.key = trimmed(part.substr(0, sign));
      std::string_view value = part.substr(sign);
      if (value.substr(0, 2) == "==" || value.substr(0, 2) == "!=") {
        r.op = value[0] == '=' ? LabelOp::kIn : LabelOp::kNotIn;
        value.remove_prefix(2);
      } else if (value[0] == '!') {
        return bad(whole, "expected '!='");
      } else {
        r.op = value[0] == '=' ? LabelOp::kIn : value[0] == '>' ? LabelOp::kGt : LabelOp::kLt;
        value.remove_prefix(1);
      }
      value = trimmed(value);
      if (!value.empty() && !name_like(value)) return bad(whole, "invalid label value \"" + std::string(value) + "\"");
      if ((r.op == LabelOp::kGt || r.op == LabelOp::kLt) && !integer(value)) return bad(whole, "'<' and '>' need an integer");
      r.values.emplace_back(value);
    }
  }
  if (!name_like(r.key)) return bad(whole, "invalid label key \"" + r.key + "\"");
  return r;
}

}  // namespace

bool LabelRequirement::matches(const std::string_view* value) const {
  switch (op) {
    case LabelOp::kExists: return value != nullptr;
    case LabelOp::kDoesNotExist: return value == nullptr;
    case LabelOp::kIn:
      return value && std::binary_search(values.begin(), values.end(), *value);
    case LabelOp::kNotIn:
      return !value || !std::binary_search(values.begin(), values.end(), *value);
    case LabelOp::kGt:
    case LabelOp::kLt: {
      if (!value || values.size() != 1) return false;
      const auto have = integer(*value), limit = integer(values[0]);
      if (!have || !limit) return false;
      return op == LabelOp::kGt ? *have > *limit : *have < *limit;
    }
  }
  return false;
}

std::string LabelRequirement::text() const {
  const auto list = [&] {
    std::string s = "(";
    for (size_t i = 0; i < values.size(); ++i) s += (i ? "," : "") + values[i];
    return s + ")";
  };
  switch (op) {
    case LabelOp::kExists: return key;
    case LabelOp::kDoesNotExist: return "!" + key;
    case LabelOp::kIn: return values.size() == 1 ? key + "=" + values[0] : key + " in " + list();
    case LabelOp::kNotIn: return values.size() == 1 ? key + "!=" + values[0] : key + " notin " + list();
    case LabelOp::kGt: return key + ">" + (values.empty() ? "" : values[0]);
    case LabelOp::kLt: return key + "<" + (values.empty() ? "" : values[0]);
  }
  return key;
}

Result<LabelRequirement> label_requirement(const json::Value& expression) {
  LabelRequirement r;
  r.key = expression["key"].as_string();
  const std::string_view op = expression["operator"].as_string();
  for (const auto& v : expression["values"].items()) r.values.emplace_back(v.as_string());
  std::sort(r.values.begin(), r.values.end());
  if (r.key.empty()) return Error(PINTLE_INVALID, "key must be specified");
  if (op == "In") r.op = LabelOp::kIn;
  else if (op == "NotIn") r.op = LabelOp::kNotIn;
  else if (op == "Exists") r.op = LabelOp::kExists;
  else if (op == "DoesNotExist") r.op = LabelOp::kDoesNotExist;
  else if (op == "Gt") r.op = LabelOp::kGt;
  else if (op == "Lt") r.op = LabelOp::kLt;
  else return Error(PINTLE_INVALID, "operator \"" + std::string(op) + "\" is not a valid label selector operator");
  const bool list = r.op == LabelOp::kIn || r.op == LabelOp::kNotIn;
  if (list && r.values.empty()) return Error(PINTLE_INVALID, "values must be specified when operator is In or NotIn");
  if ((r.op == LabelOp::kGt || r.op == LabelOp::kLt) && (r.values.size() != 1 || !integer(r.values[0])))
    return Error(PINTLE_INVALID, "operator " + std::string(op) + " needs exactly one integer");
  if ((r.op == LabelOp::kExists || r.op == LabelOp::kDoesNotExist) && !r.values.empty())
    return Error(PINTLE_INVALID, "values may not be specified when operator is " + std::string(op));
  return r;
}

Result<Selector> Selector::from_object(const json::Value& label_selector) {
  if (label_selector.is_null()) return nothing();
  Selector s = from_map(label_selector["matchLabels"]);
  for (const auto& e : label_selector["matchExpressions"].items()) {
    auto r = label_requirement(e);
    if (!r) return r.error();
    if (r->op == LabelOp::kGt || r->op == LabelOp::kLt)
      return Error(PINTLE_INVALID, "\"" + std::string(e["operator"].as_string()) + "\" is not a valid label selector operator");
    s.add(std::move(*r));
  }
  return s;
}

Selector Selector::from_map(const json::Value& labels) {
  Selector s;
  for (const auto& m : labels.members()) s.add({m.key, LabelOp::kIn, {std::string(m.value.as_string())}});
  return s;
}

Selector Selector::nothing() {
  Selector s;
  s.nothing_ = true;
  return s;
}

Result<Selector> Selector::parse(std::string_view text) {
  Selector s;
  if (trimmed(text).empty()) return s;
  size_t begin = 0;
  int depth = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '(') ++depth;
    if (i < text.size() && text[i] == ')') --depth;
    if (i < text.size() && (text[i] != ',' || depth > 0)) continue;
    auto r = requirement(text.substr(begin, i - begin), text);
    if (!r) return r.error();
    s.add(std::move(*r));
    begin = i + 1;
  }
  if (depth != 0) return bad(text, "unbalanced parentheses");
  return s;
}

bool Selector::matches(const json::Value& labels) const {
  if (nothing_) return false;
  for (const auto& r : requirements_) {
    const json::Value* v = labels.find(r.key);
    const std::string_view value = v ? v->as_string() : std::string_view();
    if (!r.matches(v ? &value : nullptr)) return false;
  }
  return true;
}

std::string Selector::text() const {
  std::string out;
  for (const auto& r : requirements_) out += (out.empty() ? "" : ",") + r.text();
  return out;
}

}  // namespace pintle

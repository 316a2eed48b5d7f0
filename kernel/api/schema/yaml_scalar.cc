#include "kernel/api/schema/yaml_scalar.h"

#include <charconv>
#include <cmath>
#include <optional>

#include "kernel/api/schema/base64.h"

namespace pintle::kernel {
namespace {

bool one_of(std::string_view s, std::initializer_list<std::string_view> words) {
  for (const std::string_view w : words)
    if (w == s) return true;
  return false;
}

bool is_null(std::string_view s) { return one_of(s, {"", "~", "null", "Null", "NULL"}); }

std::optional<bool> as_bool(std::string_view s) {
  if (one_of(s, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})) return true;
  if (one_of(s, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})) return false;
  return std::nullopt;
}

// Digits with '_' between them, in bases 2, 8 (0644 and 0o644), 10 and 16.
std::optional<int64_t> as_int(std::string_view s) {
  std::string plain;
  for (const char c : s)
    if (c != '_') plain += c;
  if (plain.empty() || s.front() == '_') return std::nullopt;
  const bool negative = plain[0] == '-';
  size_t at = plain[0] == '-' || plain[0] == '+' ? 1 : 0;
  int base = 10;
  if (plain.size() > at + 1 && plain[at] == '0') {
    const char c = plain[at + 1];
    base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
    at += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
  }
  std::string number = (negative ? "-" : "") + plain.substr(at);
  if (at == plain.size() || plain[at] == '-') return std::nullopt;
  int64_t v = 0;
  const auto r = std::from_chars(number.data(), number.data() + number.size(), v, base);
  if (r.ec != std::errc() || r.ptr != number.data() + number.size()) return std::nullopt;
  return v;
}

// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
bool looks_like_float(std::string_view s) {
  size_t i = !s.empty() && (s[0] == '-' || s[0] == '+') ? 1 : 0, before = 0, after = 0;
  const auto digits = [&](size_t& n) {
    for (; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i) ++n;
  };
  digits(before);
  if (i < s.size() && s[i] == '.') {
    ++i;
    digits(after);
  }
  if (before + after == 0) return false;
  if (i < s.size() && (s[i] == 'e' || s[i] == 'E')) {
    ++i;
    if (i < s.size() && (s[i] == '-' || s[i] == '+')) ++i;
    size_t exponent = 0;
    digits(exponent);
    if (exponent == 0) return false;
  }
  return i == s.size();
}

std::optional<double> as_double(std::string_view s) {
  if (!looks_like_float(s)) return std::nullopt;
  if (s.front() == '+') s.remove_prefix(1);
  double d = 0;
  const auto r = std::from_chars(s.data(), s.data() + s.size(), d);
  if (r.ec != std::errc() || r.ptr != s.data() + s.size() || !std::isfinite(d)) return std::nullopt;
  return d;
}

}  // namespace

std::string resolve_yaml_scalar(const std::string& tag, const std::string& text, json::Value& out) {
  constexpr std::string_view kCore = "tag:yaml.org,2002:";
  std::string_view kind = tag;
  if (kind.substr(0, kCore.size()) == kCore) kind.remove_prefix(kCore.size());
  const bool plain = kind == "?" || kind.empty();
  if (kind == "!" || kind == "str") {
    out = json::Value(text);
    return "";
  }
  if (!plain && !one_of(kind, {"int", "float", "bool", "null", "binary", "timestamp"})) return "unknown tag \"" + tag + "\"";
  if (kind == "timestamp") {
    out = json::Value(text);
    return "";
  }
  if (kind == "binary") {
    if (find_base64_error(text) != std::string_view::npos) return "!!binary value contains invalid base64 data";
    out = json::Value(text);
    return "";
  }
  if ((plain || kind == "null") && is_null(text)) {
    out = json::Value();
    return "";
  }
  if (plain && !text.empty() && ((text[0] >= 'g' && text[0] <= 'm') || (text[0] >= 'p' && text[0] <= 's'))) {
    out = json::Value(text);  // no word that means something else begins so
    return "";
  }
  if (plain || kind == "bool")
    if (const auto b = as_bool(text)) {
      out = json::Value(*b);
      return "";
    }
  if (plain || kind == "int")
    if (const auto i = as_int(text)) {
      out = json::Value(static_cast<long long>(*i));
      return "";
    }
  if (plain || kind == "float" || kind == "int")
    if (const auto d = as_double(text)) {
      out = json::Value(*d);
      return "";
    }
  if (!plain) return "cannot decode \"" + text + "\" as !!" + std::string(kind);
  if (one_of(text, {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN"}))
    return "\"" + text + "\" has no JSON form";
  out = json::Value(text);
  return "";
}

}  // namespace pintle::kernel

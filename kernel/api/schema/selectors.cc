#include <algorithm>
#include <charconv>
#include <optional>

#include "kernel/api/schema/codec.h"
#include "pintle/format.h"

namespace pintle::kernel {
namespace {

enum Op : int { kIn, kNotIn, kExists, kNotExists, kGreater, kLess };

Error unparsable(const std::string& text) { return Error(PINTLE_BAD_REQUEST, text); }

bool is_special(char c) { return c == '=' || c == '!' || c == '(' || c == ')' || c == ',' || c == '>' || c == '<'; }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Words and operators of the query grammar.
class Lexer {
 public:
  explicit Lexer(std::string_view s) : s_(s) {}
  std::string_view peek() {
    const size_t mark = at_;
    const std::string_view t = next();
    at_ = mark;
    return t;
  }
  // "" at the end.
  std::string_view next() {
    while (at_ < s_.size() && is_space(s_[at_])) ++at_;
    const size_t start = at_;
    if (at_ == s_.size()) return {};
    if (!is_special(s_[at_])) {
      while (at_ < s_.size() && !is_special(s_[at_]) && !is_space(s_[at_])) ++at_;
    } else {
      const char c = s_[at_++];
      if ((c == '=' || c == '!') && at_ < s_.size() && s_[at_] == '=') ++at_;
    }
    return s_.substr(start, at_ - start);
  }
  std::string_view rest() const { return s_.substr(at_); }

 private:
  std::string_view s_;
  size_t at_ = 0;
};

bool is_word(std::string_view t) { return !t.empty() && !is_special(t.front()); }

Error unexpected(std::string_view found, const char* expected) {
  return unparsable("unable to parse requirement: found '" + std::string(found) + "', expected: " + expected);
}

std::string check_key(std::string_view key) {
  const std::string wrong = check_format(Format::kQualifiedName, key);
  return wrong.empty() ? "" : "unable to parse requirement: <nil>: Invalid value: " + json::quote(key) + ": " + wrong;
}

std::string check_value(std::string_view key, size_t i, std::string_view value) {
  const std::string wrong = check_format(Format::kLabelValue, value);
  return wrong.empty() ? "" : "unable to parse requirement: values[" + std::to_string(i) + "][" + std::string(key) + "]: Invalid value: " + json::quote(value) + ": " + wrong;
}

std::optional<int64_t> integer(std::string_view s) {
  int64_t v = 0;
  const auto r = std::from_chars(s.data(), s.data() + s.size(), v);
  if (r.ec != std::errc() || r.ptr != s.data() + s.size()) return std::nullopt;
  return v;
}

// "(a,b,)" with empty values allowed.
Result<std::vector<std::string>> parse_values(Lexer& lexer) {
  if (const std::string_view t = lexer.next(); t != "(") return unexpected(t, "'('");
  std::vector<std::string> values;
  bool want_value = true;
  for (;;) {
    const std::string_view t = lexer.next();
    if (is_word(t)) {
      if (!want_value) return unexpected(t, "',', or ')'");
      values.emplace_back(t);
      want_value = false;
    } else if (t == "," || t == ")") {
      if (want_value) values.emplace_back();
      if (t == ")") break;
      want_value = true;
    } else {
      return unexpected(t, "',', ')' or identifier");
    }
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector out;
  Lexer lexer(text);
  if (lexer.peek().empty()) return out;
  for (;;) {
    Requirement r;
    std::string_view t = lexer.next();
    const bool negated = t == "!";
    if (negated) t = lexer.next();
    if (!is_word(t)) return unexpected(t, "!, identifier, or 'end of string'");
    r.key = std::string(t);
    if (std::string wrong = check_key(r.key); !wrong.empty()) return unparsable(wrong);
    t = lexer.peek();
    if (t.empty() || t == ",") {
      r.op = negated ? kNotExists : kExists;
    } else if (negated) {
      return unexpected(t, "',' or 'end of string'");
    } else {
      lexer.next();
      if (t == "=" || t == "==" || t == "!=" || t == ">" || t == "<") {
        r.op = t == "!=" ? kNotIn : t == ">" ? kGreater : t == "<" ? kLess : kIn;
        const std::string_view v = lexer.peek();
        if (is_word(v)) r.values.emplace_back(lexer.next());
        else if (v.empty() || v == ",") r.values.emplace_back();
        else return unexpected(v, "identifier");
        if ((r.op == kGreater || r.op == kLess) && !integer(r.values[0]))
          return unparsable("unable to parse requirement: values[0][" + r.key + "]: Invalid value: " + json::quote(r.values[0]) + ": for 'Gt', 'Lt' operators, the value must be an integer");
      } else if (t == "in" || t == "notin") {
        r.op = t == "in" ? kIn : kNotIn;
        auto values = parse_values(lexer);
        if (!values) return values.error();
        r.values = std::move(*values);
      } else {
        return unexpected(t, "in, notin, =, ==, !=, gt, lt");
      }
    }
    for (size_t i = 0; i < r.values.size(); ++i)
      if (std::string wrong = check_value(r.key, i, r.values[i]); !wrong.empty()) return unparsable(wrong);
    out.requirements_.push_back(std::move(r));
    t = lexer.next();
    if (t.empty()) return out;
    if (t != ",") return unexpected(t, "',' or 'end of string'");
    if (lexer.peek().empty()) return unexpected("", "identifier after ','");
  }
}

Result<LabelSelector> LabelSelector::from_object(const json::Value& selector) {
  LabelSelector out;
  for (const json::Member& m : selector["matchLabels"].members()) out.requirements_.push_back({m.key, kIn, {std::string(m.value.as_string())}});
  for (const json::Value& e : selector["matchExpressions"].items()) {
    Requirement r;
    r.key = std::string(e["key"].as_string());
    const std::string_view op = e["operator"].as_string();
    if (op == "In") r.op = kIn;
    else if (op == "NotIn") r.op = kNotIn;
    else if (op == "Exists") r.op = kExists;
    else if (op == "DoesNotExist") r.op = kNotExists;
    else return unparsable(json::quote(op) + " is not a valid label selector operator");
    for (const json::Value& v : e["values"].items()) r.values.emplace_back(v.as_string());
    const bool lists = r.op == kIn || r.op == kNotIn;
    if (lists && r.values.empty()) return unparsable("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
    if (!lists && !r.values.empty()) return unparsable("values: Invalid value: " + e["values"].dump() + ": values set must be empty for exists and does not exist");
    out.requirements_.push_back(std::move(r));
  }
  for (const Requirement& r : out.requirements_) {
    if (std::string wrong = check_key(r.key); !wrong.empty()) return unparsable(wrong);
    for (size_t i = 0; i < r.values.size(); ++i)
      if (std::string wrong = check_value(r.key, i, r.values[i]); !wrong.empty()) return unparsable(wrong);
  }
  return out;
}

bool LabelSelector::matches(std::string_view packed) const {
  for (const Requirement& r : requirements_) {
    bool found = false;
    std::string_view value;
    for (std::string_view s = packed; !s.empty();) {
      const size_t k = s.find('\0');
      if (k == std::string_view::npos) break;
      const size_t v = s.find('\0', k + 1);
      if (v == std::string_view::npos) break;
      if (s.substr(0, k) == r.key) {
        found = true;
        value = s.substr(k + 1, v - k - 1);
        break;
      }
      s.remove_prefix(v + 1);
    }
    const auto listed = [&] { return std::find(r.values.begin(), r.values.end(), value) != r.values.end(); };
    bool ok = false;
    switch (r.op) {
      case kIn: ok = found && listed(); break;
      case kNotIn: ok = !found || !listed(); break;
      case kExists: ok = found; break;
      case kNotExists: ok = !found; break;
      default: {
        const auto have = integer(value), want = integer(r.values[0]);
        ok = found && have && want && (r.op == kGreater ? *have > *want : *have < *want);
      }
    }
    if (!ok) return false;
  }
  return true;
}

Result<std::vector<FieldRequirement>> parse_field_selector(std::string_view text) {
  std::vector<FieldRequirement> out;
  size_t i = 0;
  while (i < text.size()) {
    const size_t start = i;
    FieldRequirement r;
    r.equal = true;
    while (i < text.size() && text[i] != '=' && text[i] != '!' && text[i] != ',') r.field += text[i++];
    const auto invalid = [&] { return unparsable("invalid selector: '" + std::string(text) + "'; can't understand '" + std::string(text.substr(start)) + "'"); };
    if (text.substr(start, 1) == ",") {
      ++i;  // empty terms are skipped
      continue;
    }
    if (text.substr(i, 2) == "!=") {
      r.equal = false;
      i += 2;
    } else if (text.substr(i, 2) == "==") {
      i += 2;
    } else if (text.substr(i, 1) == "=") {
      ++i;
    } else {
      return invalid();
    }
    for (; i < text.size() && text[i] != ','; ++i) {
      if (text[i] == '=') return unparsable("invalid field selector: unescaped character in value: '='");
      if (text[i] != '\\') {
        r.value += text[i];
        continue;
      }
      if (++i == text.size() || (text[i] != '\\' && text[i] != ',' && text[i] != '='))
        return unparsable("invalid field selector: invalid escape sequence in '" + std::string(text.substr(start)) + "'");
      r.value += text[i];
    }
    if (i < text.size()) ++i;
    if (r.field.empty()) return invalid();
    out.push_back(std::move(r));
  }
  return out;
}

std::string pack_labels(const json::Value& labels) {
  std::vector<const json::Member*> sorted;
  for (const json::Member& m : labels.members()) sorted.push_back(&m);
  std::sort(sorted.begin(), sorted.end(), [](const json::Member* a, const json::Member* b) { return a->key < b->key; });
  std::string out;
  for (const json::Member* m : sorted) {
    out += m->key;
    out += '\0';
    out += m->value.as_string();
    out += '\0';
  }
  return out;
}

}  // namespace pintle::kernel

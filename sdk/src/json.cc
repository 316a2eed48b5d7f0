#include "pintle/json.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <unordered_map>

namespace pintle::json {
namespace {

const Value kNull;
const Array kNoItems;
const Object kNoMembers;

// One step of a dotted path. Returns false at the end.
struct PathStep {
  std::string_view key;
  bool index = false;
  size_t number = 0;
};

bool next_step(std::string_view& path, PathStep& step) {
  if (path.empty()) return false;
  step = {};
  if (path.front() == '[') {
    const size_t end = path.find(']');
    if (end == std::string_view::npos) return false;
    step.key = path.substr(1, end - 1);
    path.remove_prefix(end + 1);
    const auto* last = step.key.data() + step.key.size();
    step.index = !step.key.empty() &&
                 std::from_chars(step.key.data(), last, step.number).ptr == last;
  } else {
    const size_t end = path.find_first_of(".[");
    step.key = path.substr(0, end);
    path.remove_prefix(end == std::string_view::npos ? path.size() : end);
  }
  if (!path.empty() && path.front() == '.') path.remove_prefix(1);
  return true;
}

class Parser {
 public:
  Parser(std::string_view text, const ParseOptions& options)
      : begin_(text.data()), p_(text.data()), end_(text.data() + text.size()), options_(options) {}

  ParseResult run() {
    ParseResult r;
    skip_space();
    if (value(r.value, 1)) {
      skip_space();
      if (p_ == end_) {
        r.ok = true;
        return r;
      }
      fail(p_ < end_ ? "unexpected text after the document" : "unexpected end");
    }
    r.value = Value();
    r.error = error_ + " at offset " + std::to_string(where_);
    r.offset = where_;
    return r;
  }

 private:
  bool fail(std::string what) {
    if (error_.empty()) {
      error_ = std::move(what);
      where_ = static_cast<size_t>(p_ - begin_);
    }
    return false;
  }

  void skip_space() {
    while (p_ < end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\t' || *p_ == '\r')) ++p_;
  }

  bool literal(std::string_view word, Value v, Value& out) {
    if (static_cast<size_t>(end_ - p_) < word.size() || std::memcmp(p_, word.data(), word.size()) != 0)
      return fail("invalid literal");
    p_ += word.size();
    out = std::move(v);
    return true;
  }

  bool value(Value& out, int depth) {
    if (depth > options_.max_depth)
      return fail("nested deeper than " + std::to_string(options_.max_depth) + " levels");
    if (p_ == end_) return fail("unexpected end");
    switch (*p_) {
      case '{': return object(out, depth);
      case '[': return array(out, depth);
      case '"': {
        std::string s;
        if (!string(s)) return false;
        out = Value(std::move(s));
        return true;
      }
      case 't': return literal("true", Value(true), out);
      case 'f': return literal("false", Value(false), out);
      case 'n': return literal("null", Value(), out);
      default: return number(out);
    }
  }

  bool object(Value& out, int depth) {
    ++p_;
    Object members;
    // An attacker's million keys must not cost quadratic time: large objects get a hash index.
    std::unordered_map<std::string, size_t> index;
    skip_space();
    if (p_ < end_ && *p_ == '}') {
      ++p_;
      out = Value(std::move(members));
      return true;
    }
    for (;;) {
      if (p_ == end_ || *p_ != '"') return fail(p_ == end_ ? "unexpected end" : "expected a string as key");
      const char* key_at = p_;
      std::string key;
      if (!string(key)) return false;
      skip_space();
      if (p_ == end_ || *p_ != ':') return fail("expected ':'");
      ++p_;
      skip_space();
      size_t at = place_of(members, index, key);
      if (at < members.size()) {
        if (!options_.duplicates) {
          p_ = key_at;
          return fail("duplicate key \"" + key + "\"");
        }
        // Bounded: one very long key may lie above very many doubled ones.
        if (options_.duplicates->size() < 64 && path_.size() + key.size() < 4096)
          options_.duplicates->push_back(path_.empty() ? key : path_ + "." + key);
        else if (options_.duplicates->empty())
          options_.duplicates->push_back("...");
      } else {
        members.push_back(Member{std::move(key), Value()});
        if (!index.empty()) index.emplace(members.back().key, at);
      }
      const size_t mark = path_.size();
      if (options_.duplicates) {
        if (!path_.empty()) path_ += '.';
        path_ += members[at].key;
      }
      if (!value(members[at].value, depth + 1)) return false;
      path_.resize(mark);
      skip_space();
      if (p_ == end_) return fail("unexpected end");
      if (*p_ == '}') break;
      if (*p_ != ',') return fail("expected ',' or '}'");
      ++p_;
      skip_space();
    }
    ++p_;
    out = Value(std::move(members));
    return true;
  }

  // Index of `key` in `members`, or members.size().
  static size_t place_of(const Object& members, std::unordered_map<std::string, size_t>& index,
                         const std::string& key) {
    constexpr size_t kLinear = 32;
    if (members.size() < kLinear) {
      for (size_t i = 0; i < members.size(); ++i)
        if (members[i].key == key) return i;
      return members.size();
    }
    if (index.empty())
      for (size_t i = 0; i < members.size(); ++i) index.emplace(members[i].key, i);
    const auto it = index.find(key);
    return it == index.end() ? members.size() : it->second;
  }

  bool array(Value& out, int depth) {
    ++p_;
    Array items;
    skip_space();
    if (p_ < end_ && *p_ == ']') {
      ++p_;
      out = Value(std::move(items));
      return true;
    }
    for (;;) {
      items.emplace_back();
      const size_t mark = path_.size();
      if (options_.duplicates) path_ += "[" + std::to_string(items.size() - 1) + "]";
      if (!value(items.back(), depth + 1)) return false;
      if (options_.duplicates) path_.resize(mark);
      skip_space();
      if (p_ == end_) return fail("unexpected end");
      if (*p_ == ']') break;
      if (*p_ != ',') return fail("expected ',' or ']'");
      ++p_;
      skip_space();
    }
    ++p_;
    out = Value(std::move(items));
    return true;
  }

  bool number(Value& out) {
    const char* start = p_;
    const char* q = p_;
    bool integral = true;
    if (q < end_ && *q == '-') ++q;
    if (q == end_ || *q < '0' || *q > '9') {
      if (q < end_ && static_cast<unsigned char>(*q) >= 0x20 && static_cast<unsigned char>(*q) < 0x7f)
        return fail(std::string("unexpected character '") + *q + "'");
      return fail("unexpected character");
    }
    if (*q == '0') {
      ++q;
    } else {
      while (q < end_ && *q >= '0' && *q <= '9') ++q;
    }
    if (q < end_ && *q == '.') {
      integral = false;
      ++q;
      if (q == end_ || *q < '0' || *q > '9') return fail("invalid number");
      while (q < end_ && *q >= '0' && *q <= '9') ++q;
    }
    if (q < end_ && (*q == 'e' || *q == 'E')) {
      integral = false;
      ++q;
      if (q < end_ && (*q == '+' || *q == '-')) ++q;
      if (q == end_ || *q < '0' || *q > '9') return fail("invalid number");
      while (q < end_ && *q >= '0' && *q <= '9') ++q;
    }
    if (q < end_ && *q >= '0' && *q <= '9') return fail("invalid number: leading zero");
    if (integral) {
      int64_t i = 0;
      if (std::from_chars(start, q, i).ec == std::errc()) {
        p_ = q;
        out = Value(static_cast<long long>(i));
        return true;
      }
    }
    double d = 0;
    if (std::from_chars(start, q, d).ec != std::errc() || !std::isfinite(d))
      return fail("number out of range");
    p_ = q;
    out = Value(d);
    return true;
  }

  static bool hex4(const char* p, uint32_t& out) {
    out = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = p[i];
      out <<= 4;
      if (c >= '0' && c <= '9') out |= static_cast<uint32_t>(c - '0');
      else if (c >= 'a' && c <= 'f') out |= static_cast<uint32_t>(c - 'a' + 10);
      else if (c >= 'A' && c <= 'F') out |= static_cast<uint32_t>(c - 'A' + 10);
      else return false;
    }
    return true;
  }

  static void utf8(uint32_t c, std::string& out) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xC0 | (c >> 6));
      out += static_cast<char>(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
      out += static_cast<char>(0xE0 | (c >> 12));
      out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (c & 0x3F));
    } else {
      out += static_cast<char>(0xF0 | (c >> 18));
      out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
      out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (c & 0x3F));
    }
  }

  // Length of the valid UTF-8 sequence at p, 0 when invalid (RFC 3629).
  static int sequence(const unsigned char* p, const unsigned char* end) {
    const auto tail = [&](int n, unsigned char lo, unsigned char hi) {
      if (end - p <= n || p[1] < lo || p[1] > hi) return 0;
      for (int i = 2; i <= n; ++i)
        if (p[i] < 0x80 || p[i] > 0xBF) return 0;
      return n + 1;
    };
    if (p[0] < 0xC2) return 0;
    if (p[0] < 0xE0) return tail(1, 0x80, 0xBF);
    if (p[0] == 0xE0) return tail(2, 0xA0, 0xBF);
    if (p[0] == 0xED) return tail(2, 0x80, 0x9F);
    if (p[0] < 0xF0) return tail(2, 0x80, 0xBF);
    if (p[0] == 0xF0) return tail(3, 0x90, 0xBF);
    if (p[0] < 0xF4) return tail(3, 0x80, 0xBF);
    if (p[0] == 0xF4) return tail(3, 0x80, 0x8F);
    return 0;
  }

  bool string(std::string& out) {
    ++p_;
    for (;;) {
      const char* run = p_;
      while (p_ < end_ && *p_ != '"' && *p_ != '\\' && static_cast<unsigned char>(*p_) >= 0x20 &&
             static_cast<unsigned char>(*p_) < 0x80)
        ++p_;
      out.append(run, p_);
      if (p_ == end_) return fail("unterminated string");
      const auto c = static_cast<unsigned char>(*p_);
      if (c == '"') {
        ++p_;
        return true;
      }
      if (c >= 0x80) {
        const int n = sequence(reinterpret_cast<const unsigned char*>(p_),
                               reinterpret_cast<const unsigned char*>(end_));
        if (n == 0) return fail("invalid UTF-8");
        out.append(p_, static_cast<size_t>(n));
        p_ += n;
        continue;
      }
      if (c != '\\') return fail("control character in a string");
      if (++p_ == end_) return fail("unterminated string");
      switch (*p_++) {
        case '"': out += '"'; break;
        case '\\': out += '\\'; break;
        case '/': out += '/'; break;
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'n': out += '\n'; break;
        case 'r': out += '\r'; break;
        case 't': out += '\t'; break;
        case 'u': {
          uint32_t c1 = 0;
          if (end_ - p_ < 4 || !hex4(p_, c1)) return fail("invalid \\u escape");
          p_ += 4;
          if (c1 >= 0xDC00 && c1 <= 0xDFFF) return fail("lone surrogate");
          if (c1 >= 0xD800 && c1 <= 0xDBFF) {
            uint32_t c2 = 0;
            if (end_ - p_ < 6 || p_[0] != '\\' || p_[1] != 'u' || !hex4(p_ + 2, c2) || c2 < 0xDC00 ||
                c2 > 0xDFFF)
              return fail("lone surrogate");
            p_ += 6;
            c1 = 0x10000 + ((c1 - 0xD800) << 10) + (c2 - 0xDC00);
          }
          utf8(c1, out);
          break;
        }
        default: --p_; return fail("invalid escape");
      }
    }
  }

  const char* begin_;
  const char* p_;
  const char* end_;
  const ParseOptions& options_;
  std::string path_;  // only kept when duplicates are collected
  std::string error_;
  size_t where_ = 0;
};

void write(const Value& v, std::string& out, int indent) {
  const auto line = [&](int depth) {
    out += '\n';
    out.append(static_cast<size_t>(depth) * 2, ' ');
  };
  switch (v.type()) {
    case Type::kNull: out += "null"; break;
    case Type::kBool: out += v.as_bool() ? "true" : "false"; break;
    case Type::kInt: {
      char buf[24];
      out.append(buf, std::to_chars(buf, buf + sizeof buf, v.as_int()).ptr);
      break;
    }
    case Type::kDouble: append_number(v.as_double(), out); break;
    case Type::kString: quote(v.as_string(), out); break;
    case Type::kArray: {
      out += '[';
      bool first = true;
      for (const auto& item : v.items()) {
        if (!first) out += ',';
        first = false;
        if (indent >= 0) line(indent + 1);
        write(item, out, indent >= 0 ? indent + 1 : -1);
      }
      if (indent >= 0 && !first) line(indent);
      out += ']';
      break;
    }
    case Type::kObject: {
      out += '{';
      bool first = true;
      for (const auto& m : v.members()) {
        if (!first) out += ',';
        first = false;
        if (indent >= 0) line(indent + 1);
        quote(m.key, out);
        out += indent >= 0 ? ": " : ":";
        write(m.value, out, indent >= 0 ? indent + 1 : -1);
      }
      if (indent >= 0 && !first) line(indent);
      out += '}';
      break;
    }
  }
}

}  // namespace

Value::Value(const char* s) : Value(std::string(s)) {}
Value::Value(std::string_view s) : Value(std::string(s)) {}
Value::Value(const std::string& s) : type_(Type::kString) { u_.s = new std::string(s); }
Value::Value(std::string&& s) : type_(Type::kString) { u_.s = new std::string(std::move(s)); }
Value::Value(Array a) : type_(Type::kArray) { u_.a = new Array(std::move(a)); }
Value::Value(Object o) : type_(Type::kObject) { u_.o = new Object(std::move(o)); }

Value Value::object(std::initializer_list<std::pair<std::string_view, Value>> members) {
  Object o;
  o.reserve(members.size());
  for (const auto& [k, v] : members) o.push_back(Member{std::string(k), v});
  return Value(std::move(o));
}
Value Value::array(std::initializer_list<Value> items) { return Value(Array(items)); }

Value::Value(const Value& o) : type_(o.type_) {
  switch (type_) {
    case Type::kString: u_.s = new std::string(*o.u_.s); break;
    case Type::kArray: u_.a = new Array(*o.u_.a); break;
    case Type::kObject: u_.o = new Object(*o.u_.o); break;
    default: u_ = o.u_;
  }
}
Value::Value(Value&& o) noexcept : u_(o.u_), type_(o.type_) {
  o.type_ = Type::kNull;
  o.u_.i = 0;
}
Value& Value::operator=(const Value& o) {
  if (this != &o) *this = Value(o);
  return *this;
}
Value& Value::operator=(Value&& o) noexcept {
  if (this != &o) {
    // `o` may live inside this value: detach it before the old content goes.
    Value taken(std::move(o));
    destroy();
    u_ = taken.u_;
    type_ = taken.type_;
    taken.type_ = Type::kNull;
  }
  return *this;
}
void Value::destroy() noexcept {
  switch (type_) {
    case Type::kString: delete u_.s; break;
    case Type::kArray: delete u_.a; break;
    case Type::kObject: delete u_.o; break;
    default: break;
  }
}

bool Value::as_bool(bool otherwise) const { return is_bool() ? u_.b : otherwise; }
int64_t Value::as_int(int64_t otherwise) const {
  if (type_ == Type::kInt) return u_.i;
  if (type_ == Type::kDouble && std::fabs(u_.d) < 9.2e18) return static_cast<int64_t>(u_.d);
  return otherwise;
}
double Value::as_double(double otherwise) const {
  if (type_ == Type::kDouble) return u_.d;
  if (type_ == Type::kInt) return static_cast<double>(u_.i);
  return otherwise;
}
std::string_view Value::as_string(std::string_view otherwise) const {
  return is_string() ? std::string_view(*u_.s) : otherwise;
}
const Array& Value::items() const& { return is_array() ? *u_.a : kNoItems; }
const Object& Value::members() const& { return is_object() ? *u_.o : kNoMembers; }
Object Value::members() && { return is_object() ? std::move(*u_.o) : Object(); }
Array& Value::make_array() {
  if (!is_array()) *this = Value(Array());
  return *u_.a;
}
Object& Value::make_object() {
  if (!is_object()) *this = Value(Object());
  return *u_.o;
}
size_t Value::size() const { return is_array() ? u_.a->size() : is_object() ? u_.o->size() : 0; }

const Value* Value::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const auto& m : *u_.o)
    if (m.key == key) return &m.value;
  return nullptr;
}
Value* Value::find(std::string_view key) {
  return const_cast<Value*>(static_cast<const Value*>(this)->find(key));
}
Value Value::operator[](std::string_view key) && {
  Value* v = find(key);
  return v ? std::move(*v) : Value();
}
Value Value::operator[](size_t index) && {
  return is_array() && index < u_.a->size() ? std::move((*u_.a)[index]) : Value();
}
Value Value::at(std::string_view path) && {
  return static_cast<const Value&>(*this).at(path);
}
const Value& Value::operator[](std::string_view key) const& {
  const Value* v = find(key);
  return v ? *v : kNull;
}
const Value& Value::operator[](size_t index) const& {
  return is_array() && index < u_.a->size() ? (*u_.a)[index] : kNull;
}
Value& Value::set(std::string_view key) {
  make_object();
  if (Value* v = find(key)) return *v;
  u_.o->push_back(Member{std::string(key), Value()});
  return u_.o->back().value;
}
Value& Value::set(std::string_view key, Value v) {
  Value& slot = set(key);
  slot = std::move(v);
  return slot;
}
bool Value::erase(std::string_view key) {
  if (!is_object()) return false;
  for (auto it = u_.o->begin(); it != u_.o->end(); ++it)
    if (it->key == key) {
      u_.o->erase(it);
      return true;
    }
  return false;
}
Value& Value::push(Value v) {
  make_array().push_back(std::move(v));
  return u_.a->back();
}

const Value& Value::at(std::string_view path) const& {
  const Value* v = this;
  PathStep step;
  while (next_step(path, step)) {
    v = step.index && v->is_array() ? &(*v)[step.number] : &(*v)[step.key];
    if (v->is_null()) return kNull;
  }
  return *v;
}
Value& Value::make(std::string_view path) {
  Value* v = this;
  PathStep step;
  while (next_step(path, step)) v = &v->set(step.key);
  return *v;
}

bool Value::operator==(const Value& o) const {
  if (is_number() && o.is_number()) {
    if (is_int() && o.is_int()) return u_.i == o.u_.i;
    return as_double() == o.as_double();
  }
  if (type_ != o.type_) return false;
  switch (type_) {
    case Type::kNull: return true;
    case Type::kBool: return u_.b == o.u_.b;
    case Type::kString: return *u_.s == *o.u_.s;
    case Type::kArray: return *u_.a == *o.u_.a;
    case Type::kObject: {
      if (u_.o->size() != o.u_.o->size()) return false;
      for (size_t i = 0; i < u_.o->size(); ++i) {
        const Member& m = (*u_.o)[i];
        const Member& same_place = (*o.u_.o)[i];
        const Value* other = same_place.key == m.key ? &same_place.value : o.find(m.key);
        if (!other || !(m.value == *other)) return false;
      }
      return true;
    }
    default: return false;
  }
}

std::string Value::dump(bool pretty) const {
  std::string out;
  write(*this, out, pretty ? 0 : -1);
  if (pretty) out += '\n';
  return out;
}
void Value::dump_to(std::string& out) const { write(*this, out, -1); }

ParseResult parse(std::string_view text, const ParseOptions& options) {
  return Parser(text, options).run();
}
Value parse_or_null(std::string_view text) { return parse(text).value; }

void quote(std::string_view s, std::string& out) {
  out += '"';
  const char* run = s.data();
  const char* end = s.data() + s.size();
  for (const char* p = run; p < end; ++p) {
    const auto c = static_cast<unsigned char>(*p);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(run, p);
    run = p + 1;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default: {
        constexpr char kHex[] = "0123456789abcdef";
        out += "\\u00";
        out += kHex[c >> 4];
        out += kHex[c & 15];
      }
    }
  }
  out.append(run, end);
  out += '"';
}

void append_number(double d, std::string& out) {
  if (!std::isfinite(d)) {
    out += "null";
    return;
  }
  char buf[40];
  // Integral doubles of moderate size are written without exponent, as Kubernetes clients expect.
  const auto r = std::fabs(d) < 1e21 && std::fabs(d) >= 1e-6
                     ? std::to_chars(buf, buf + sizeof buf, d, std::chars_format::fixed)
                     : std::to_chars(buf, buf + sizeof buf, d);
  out.append(buf, r.ptr);
}

}  // namespace pintle::json

// JSON for plugins and kernel: a small mutable value, a strict parser, a canonical writer.
//
// Differences from common libraries, all of them needed by an API server: object members keep
// their order; duplicate keys are reported, not swallowed; depth is bounded (256 by default);
// integers stay integers (int64), other numbers are doubles written in the shortest form that
// reads back equal; invalid UTF-8 and lone surrogates are refused.
//
// Threads: a Value is like an int: concurrent reads are safe, a write needs exclusion.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pintle::json {

class Value;
struct Member;

using Array = std::vector<Value>;
using Object = std::vector<Member>;  // in order; keys unique

enum class Type : uint8_t { kNull, kBool, kInt, kDouble, kString, kArray, kObject };

class Value {
 public:
  Value() noexcept : type_(Type::kNull) { u_.i = 0; }
  Value(std::nullptr_t) noexcept : Value() {}
  Value(bool b) noexcept : type_(Type::kBool) { u_.b = b; }
  Value(int i) noexcept : type_(Type::kInt) { u_.i = i; }
  Value(unsigned i) noexcept : type_(Type::kInt) { u_.i = i; }
  Value(long i) noexcept : type_(Type::kInt) { u_.i = i; }
  Value(long long i) noexcept : type_(Type::kInt) { u_.i = i; }
  Value(unsigned long i) noexcept : type_(Type::kInt) { u_.i = static_cast<int64_t>(i); }
  Value(unsigned long long i) noexcept : type_(Type::kInt) { u_.i = static_cast<int64_t>(i); }
  Value(double d) noexcept : type_(Type::kDouble) { u_.d = d; }
  Value(const char* s);
  Value(std::string_view s);
  Value(const std::string& s);
  Value(std::string&& s);
  Value(Array a);
  Value(Object o);
  // {{"a", 1}, {"b", "x"}}
  static Value object(std::initializer_list<std::pair<std::string_view, Value>> members = {});
  static Value array(std::initializer_list<Value> items = {});
  Value(const Value& o);
  Value(Value&& o) noexcept;
  Value& operator=(const Value& o);
  Value& operator=(Value&& o) noexcept;
  ~Value() { destroy(); }

  Type type() const { return type_; }
  bool is_null() const { return type_ == Type::kNull; }
  bool is_bool() const { return type_ == Type::kBool; }
  bool is_int() const { return type_ == Type::kInt; }
  bool is_number() const { return type_ == Type::kInt || type_ == Type::kDouble; }
  bool is_string() const { return type_ == Type::kString; }
  bool is_array() const { return type_ == Type::kArray; }
  bool is_object() const { return type_ == Type::kObject; }

  // Lenient readers: `otherwise` when the value has another type.
  bool as_bool(bool otherwise = false) const;
  int64_t as_int(int64_t otherwise = 0) const;
  double as_double(double otherwise = 0) const;
  std::string_view as_string(std::string_view otherwise = {}) const;  // view into this value

  // Arrays and objects; an empty one when the value has another type. From a temporary the content itself, so that
  // `for (auto& x : parse(text).value["list"].items())` is safe.
  const Array& items() const&;
  const Object& members() const&;
  Array items() && { return is_array() ? std::move(*u_.a) : Array(); }
  Object members() &&;
  Array& make_array();    // turns into an (empty) array unless it is one
  Object& make_object();  // likewise
  size_t size() const;    // items or members; 0 otherwise
  bool empty() const { return size() == 0; }

  // Member of an object, or null pointer. Never creates.
  const Value* find(std::string_view key) const;
  Value* find(std::string_view key);
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  // Member, or a shared null value when absent: v["spec"]["replicas"].as_int(1)
  const Value& operator[](std::string_view key) const&;
  const Value& operator[](const char* key) const& { return (*this)[std::string_view(key)]; }
  const Value& operator[](size_t index) const&;
  const Value& operator[](int index) const& { return (*this)[static_cast<size_t>(index)]; }
  Value operator[](std::string_view key) &&;
  Value operator[](const char* key) && { return std::move(*this)[std::string_view(key)]; }
  Value operator[](size_t index) &&;
  Value operator[](int index) && { return std::move(*this)[static_cast<size_t>(index)]; }
  // Member, created (value null) when absent; turns a non-object into an object.
  Value& set(std::string_view key);
  Value& set(std::string_view key, Value v);  // returns the member
  bool erase(std::string_view key);
  Value& push(Value v);  // turns a non-array into an array

  // Dotted path of object keys ("spec.template.spec"); shared null when absent. Keys that hold
  // dots are written in brackets: "metadata.annotations[a.b/c]"; [0] indexes arrays.
  const Value& at(std::string_view path) const&;
  Value at(std::string_view path) &&;
  Value& make(std::string_view path);  // like at(), creating objects on the way (no indexes)

  // Equal as JSON: member order does not matter, 1 == 1.0.
  bool operator==(const Value& o) const;
  bool operator!=(const Value& o) const { return !(*this == o); }

  // Compact text; pretty: two-space indentation and a final newline.
  std::string dump(bool pretty = false) const;
  void dump_to(std::string& out) const;

 private:
  void destroy() noexcept;
  union U {
    bool b;
    int64_t i;
    double d;
    std::string* s;
    Array* a;
    Object* o;
  } u_;
  Type type_;
};

struct Member {
  std::string key;
  Value value;
};

// The text of a string value, empty for anything else: a copy that outlives `v`.
inline std::string str(const Value& v) { return std::string(v.as_string()); }

struct ParseOptions {
  int max_depth = 256;
  // When given, duplicate keys are not an error: the last one counts and the dotted path of each
  // ("spec.foo") is added here: the first 64, and none whose path is longer than 4 KiB ("..." when there are only such).
  std::vector<std::string>* duplicates = nullptr;
};

struct ParseResult {
  bool ok = false;
  Value value;
  std::string error;  // "unexpected character '}' at offset 12"
  size_t offset = 0;
  explicit operator bool() const { return ok; }
};
ParseResult parse(std::string_view text, const ParseOptions& options = {});
// For text that is known to be valid (canonical objects): null value when it is not.
Value parse_or_null(std::string_view text);

// Appends `s` quoted and escaped. '<', '>' and '&' are written as they are.
void quote(std::string_view s, std::string& out);
inline std::string quote(std::string_view s) {
  std::string out;
  quote(s, out);
  return out;
}
void append_number(double d, std::string& out);

}  // namespace pintle::json

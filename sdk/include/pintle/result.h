// A value or an error that a user can act on. Used by the SDK and by the kernel.
//
// `text` is a sentence without a period; the object's key in quotes; the field named. `status` is null or a
// Kubernetes Status object with causes and is what an API client gets to see.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "pintle/abi.h"
#include "pintle/json.h"

namespace pintle {

struct Error {
  pintle_code code = PINTLE_INTERNAL;
  std::string text;
  json::Value status;
  uint32_t retry_after_ms = 0;

  Error() = default;
  Error(pintle_code c, std::string t, json::Value s = {}) : code(c), text(std::move(t)), status(std::move(s)) {}

  // From and to the C form. A status that does not fit is dropped, a long text is cut.
  static Error from_c(pintle_code code, const pintle_error* e) {
    Error out;
    out.code = code;
    if (e) {
      out.text = e->text;
      out.retry_after_ms = e->retry_after_ms;
      if (e->status[0]) out.status = json::parse_or_null(e->status);
    }
    return out;
  }
  void to_c(pintle_error* e) const {
    if (!e) return;
    e->code = code;
    e->retry_after_ms = retry_after_ms;
    const size_t n = std::min(text.size(), sizeof e->text - 1);
    text.copy(e->text, n);
    e->text[n] = 0;
    e->status[0] = 0;
    if (!status.is_null()) {
      const std::string s = status.dump();
      if (s.size() < sizeof e->status) {
        s.copy(e->status, s.size());
        e->status[s.size()] = 0;
      }
    }
  }
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Error error) : error_(std::move(error)) {}
  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }
  T& value() { return *value_; }
  const T& value() const { return *value_; }
  const Error& error() const { return error_; }

 private:
  std::optional<T> value_;
  Error error_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() : ok_(true) {}
  Result(Error error) : ok_(false), error_(std::move(error)) {}
  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const Error& error() const { return error_; }

 private:
  bool ok_;
  Error error_;
};

inline std::string_view view(pintle_bytes b) { return {b.ptr, b.len}; }
inline pintle_bytes bytes(std::string_view s) { return {s.data(), s.size()}; }
inline pintle_buf owned(std::string s) {
  auto* p = new std::string(std::move(s));
  return {p->data(), p->size(), [](void* o, const char*, size_t) { delete static_cast<std::string*>(o); }, p};
}

}  // namespace pintle

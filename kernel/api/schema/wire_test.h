// Protobuf bodies by hand.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace pintle::kernel::testing {

class Message {
 public:
  Message& number(uint32_t field, uint64_t v) {
    varint(static_cast<uint64_t>(field) << 3);
    varint(v);
    return *this;
  }
  Message& bytes(uint32_t field, std::string_view v) {
    varint(static_cast<uint64_t>(field) << 3 | 2);
    varint(v.size());
    out_ += v;
    return *this;
  }
  Message& message(uint32_t field, const Message& m) { return bytes(field, m.out_); }
  Message& fixed64(uint32_t field, uint64_t v) {
    varint(static_cast<uint64_t>(field) << 3 | 1);
    for (int i = 0; i < 8; ++i) out_ += static_cast<char>(v >> (8 * i));
    return *this;
  }
  Message& entry(uint32_t field, std::string_view key, const Message& value_as_field_2) {
    return bytes(field, Message().bytes(1, key).out_ + value_as_field_2.out_);
  }
  Message& raw(uint64_t v) {
    varint(v);
    return *this;
  }
  const std::string& text() const { return out_; }

 private:
  void varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) out_ += static_cast<char>(v | 0x80);
    out_ += static_cast<char>(v);
  }
  std::string out_;
};

inline std::string envelope(std::string_view api_version, std::string_view kind, const Message& object) {
  return std::string("k8s\0", 4) + Message().message(1, Message().bytes(1, api_version).bytes(2, kind)).message(2, object).bytes(3, "").bytes(4, "").text();
}

}  // namespace pintle::kernel::testing

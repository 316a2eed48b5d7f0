// Kubernetes quantities: "1500m", "512Mi", "2", "1e3", "0.5".
//
// Threads: values, like an int.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pintle {

// Exact to a billionth; finer digits are rounded away from zero, as Kubernetes does.
class Quantity {
 public:
  enum class Format : uint8_t { kDecimalSi, kBinarySi, kDecimalExponent };

  Quantity() = default;
  // nullopt: not a quantity. Values outside the range are capped at +-(2^63-1).
  static std::optional<Quantity> parse(std::string_view text);
  static Quantity from_value(int64_t value, Format format = Format::kDecimalSi);
  static Quantity from_milli(int64_t milli, Format format = Format::kDecimalSi);

  int64_t value() const;  // rounded up (towards +infinity)
  int64_t milli() const;  // thousandths, rounded up, capped
  Format format() const { return format_; }
  // Canonical text: the largest suffix that leaves no fraction ("1000m" -> "1", "1024Ki" -> "1Mi").
  std::string text() const;

  Quantity& operator+=(const Quantity& o);
  Quantity& operator-=(const Quantity& o);
  int compare(const Quantity& o) const { return nano_ < o.nano_ ? -1 : nano_ > o.nano_ ? 1 : 0; }

 private:
  __extension__ typedef __int128 Wide;
  Wide nano_ = 0;  // value * 10^9
  Format format_ = Format::kDecimalSi;
};

// The amount of a resource in the unit that schedulers count in: milli for "cpu", whole units (bytes) otherwise.
// nullopt: not a quantity.
std::optional<int64_t> resource_amount(std::string_view resource, std::string_view quantity);
// The reverse, for people and for API objects: ("cpu", 1500) -> "1500m", ("memory", 1<<30) -> "1Gi".
std::string resource_text(std::string_view resource, int64_t amount);

}  // namespace pintle

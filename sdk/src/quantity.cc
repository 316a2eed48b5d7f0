#include "pintle/quantity.h"

#include <array>
#include <limits>

namespace pintle {
namespace {

__extension__ typedef __int128 Wide;
constexpr Wide kNano = 1000000000;
constexpr Wide kMax = Wide(std::numeric_limits<int64_t>::max()) * kNano;

struct Suffix {
  std::string_view text;
  int power;  // of 10 (decimal) or of 2 (binary)
};
constexpr std::array<Suffix, 10> kDecimal{{{"n", -9}, {"u", -6}, {"m", -3}, {"", 0}, {"k", 3}, {"M", 6}, {"G", 9}, {"T", 12},
                                           {"P", 15}, {"E", 18}}};
constexpr std::array<Suffix, 7> kBinary{{{"", 0}, {"Ki", 10}, {"Mi", 20}, {"Gi", 30}, {"Ti", 40}, {"Pi", 50}, {"Ei", 60}}};

Wide ten_to(int power) {
  Wide r = 1;
  while (power-- > 0) r *= 10;
  return r;
}

// Away from zero, as Kubernetes rounds what it cannot keep.
Wide divide_outward(Wide a, Wide b) {
  const Wide q = a / b;
  if (a % b == 0) return q;
  return a > 0 ? q + 1 : q - 1;
}

int64_t ceil_to(Wide nano, Wide unit) {
  Wide q = nano / unit;
  if (nano % unit != 0 && nano > 0) ++q;
  if (q > std::numeric_limits<int64_t>::max()) return std::numeric_limits<int64_t>::max();
  if (q < std::numeric_limits<int64_t>::min()) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(q);
}

std::string digits(Wide v) {
  if (v == 0) return "0";
  const bool negative = v < 0;
  if (negative) v = -v;
  std::string s;
  for (; v > 0; v /= 10) s.insert(s.begin(), static_cast<char>('0' + static_cast<int>(v % 10)));
  return negative ? "-" + s : s;
}

Wide capped(Wide v) { return v > kMax ? kMax : v < -kMax ? -kMax : v; }

}  // namespace

std::optional<Quantity> Quantity::parse(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  // Mantissa: at most 27 significant digits are kept, which is beyond what can matter.
  Wide mantissa = 0;
  int scale = 0;  // mantissa * 10^scale
  bool any = false, fraction = false, rest = false;
  size_t i = 0;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '.') {
      if (fraction) return std::nullopt;
      fraction = true;
    } else if (c >= '0' && c <= '9') {
      any = true;
      if (mantissa < ten_to(27)) {
        mantissa = mantissa * 10 + (c - '0');
        if (fraction) --scale;
      } else {
        rest |= c != '0';
        if (!fraction) ++scale;
      }
    } else {
      break;
    }
  }
  if (!any) return std::nullopt;
  const std::string_view suffix = text.substr(i);
  Quantity q;
  int power = scale;
  Wide factor = 1;
  bool known = false;
  for (const Suffix& s : kDecimal)
    if (s.text == suffix) {
      power += s.power;
      known = true;
      break;
    }
  if (!known) {
    for (const Suffix& s : kBinary)
      if (!s.text.empty() && s.text == suffix) {
        factor = Wide(1) << s.power;
        q.format_ = Format::kBinarySi;
        known = true;
        break;
      }
  }
  if (!known) {
    if (suffix.size() < 2 || (suffix[0] != 'e' && suffix[0] != 'E')) return std::nullopt;
    size_t j = 1;
    bool minus = false;
    if (suffix[j] == '+' || suffix[j] == '-') minus = suffix[j++] == '-';
    if (j == suffix.size()) return std::nullopt;
    int exponent = 0;
    for (; j < suffix.size(); ++j) {
      if (suffix[j] < '0' || suffix[j] > '9') return std::nullopt;
      if (exponent < 10000) exponent = exponent * 10 + (suffix[j] - '0');
    }
    power += minus ? -exponent : exponent;
    q.format_ = Format::kDecimalExponent;
  }
  power += 9;  // to nano
  Wide v = mantissa;
  if (v != 0) {
    // Binary factors first: 27 digits (90 bits) only meet small factors unless the result is over the cap anyway.
    if (factor > 1) {
      if (v > kMax / factor && power >= 0) v = kMax;
      else {
        while (power < 0 && v > (Wide(1) << 126) / factor) {  // make room, keeping the direction of rounding
          v = divide_outward(v, 10);
          ++power;
        }
        v *= factor;
      }
    }
    for (; power > 0; --power) {
      if (v >= kMax) {
        v = kMax;
        break;
      }
      v *= 10;
    }
    if (power < 0) v = power < -37 ? 1 : divide_outward(v, ten_to(-power));
    if (rest) ++v;
  }
  v = capped(v);
  q.nano_ = negative ? -v : v;
  return q;
}

Quantity Quantity::from_value(int64_t value, Format format) {
  Quantity q;
  q.nano_ = Wide(value) * kNano;
  q.format_ = format;
  return q;
}

Quantity Quantity::from_milli(int64_t milli, Format format) {
  Quantity q;
  q.nano_ = Wide(milli) * (kNano / 1000);
  q.format_ = format;
  return q;
}

int64_t Quantity::value() const { return ceil_to(nano_, kNano); }
int64_t Quantity::milli() const { return ceil_to(nano_, kNano / 1000); }

std::string Quantity::text() const {
  if (nano_ == 0) return "0";
  const Wide magnitude = nano_ < 0 ? -nano_ : nano_;
  // Binary suffixes only for whole numbers from 1024 on, as Kubernetes: "512" stays, 0.5Ki becomes "512".
  if (format_ == Format::kBinarySi && nano_ % kNano == 0) {
    const Wide whole = nano_ / kNano;
    for (size_t i = kBinary.size(); i-- > 0;) {
      const Wide unit = Wide(1) << kBinary[i].power;
      if (whole % unit == 0) return digits(whole / unit) + std::string(kBinary[i].text);
    }
  }
  if (format_ == Format::kDecimalExponent) {
    int power = -9;
    Wide v = nano_;
    while (v % 1000 == 0) {
      v /= 1000;
      power += 3;
    }
    return digits(v) + (power ? "e" + std::to_string(power) : "");
  }
  for (size_t i = kDecimal.size(); i-- > 0;) {
    const Wide unit = ten_to(kDecimal[i].power + 9);
    if (magnitude % unit == 0) return digits(nano_ / unit) + std::string(kDecimal[i].text);
  }
  return digits(nano_) + "n";
}

Quantity& Quantity::operator+=(const Quantity& o) {
  nano_ = capped(nano_ + o.nano_);
  return *this;
}

Quantity& Quantity::operator-=(const Quantity& o) {
  nano_ = capped(nano_ - o.nano_);
  return *this;
}

std::optional<int64_t> resource_amount(std::string_view resource, std::string_view quantity) {
  const auto q = Quantity::parse(quantity);
  if (!q) return std::nullopt;
  return resource == "cpu" ? q->milli() : q->value();
}

std::string resource_text(std::string_view resource, int64_t amount) {
  if (resource == "cpu") return Quantity::from_milli(amount).text();
  const bool bytes_like = resource == "memory" || resource == "ephemeral-storage" || resource.substr(0, 9) == "hugepages";
  return Quantity::from_value(amount, bytes_like ? Quantity::Format::kBinarySi : Quantity::Format::kDecimalSi).text();
}

}  // namespace pintle

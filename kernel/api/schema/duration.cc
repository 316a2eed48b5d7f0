#include "kernel/api/schema/duration.h"

#include "kernel/api/schema/codec.h"

namespace pintle::kernel {
namespace {

constexpr int64_t kMicro = 1000, kMilli = 1000 * kMicro, kSecond = 1000 * kMilli, kMinute = 60 * kSecond, kHour = 60 * kMinute;

struct Unit {
  std::string_view name;
  int64_t ns;
};
constexpr Unit kUnits[] = {{"ns", 1}, {"us", kMicro}, {"\xc2\xb5s", kMicro}, {"\xce\xbcs", kMicro},
                           {"ms", kMilli}, {"s", kSecond}, {"m", kMinute}, {"h", kHour}};

std::string with_fraction(uint64_t value, uint64_t unit, const char* name) {
  std::string s = std::to_string(value / unit);
  uint64_t rest = value % unit;
  if (rest != 0) {
    std::string f;
    for (uint64_t u = unit / 10; u != 0 && rest != 0; u /= 10) {
      f += static_cast<char>('0' + rest / u);
      rest %= u;
    }
    s += "." + f;
  }
  return s + name;
}

}  // namespace

std::optional<int64_t> parse_duration(std::string_view s) {
  bool negative = false;
  if (!s.empty() && (s.front() == '+' || s.front() == '-')) {
    negative = s.front() == '-';
    s.remove_prefix(1);
  }
  if (s == "0") return 0;
  if (s.empty()) return std::nullopt;
  uint64_t total = 0;
  while (!s.empty()) {
    uint64_t whole = 0, fraction = 0, scale = 1;
    size_t i = 0, seen = 0;
    for (; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i, ++seen) {
      if (whole > (static_cast<uint64_t>(1) << 63) / 10) return std::nullopt;
      whole = whole * 10 + static_cast<uint64_t>(s[i] - '0');
    }
    if (i < s.size() && s[i] == '.') {
      for (++i; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i, ++seen) {
        if (scale >= 1000000000000ull) continue;  // finer than any unit here can show
        fraction = fraction * 10 + static_cast<uint64_t>(s[i] - '0');
        scale *= 10;
      }
    }
    if (seen == 0) return std::nullopt;
    s.remove_prefix(i);
    size_t n = 0;
    while (n < s.size() && s[n] != '.' && (s[n] < '0' || s[n] > '9')) ++n;
    int64_t unit = 0;
    for (const Unit& u : kUnits)
      if (u.name == s.substr(0, n)) unit = u.ns;
    if (unit == 0) return std::nullopt;
    s.remove_prefix(n);
    uint64_t ns = 0;
    if (__builtin_mul_overflow(whole, static_cast<uint64_t>(unit), &ns)) return std::nullopt;
    ns += static_cast<uint64_t>(static_cast<double>(fraction) * (static_cast<double>(unit) / static_cast<double>(scale)));
    if (__builtin_add_overflow(total, ns, &total) || total > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  }
  return negative ? -static_cast<int64_t>(total) : static_cast<int64_t>(total);
}

std::string format_duration(int64_t ns) {
  if (ns == 0) return "0s";
  const uint64_t u = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  std::string s = ns < 0 ? "-" : "";
  if (u < static_cast<uint64_t>(kMicro)) return s + std::to_string(u) + "ns";
  if (u < static_cast<uint64_t>(kMilli)) return s + with_fraction(u, kMicro, "\xc2\xb5s");
  if (u < static_cast<uint64_t>(kSecond)) return s + with_fraction(u, kMilli, "ms");
  if (u >= static_cast<uint64_t>(kHour)) s += std::to_string(u / kHour) + "h";
  if (u >= static_cast<uint64_t>(kMinute)) s += std::to_string(u % kHour / kMinute) + "m";
  return s + with_fraction(u % kMinute, kSecond, "s");
}

std::string human_duration(int64_t ns) {
  const int64_t seconds = ns / kSecond;
  const auto part = [](int64_t n, char unit) { return std::to_string(n) + unit; };
  const auto two = [&](int64_t n, char unit, int64_t m, char small) {
    return m == 0 ? part(n, unit) : part(n, unit) + part(m, small);
  };
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return part(seconds, 's');
  const int64_t minutes = seconds / 60;
  if (minutes < 10) return two(minutes, 'm', seconds % 60, 's');
  if (minutes < 3 * 60) return part(minutes, 'm');
  const int64_t hours = seconds / 3600;
  if (hours < 8) return two(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return part(hours, 'h');
  const int64_t days = hours / 24;
  if (hours < 24 * 8) return two(days, 'd', hours % 24, 'h');
  if (hours < 24 * 365 * 2) return part(days, 'd');
  if (hours < 24 * 365 * 8) return two(days / 365, 'y', days % 365, 'd');
  return part(days / 365, 'y');
}

}  // namespace pintle::kernel

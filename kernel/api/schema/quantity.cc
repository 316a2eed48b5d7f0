#include "kernel/api/schema/quantity.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace pintle::kernel {
namespace {

__extension__ using U128 = unsigned __int128;

constexpr std::string_view kFormatWrong =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
constexpr std::string_view kSuffixWrong = "unable to parse quantity's suffix";
constexpr U128 kCap = static_cast<U128>(INT64_MAX) * 1000000000u;  // in nano

enum class Form { kDecimal, kBinary, kExponent };

bool digit(char c) { return c >= '0' && c <= '9'; }

struct Suffix {
  Form form = Form::kDecimal;
  int power = 0;  // of 10, or of 2 for kBinary
};

bool parse_suffix(std::string_view s, Suffix& out) {
  constexpr std::string_view kBinary = "KMGTPE";
  constexpr std::string_view kDecimal = "numkMGTPE";  // from 10^-9 on; "" lies between m and k
  if (s.empty()) return true;
  if (s.size() == 2 && s[1] == 'i' && kBinary.find(s[0]) != std::string_view::npos) {
    out = {Form::kBinary, static_cast<int>(kBinary.find(s[0]) + 1) * 10};
    return true;
  }
  if (s.size() == 1 && kDecimal.find(s[0]) != std::string_view::npos) {
    const int i = static_cast<int>(kDecimal.find(s[0]));
    out = {Form::kDecimal, 3 * (i < 3 ? i - 3 : i - 2)};
    return true;
  }
  if (s.size() > 1 && (s[0] == 'e' || s[0] == 'E')) {
    s.remove_prefix(1);
    if (s.front() == '+') s.remove_prefix(1);
    int e = 0;
    const auto r = std::from_chars(s.data(), s.data() + s.size(), e);
    if (r.ec != std::errc() || r.ptr != s.data() + s.size() || e > 1000 || e < -1000) return false;
    out = {Form::kExponent, e};
    return true;
  }
  return false;
}

// value * 10^power in nano, rounded up, cut at kCap. `value` is below 10^28.
U128 to_nano(U128 value, bool inexact, int power) {
  power += 9;
  if (value == 0) return inexact ? 1 : 0;
  for (; power > 0; --power) {
    if (value > kCap / 10) return kCap;
    value *= 10;
  }
  bool rest = inexact;
  for (; power < 0 && value != 0; ++power) {
    rest |= value % 10 != 0;
    value /= 10;
  }
  return std::min(value + (rest ? 1 : 0), kCap);
}

std::string digits(U128 v) {
  char buffer[40];
  char* p = buffer + sizeof buffer;
  do {
    *--p = static_cast<char>('0' + static_cast<int>(v % 10));
    v /= 10;
  } while (v != 0);
  return {p, buffer + sizeof buffer};
}

}  // namespace

std::string canonical_quantity(std::string_view in, std::string& out) {
  const auto wrong_format = [] { return std::string(kFormatWrong); };
  std::string_view s = in;
  bool negative = false;
  if (!s.empty() && (s.front() == '+' || s.front() == '-')) {
    negative = s.front() == '-';
    s.remove_prefix(1);
  }
  size_t int_end = 0;
  while (int_end < s.size() && digit(s[int_end])) ++int_end;
  std::string_view whole = s.substr(0, int_end), fraction;
  s.remove_prefix(int_end);
  if (!s.empty() && s.front() == '.') {
    size_t end = 1;
    while (end < s.size() && digit(s[end])) ++end;
    fraction = s.substr(1, end - 1);
    s.remove_prefix(end);
  }
  if (whole.empty() && fraction.empty()) return wrong_format();
  Suffix suffix;
  if (!parse_suffix(s, suffix)) {
    const bool listed = s.find_first_not_of("eEinumkKMGTP+-0123456789") == std::string_view::npos;
    return listed ? std::string(kSuffixWrong) : wrong_format();
  }

  while (!whole.empty() && whole.front() == '0') whole.remove_prefix(1);
  while (!fraction.empty() && fraction.back() == '0') fraction.remove_suffix(1);
  const size_t most = suffix.form == Form::kBinary ? 18 : 28;
  U128 nano = kCap;
  if (whole.size() <= most) {
    U128 mantissa = 0;
    bool inexact = false;
    int power = 0;
    size_t used = 0;
    for (const char c : whole) mantissa = mantissa * 10 + static_cast<unsigned>(c - '0'), ++used;
    for (const char c : fraction) {
      if (used >= most) {
        inexact = true;  // below nano by now, or rounded up anyway
        break;
      }
      mantissa = mantissa * 10 + static_cast<unsigned>(c - '0');
      --power;
      used += mantissa != 0;
      if (power < -40) {
        inexact = true;
        break;
      }
    }
    if (suffix.form == Form::kBinary) nano = to_nano(mantissa << suffix.power, inexact, power);
    else nano = to_nano(mantissa, inexact, power + suffix.power);
  } else if (suffix.form != Form::kBinary && suffix.power < 0) {
    // Many digits with a small unit: the last ones fall below nano.
    const size_t drop = whole.size() - most;
    U128 mantissa = 0;
    for (const char c : whole.substr(0, most)) mantissa = mantissa * 10 + static_cast<unsigned>(c - '0');
    nano = drop > 1000 ? kCap : to_nano(mantissa, true, suffix.power + static_cast<int>(drop));
  }

  if (nano == 0) {
    out = "0";
    return "";
  }
  constexpr U128 kUnit = 1000000000u;
  Form form = suffix.form;
  if (form == Form::kBinary && (nano < 1024 * kUnit || nano % kUnit != 0)) form = Form::kDecimal;
  std::string text = negative ? "-" : "";
  if (form == Form::kBinary) {
    U128 v = nano / kUnit;
    int k = 0;
    while (k < 6 && v % 1024 == 0) v /= 1024, ++k;
    constexpr const char* kNames[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    text += digits(v) + kNames[k];
  } else {
    U128 v = nano;
    int k = 0;  // power of 1000 above nano
    while (k < 9 && v % 1000 == 0) v /= 1000, ++k;
    text += digits(v);
    constexpr const char* kNames[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
    if (form == Form::kDecimal) text += kNames[k];
    else if (k != 3) text += "e" + std::to_string(3 * (k - 3));
  }
  out = std::move(text);
  return "";
}

}  // namespace pintle::kernel

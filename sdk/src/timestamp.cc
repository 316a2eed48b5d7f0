#include "pintle/timestamp.h"

#include <cstdio>

namespace pintle {
namespace {

// Days since 1970-01-01 of a civil date and back (proleptic Gregorian; H. Hinnant's algorithms).
int64_t days_from_civil(int64_t y, int m, int d) {
  y -= m <= 2;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const int64_t yoe = y - era * 400;
  const int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  const int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + doe - 719468;
}

void civil_from_days(int64_t z, int64_t& y, int& m, int& d) {
  z += 719468;
  const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  const int64_t doe = z - era * 146097;
  const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  y = yoe + era * 400;
  const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const int64_t mp = (5 * doy + 2) / 153;
  d = static_cast<int>(doy - (153 * mp + 2) / 5 + 1);
  m = static_cast<int>(mp < 10 ? mp + 3 : mp - 9);
  y += m <= 2;
}

std::string format(int64_t wall_ns, bool micro) {
  int64_t seconds = wall_ns / kSecond, rest = wall_ns % kSecond;
  if (rest < 0) {
    rest += kSecond;
    --seconds;
  }
  int64_t days = seconds / 86400, in_day = seconds % 86400;
  if (in_day < 0) {
    in_day += 86400;
    --days;
  }
  int64_t y = 0;
  int m = 0, d = 0;
  civil_from_days(days, y, m, d);
  char out[64];
  int n = std::snprintf(out, sizeof out, "%04lld-%02d-%02dT%02d:%02d:%02d", static_cast<long long>(y), m, d,
                        static_cast<int>(in_day / 3600), static_cast<int>(in_day / 60 % 60), static_cast<int>(in_day % 60));
  if (micro) n += std::snprintf(out + n, sizeof out - static_cast<size_t>(n), ".%06d", static_cast<int>(rest / 1000));
  return std::string(out, static_cast<size_t>(n)) + "Z";
}

// Reads exactly `n` digits; -1 when they are not there.
int number(std::string_view s, size_t at, size_t n) {
  int v = 0;
  if (at + n > s.size()) return -1;
  for (size_t i = at; i < at + n; ++i) {
    if (s[i] < '0' || s[i] > '9') return -1;
    v = v * 10 + (s[i] - '0');
  }
  return v;
}

}  // namespace

std::string format_time(int64_t wall_ns) { return format(wall_ns, false); }
std::string format_micro_time(int64_t wall_ns) { return format(wall_ns, true); }

std::optional<int64_t> parse_time(std::string_view s) {
  const int year = number(s, 0, 4), month = number(s, 5, 2), day = number(s, 8, 2);
  const int hour = number(s, 11, 2), minute = number(s, 14, 2), second = number(s, 17, 2);
  if (year < 0 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
      second < 0 || second > 60)
    return std::nullopt;
  if (s[4] != '-' || s[7] != '-' || (s[10] != 'T' && s[10] != 't') || s[13] != ':' || s[16] != ':') return std::nullopt;
  size_t i = 19;
  int64_t fraction = 0;
  if (i < s.size() && s[i] == '.') {
    int64_t unit = kSecond / 10;
    for (++i; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i, unit /= 10) fraction += (s[i] - '0') * unit;
    if (s[i - 1] == '.') return std::nullopt;
  }
  int64_t offset = 0;
  if (i >= s.size()) return std::nullopt;
  if (s[i] == 'Z' || s[i] == 'z') {
    if (i + 1 != s.size()) return std::nullopt;
  } else {
    const int oh = number(s, i + 1, 2), om = number(s, i + 4, 2);
    if ((s[i] != '+' && s[i] != '-') || oh < 0 || om < 0 || s[i + 3] != ':' || i + 6 != s.size()) return std::nullopt;
    offset = (int64_t{oh} * 3600 + int64_t{om} * 60) * (s[i] == '-' ? -1 : 1);
  }
  const int64_t seconds = days_from_civil(year, month, day) * 86400 + int64_t{hour} * 3600 + int64_t{minute} * 60 + second - offset;
  return seconds * kSecond + fraction;
}

}  // namespace pintle

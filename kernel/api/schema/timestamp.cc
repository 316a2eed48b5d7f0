#include "kernel/api/schema/timestamp.h"

#include <cstdio>

namespace pintle::kernel {
namespace {

// Days since 1970-01-01 of a date in the proleptic Gregorian calendar, and back (eras of 400 years).
int64_t days_of(int64_t y, unsigned m, unsigned d) {
  y -= m <= 2;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const auto yoe = static_cast<unsigned>(y - era * 400);
  const unsigned doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
  return era * 146097 + static_cast<int64_t>(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

void date_of(int64_t days, int64_t& y, unsigned& m, unsigned& d) {
  days += 719468;
  const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const auto doe = static_cast<unsigned>(days - era * 146097);
  const unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const unsigned mp = (5 * doy + 2) / 153;
  d = doy - (153 * mp + 2) / 5 + 1;
  m = mp < 10 ? mp + 3 : mp - 9;
  y = static_cast<int64_t>(yoe) + era * 400 + (m <= 2);
}

unsigned days_in(int64_t y, unsigned m) {
  constexpr unsigned kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return m == 2 && (y % 4 == 0 && (y % 100 != 0 || y % 400 == 0)) ? 29 : kDays[m - 1];
}

constexpr int64_t kFirst = -62167219200, kLast = 253402300799;  // years 0 and 9999

}  // namespace

bool parse_rfc3339(std::string_view s, Instant& out) {
  const auto number = [&](size_t at, size_t n, unsigned& v) {
    v = 0;
    for (size_t i = at; i < at + n; ++i) {
      if (i >= s.size() || s[i] < '0' || s[i] > '9') return false;
      v = v * 10 + static_cast<unsigned>(s[i] - '0');
    }
    return true;
  };
  unsigned year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (s.size() < 20 || !number(0, 4, year) || s[4] != '-' || !number(5, 2, month) || s[7] != '-' || !number(8, 2, day) ||
      s[10] != 'T' || !number(11, 2, hour) || s[13] != ':' || !number(14, 2, minute) || s[16] != ':' || !number(17, 2, second))
    return false;
  if (month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 59) return false;
  size_t at = 19;
  int32_t nanos = 0;
  if (s[at] == '.' || s[at] == ',') {
    int32_t unit = 100000000;
    const size_t start = ++at;
    for (; at < s.size() && s[at] >= '0' && s[at] <= '9'; ++at, unit /= 10) nanos += (s[at] - '0') * unit;
    if (at == start) return false;
  }
  int64_t offset = 0;
  if (at + 1 == s.size() && s[at] == 'Z') {
    offset = 0;
  } else {
    unsigned h = 0, m = 0;
    if (at + 6 != s.size() || (s[at] != '+' && s[at] != '-') || !number(at + 1, 2, h) || s[at + 3] != ':' || !number(at + 4, 2, m) ||
        h > 24 || m > 59)
      return false;
    offset = (s[at] == '-' ? -1 : 1) * static_cast<int64_t>(h * 3600 + m * 60);
  }
  const int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
  if (seconds < kFirst || seconds > kLast) return false;
  out = {seconds, nanos};
  return true;
}

std::string format_rfc3339(Instant t, bool micro) {
  if (t.seconds < kFirst || t.seconds > kLast) return "";
  int64_t days = t.seconds / 86400, rest = t.seconds % 86400;
  if (rest < 0) rest += 86400, --days;
  int64_t y = 0;
  unsigned m = 0, d = 0;
  date_of(days, y, m, d);
  const auto r = static_cast<int>(rest);
  char text[48];
  const int n = std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(y), m, d, r / 3600, r / 60 % 60, r % 60);
  std::string s(text, static_cast<size_t>(n));
  if (micro) {
    const int f = std::snprintf(text, sizeof text, ".%06d", t.nanos / 1000);
    s.append(text, static_cast<size_t>(f));
  }
  return s + "Z";
}

}  // namespace pintle::kernel

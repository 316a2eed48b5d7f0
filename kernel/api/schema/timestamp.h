// Instants as text: RFC 3339, as objects carry them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace pintle::kernel {

struct Instant {
  int64_t seconds = 0;  // since 1970, UTC
  int32_t nanos = 0;
};

// False when `s` is not RFC 3339 or leaves the years 0 to 9999.
bool parse_rfc3339(std::string_view s, Instant& out);
// "2006-01-02T15:04:05Z", with `micro` "2006-01-02T15:04:05.000000Z". "" outside the years 0 to 9999.
std::string format_rfc3339(Instant t, bool micro);

}  // namespace pintle::kernel

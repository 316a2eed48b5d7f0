// Durations as text: Go's form in objects ("1h30m0s").
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pintle::kernel {

// Nanoseconds of "1h30m", "1.5s", "-2ms", "0". Nothing when `s` is no duration or leaves int64.
std::optional<int64_t> parse_duration(std::string_view s);
// "1h30m0s", "1.5s", "2ms", "0s".
std::string format_duration(int64_t ns);

}  // namespace pintle::kernel

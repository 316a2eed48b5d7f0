// Timestamps of API objects: RFC 3339 in UTC. Time itself comes from Host::wall().
//
// Threads: any; nothing here reads a clock or the locale.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pintle {

// Times and durations of the host are nanoseconds.
inline constexpr int64_t kSecond = 1000000000;

// Wall ns since 1970 -> "2026-01-02T03:04:05Z" (metav1.Time).
std::string format_time(int64_t wall_ns);
// -> "2026-01-02T03:04:05.123456Z" (metav1.MicroTime).
std::string format_micro_time(int64_t wall_ns);
// Either form, any number of fraction digits, "Z" or a numeric offset. nullopt: not a timestamp.
std::optional<int64_t> parse_time(std::string_view text);

}  // namespace pintle

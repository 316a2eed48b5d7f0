#include "pintle/timestamp.h"

#include <gtest/gtest.h>

namespace pintle {
namespace {

TEST(Timestamp, FormatsAndParsesBack) {
  const int64_t t = 1767323045123456789;
  EXPECT_EQ(format_time(t), "2026-01-02T03:04:05Z");
  EXPECT_EQ(format_micro_time(t), "2026-01-02T03:04:05.123456Z");
  EXPECT_EQ(parse_time("2026-01-02T03:04:05Z"), 1767323045000000000);
  EXPECT_EQ(parse_time("2026-01-02T03:04:05.123456789Z"), t);
  EXPECT_EQ(parse_time("2026-01-02T04:04:05+01:00"), 1767323045000000000);
  EXPECT_EQ(format_time(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_time(-1), "1969-12-31T23:59:59Z");
  EXPECT_EQ(parse_time("2024-02-29T00:00:00Z"), 1709164800000000000);
}

TEST(Timestamp, OtherTextIsRefused) {
  for (const char* s : {"", "2026", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z", "2026-01-02T03:04:05.Z",
                        "2026-01-02T03:04:05Zx", "2026-01-02T03:04:05+0100"})
    EXPECT_FALSE(parse_time(s)) << s;
}

}  // namespace
}  // namespace pintle

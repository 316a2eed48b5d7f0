// Quantities, durations, instants, base64 and string formats.
#include <gmock/gmock.h>

#include "kernel/api/schema/base64.h"
#include "kernel/api/schema/codec.h"
#include "kernel/api/schema/duration.h"
#include "pintle/format.h"
#include "kernel/api/schema/quantity.h"
#include "kernel/api/schema/timestamp.h"

namespace pintle::kernel {
namespace {

using ::testing::HasSubstr;

std::string quantity(const std::string& in) {
  std::string out;
  const std::string wrong = canonical_quantity(in, out);
  return wrong.empty() ? out : "wrong: " + wrong;
}

TEST(Quantity, IsWrittenAsKubernetesWritesIt) {
  const std::pair<const char*, const char*> kCases[] = {
      {"0.5", "500m"}, {"1000m", "1"}, {"1", "1"}, {"100m", "100m"}, {"1024Mi", "1Gi"}, {"1000", "1k"}, {"1024", "1024"},
      {"1Ki", "1Ki"}, {"0.5Gi", "512Mi"}, {"1.5Gi", "1536Mi"}, {"512", "512"}, {"0", "0"}, {"0Mi", "0"}, {"0.0", "0"},
      {"-1", "-1"}, {"+5", "5"}, {"-500m", "-500m"}, {"1e3", "1e3"}, {"1E3", "1e3"}, {"12e2", "1200"}, {"1e-3", "1e-3"}, {"1500m", "1500m"},
      {"1.1Ki", "1126400m"}, {"1000Ki", "1000Ki"}, {"2048Ki", "2Mi"}, {"1E", "1E"}, {"1Ei", "1Ei"}, {"100n", "100n"}, {"0.1n", "1n"},
      {"123456789123456789123", "9223372036854775807"}, {".5", "500m"}, {"5.", "5"}, {"1000000000n", "1"}, {"64Gi", "64Gi"},
      {"00012", "12"}, {"1.0", "1"}, {"0.000000000000000000000000000000000000000000001", "1n"}, {"1000e-3", "1"}, {"8Ei", "9223372036854775807"},
  };
  for (const auto& [in, out] : kCases) EXPECT_EQ(quantity(in), out) << in;
}

TEST(Quantity, RefusesWhatIsNone) {
  for (const char* in : {"", "abc", "1.2.3", "1 Gi", "1GiB", "--1", ".", "1e", "Mi", "1x", "1e99999999999"}) EXPECT_THAT(quantity(in), HasSubstr("wrong: ")) << in;
  EXPECT_THAT(quantity("1ki"), HasSubstr("unable to parse quantity's suffix"));
  EXPECT_THAT(quantity("abc"), HasSubstr("must match the regular expression"));
}

TEST(Duration, IsReadAndWrittenAsInGo) {
  const std::pair<const char*, const char*> kCases[] = {{"1h", "1h0m0s"}, {"90s", "1m30s"}, {"1.5s", "1.5s"}, {"100ms", "100ms"},
                                                        {"0", "0s"}, {"-2m", "-2m0s"}, {"1h30m10.25s", "1h30m10.25s"}, {"3us", "3\xc2\xb5s"}};
  for (const auto& [in, out] : kCases) {
    const auto ns = parse_duration(in);
    ASSERT_TRUE(ns) << in;
    EXPECT_EQ(format_duration(*ns), out);
  }
  for (const char* in : {"", "1", "s", "1x", "1h-3m", "99999999999h", "."}) EXPECT_FALSE(parse_duration(in)) << in;
}

TEST(Duration, AgesReadAsKubectlPrintsThem) {
  const int64_t s = 1000000000, m = 60 * s, h = 60 * m, d = 24 * h;
  const std::pair<int64_t, const char*> kCases[] = {
      {-2 * s, "<invalid>"}, {-s, "0s"}, {0, "0s"}, {119 * s, "119s"}, {2 * m, "2m"}, {2 * m + 5 * s, "2m5s"}, {10 * m, "10m"},
      {179 * m, "179m"}, {3 * h, "3h"}, {3 * h + 12 * m, "3h12m"}, {8 * h, "8h"}, {47 * h, "47h"}, {2 * d, "2d"}, {2 * d + 3 * h, "2d3h"},
      {8 * d, "8d"}, {400 * d, "400d"}, {365 * 2 * d, "2y"}, {(365 * 2 + 5) * d, "2y5d"}, {365 * 9 * d, "9y"}};
  for (const auto& [ns, text] : kCases) EXPECT_EQ(human_duration(ns), text);
}

TEST(Timestamp, IsBroughtToUtc) {
  Instant t;
  ASSERT_TRUE(parse_rfc3339("2024-02-29T23:59:59.123456789+02:00", t));
  EXPECT_EQ(format_rfc3339(t, false), "2024-02-29T21:59:59Z");
  EXPECT_EQ(format_rfc3339(t, true), "2024-02-29T21:59:59.123456Z");
  ASSERT_TRUE(parse_rfc3339("1970-01-01T00:00:00Z", t));
  EXPECT_EQ(t.seconds, 0);
  ASSERT_TRUE(parse_rfc3339("1969-12-31T23:59:59Z", t));
  EXPECT_EQ(format_rfc3339(t, false), "1969-12-31T23:59:59Z");
  for (const char* in : {"", "2024-02-30T00:00:00Z", "2023-02-29T00:00:00Z", "2024-01-01", "2024-01-01T00:00:00", "2024-01-01 00:00:00Z",
                         "2024-13-01T00:00:00Z", "2024-01-01T25:00:00Z", "0000-01-01T00:00:00+10:00"})
    EXPECT_FALSE(parse_rfc3339(in, t)) << in;
}

TEST(Base64, FindsTheFirstWrongByte) {
  EXPECT_EQ(encode_base64("a"), "YQ==");
  EXPECT_EQ(encode_base64("ab"), "YWI=");
  EXPECT_EQ(encode_base64("abc"), "YWJj");
  EXPECT_EQ(encode_base64(""), "");
  for (const char* fine : {"", "YQ==", "YWI=", "YWJj", "YW\nJj"}) EXPECT_EQ(find_base64_error(fine), std::string_view::npos) << fine;
  EXPECT_EQ(find_base64_error("Y Q="), 1u);
  for (const char* bad : {"YQ", "YQ=", "Y", "=", "YQ===", "YWJj=", "YQ==YQ=="}) EXPECT_NE(find_base64_error(bad), std::string_view::npos) << bad;
}

TEST(Formats, AcceptAndRefuse) {
  struct Case {
    const char* format;
    std::vector<std::string> fine, bad;
  };
  const Case kCases[] = {
      {"dns1123label", {"a", "a-1", "0a"}, {"", "A", "-a", "a-", "a.b", std::string(64, 'a')}},
      {"dns1123subdomain", {"a.b", "a"}, {"a..b", ".a", "a.", "a_b", std::string(254, 'a')}},
      {"dns1035label", {"a1"}, {"1a", ""}},
      {"qualifiedName", {"a", "x.y/Name_1"}, {"", "/a", "a/b/c", "x.y/", "X.Y/a", "-a"}},
      {"labelValue", {"", "a", "A_b.c"}, {"-a", "a/b", std::string(64, 'a')}},
      {"portName", {"http", "a1-b"}, {"", "1234", "a--b", "-a", "HTTP", std::string(16, 'a')}},
      {"ip", {"10.0.0.1", "::1"}, {"10.0.0", "10.0.0.01x", "", "a", "1.2.3.4/8"}},
      {"cidr", {"10.0.0.0/8", "fd00::/64"}, {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "x/8", "1.2.3.4/08"}},
      {"absolutePath", {"/a"}, {"a", ""}},
      {"relativePath", {"a/b", "..a"}, {"/a", "a/../b", ".."}},
      {"cIdentifier", {"A_1"}, {"1A", "a-b", ""}},
      {"envVarName", {"A-1", "a.b"}, {"a=b", "", "\x01"}},
      {"configKey", {"a.b-c_D"}, {"", ".", "..", "..a", "a/b"}},
      {"url", {"https://x"}, {"x", "://x", "http://", "http://a b"}},
      {"uuid", {"6fa459ea-ee8a-3ca4-894e-db77e160355e"}, {"6fa459ea"}},
      {"httpHeaderName", {"X-Header-Name", "a1"}, {"", "a b", "a:b", "a\r\nb", "a_b"}},
      {"searchDomain", {".", "a.b", "a.b.", "_tcp.example"}, {"", "a b", "a\nb", "a..b", "-a", "A"}},
      {"sysctl", {"net.core.somaxconn", "net/ipv4/ip_x", "a-b_c"}, {"", "a..b", "A.b", "a b", ".a", std::string(254, 'a')}},
      {"none", {"system:x", "a b"}, {".", "..", "a/b", "a%b"}},
  };
  for (const Case& c : kCases) {
    const Format f = format_by_name(c.format);
    ASSERT_NE(f, Format::kUnknown) << c.format;
    for (const std::string& s : c.fine) EXPECT_EQ(check_format(f, s), "") << c.format << " " << s;
    for (const std::string& s : c.bad) EXPECT_NE(check_format(f, s), "") << c.format << " " << s;
  }
  EXPECT_EQ(check_name_prefix(Format::kDns1123Subdomain, "web-"), "");
  EXPECT_NE(check_name_prefix(Format::kDns1123Subdomain, "Web-"), "");
}

}  // namespace
}  // namespace pintle::kernel

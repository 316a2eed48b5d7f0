// The string formats that a field can declare, with Kubernetes' messages; for rules in code too.
//
//   if (std::string wrong = check_format(Format::kPortName, name); !wrong.empty()) ...
//
// Threads: pure functions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace pintle {

enum class Format : uint8_t {
  kNone, kDns1123Label, kDns1123Subdomain, kDns1035Label, kQualifiedName, kLabelKey, kLabelValue, kPortName,
  kIp, kIpv4, kIpv6, kCidr, kPath, kAbsolutePath, kRelativePath, kPathSegment, kCIdentifier, kEnvVarName,
  kConfigKey, kUrl, kUuid, kHttpHeaderName, kSearchDomain, kSysctl, kUnknown,
};

// kUnknown when no such format exists.
Format format_by_name(std::string_view name);

// "" when `s` has the format, else what is wrong: "a lowercase RFC 1123 label must consist of ...".
std::string check_format(Format format, std::string_view s);

// A metadata.name prefix (generateName): the trailing dash does not count.
std::string check_name_prefix(Format format, std::string_view s);

}  // namespace pintle

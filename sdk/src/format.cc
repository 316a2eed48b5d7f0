#include "pintle/format.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace pintle {
namespace {

bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool alnum(char c) { return lower(c) || upper(c) || digit(c); }
bool lower_alnum(char c) { return lower(c) || digit(c); }

std::string too_long(size_t n) { return "must be no more than " + std::to_string(n) + " bytes"; }

bool is_label(std::string_view s, bool first_is_letter) {
  if (s.empty() || !lower_alnum(s.back())) return false;
  if (first_is_letter ? !lower(s.front()) : !lower_alnum(s.front())) return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return lower_alnum(c) || c == '-'; });
}

// Whether each part between two of `separators` is as `test` says.
template <class Test>
bool every_part(std::string_view s, const char* separators, Test test) {
  for (;;) {
    const size_t end = s.find_first_of(separators);
    if (!test(s.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    s.remove_prefix(end + 1);
  }
}

bool is_subdomain(std::string_view s) {
  return every_part(s, ".", [](std::string_view label) { return is_label(label, false); });
}

// A label that may have underscores inside.
bool is_underscored_label(std::string_view s) {
  return !s.empty() && lower_alnum(s.front()) && lower_alnum(s.back()) && std::all_of(s.begin(), s.end(), [](char c) { return lower_alnum(c) || c == '-' || c == '_'; });
}

bool is_name_part(std::string_view s) {
  if (s.empty() || !alnum(s.front()) || !alnum(s.back())) return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

constexpr std::string_view kLabelText =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
constexpr std::string_view kSubdomainText =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with "
    "an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
constexpr std::string_view k1035Text =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
    "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
constexpr std::string_view kNamePartText =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
    "'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
constexpr std::string_view kLabelValueText =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
    "an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
constexpr std::string_view kCIdentifierText =
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' "
    "(e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
constexpr std::string_view kEnvText =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
constexpr std::string_view kSearchDomainText =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
constexpr std::string_view kHttpHeaderText =
    "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is "
    "'[-A-Za-z0-9]+')";
constexpr std::string_view kSysctlText =
    "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
constexpr std::string_view kConfigKeyText =
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

std::string check_label(std::string_view s) {
  if (s.size() > 63) return too_long(63);
  return is_label(s, false) ? "" : std::string(kLabelText);
}

std::string check_subdomain(std::string_view s) {
  if (s.size() > 253) return too_long(253);
  return is_subdomain(s) ? "" : std::string(kSubdomainText);
}

std::string check_qualified_name(std::string_view s) {
  const size_t slash = s.find('/');
  std::string_view name = s;
  if (slash != std::string_view::npos) {
    const std::string_view prefix = s.substr(0, slash);
    name = s.substr(slash + 1);
    if (name.find('/') != std::string_view::npos)
      return "a qualified name " + std::string(kNamePartText) + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
    if (prefix.empty()) return "prefix part must be non-empty";
    const std::string wrong = check_subdomain(prefix);
    if (!wrong.empty()) return "prefix part " + wrong;
  }
  if (name.empty()) return "name part must be non-empty";
  if (name.size() > 63) return "name part " + too_long(63);
  return is_name_part(name) ? "" : "name part " + std::string(kNamePartText);
}

std::string check_label_value(std::string_view s) {
  if (s.size() > 63) return too_long(63);
  return s.empty() || is_name_part(s) ? "" : std::string(kLabelValueText);
}

// Of a resolver: "." alone, or a subdomain that may have underscores and a dot at its end.
std::string check_search_domain(std::string_view s) {
  if (s == ".") return "";
  if (s.ends_with('.')) s.remove_suffix(1);
  if (s.size() > 253) return too_long(253);
  const bool fine = every_part(s, ".", [](std::string_view label) {
    if (label.starts_with('_')) label.remove_prefix(1);
    return is_underscored_label(label);
  });
  return fine ? "" : std::string(kSearchDomainText);
}

bool is_sysctl(std::string_view s) {
  return s.size() <= 253 && every_part(s, "./", is_underscored_label);
}

std::string check_port_name(std::string_view s) {
  if (s.size() > 15) return too_long(15);
  if (s.empty() || !std::all_of(s.begin(), s.end(), [](char c) { return lower_alnum(c) || c == '-'; }))
    return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
  if (std::none_of(s.begin(), s.end(), lower)) return "must contain at least one letter (a-z)";
  if (s.find("--") != std::string_view::npos) return "must not contain consecutive hyphens";
  if (s.front() == '-' || s.back() == '-') return "must not begin or end with a hyphen";
  return "";
}

bool is_ip(std::string_view s, int family) {
  char text[64];
  if (s.size() >= sizeof text) return false;
  s.copy(text, s.size());
  text[s.size()] = 0;
  unsigned char bytes[16];
  return s.find('\0') == std::string_view::npos && inet_pton(family, text, bytes) == 1;
}

bool is_cidr(std::string_view s) {
  const size_t slash = s.find('/');
  if (slash == std::string_view::npos) return false;
  const bool v4 = is_ip(s.substr(0, slash), AF_INET);
  if (!v4 && !is_ip(s.substr(0, slash), AF_INET6)) return false;
  const std::string_view bits = s.substr(slash + 1);
  int n = -1;
  const auto r = std::from_chars(bits.data(), bits.data() + bits.size(), n);
  return r.ec == std::errc() && r.ptr == bits.data() + bits.size() && n >= 0 && n <= (v4 ? 32 : 128) &&
         (bits.size() == 1 || bits.front() != '0');
}

bool has_backstep(std::string_view s) {
  for (;;) {
    const size_t slash = s.find('/');
    if (s.substr(0, slash) == "..") return true;
    if (slash == std::string_view::npos) return false;
    s.remove_prefix(slash + 1);
  }
}

std::string check_path_segment(std::string_view s) {
  if (s == ".") return "may not be '.'";
  if (s == "..") return "may not be '..'";
  for (const char c : {'/', '%'})
    if (s.find(c) != std::string_view::npos) return std::string("may not contain '") + c + "'";
  return "";
}

bool is_url(std::string_view s) {
  const size_t colon = s.find("://");
  if (colon == std::string_view::npos || colon == 0 || colon + 3 == s.size()) return false;
  return lower(s.front()) && std::all_of(s.begin(), s.end(), [](char c) { return c > ' ' && c != 0x7f; });
}

bool is_uuid(std::string_view s) {
  if (s.size() != 36) return false;
  for (size_t i = 0; i < s.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? s[i] != '-' : !(digit(s[i]) || (s[i] >= 'a' && s[i] <= 'f') || (s[i] >= 'A' && s[i] <= 'F'))) return false;
  }
  return true;
}

struct Named {
  std::string_view name;
  Format format;
};
constexpr Named kNames[] = {
    {"", Format::kNone}, {"none", Format::kPathSegment},
    {"dns1123label", Format::kDns1123Label}, {"dns1123subdomain", Format::kDns1123Subdomain},
    {"dns1035label", Format::kDns1035Label}, {"qualifiedName", Format::kQualifiedName},
    {"labelKey", Format::kLabelKey}, {"labelValue", Format::kLabelValue}, {"portName", Format::kPortName},
    {"ip", Format::kIp}, {"ipv4", Format::kIpv4}, {"ipv6", Format::kIpv6}, {"cidr", Format::kCidr},
    {"path", Format::kPath}, {"absolutePath", Format::kAbsolutePath}, {"relativePath", Format::kRelativePath},
    {"pathSegment", Format::kPathSegment}, {"cIdentifier", Format::kCIdentifier}, {"envVarName", Format::kEnvVarName},
    {"configKey", Format::kConfigKey}, {"configMapKey", Format::kConfigKey}, {"url", Format::kUrl},
    {"uuid", Format::kUuid}, {"httpHeaderName", Format::kHttpHeaderName}, {"searchDomain", Format::kSearchDomain},
    {"sysctl", Format::kSysctl},
};

}  // namespace

Format format_by_name(std::string_view name) {
  for (const Named& n : kNames)
    if (n.name == name) return n.format;
  return Format::kUnknown;
}

std::string check_format(Format format, std::string_view s) {
  switch (format) {
    case Format::kDns1123Label: return check_label(s);
    case Format::kDns1123Subdomain: return check_subdomain(s);
    case Format::kDns1035Label:
      if (s.size() > 63) return too_long(63);
      return is_label(s, true) ? "" : std::string(k1035Text);
    case Format::kQualifiedName:
    case Format::kLabelKey: return check_qualified_name(s);
    case Format::kLabelValue: return check_label_value(s);
    case Format::kPortName: return check_port_name(s);
    case Format::kIp:
      return is_ip(s, AF_INET) || is_ip(s, AF_INET6) ? "" : "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    case Format::kIpv4: return is_ip(s, AF_INET) ? "" : "must be a valid IPv4 address";
    case Format::kIpv6: return is_ip(s, AF_INET6) ? "" : "must be a valid IPv6 address";
    case Format::kCidr: return is_cidr(s) ? "" : "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    case Format::kPath: return s.find('\0') == std::string_view::npos ? "" : "must not contain a null character";
    case Format::kAbsolutePath: return !s.empty() && s.front() == '/' ? "" : "must be an absolute path";
    case Format::kRelativePath:
      if (!s.empty() && s.front() == '/') return "must be a relative path";
      return has_backstep(s) ? "must not contain '..'" : "";
    case Format::kPathSegment: return check_path_segment(s);
    case Format::kCIdentifier:
      return !s.empty() && !digit(s.front()) && std::all_of(s.begin(), s.end(), [](char c) { return alnum(c) || c == '_'; })
                 ? ""
                 : std::string(kCIdentifierText);
    case Format::kEnvVarName:
      return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= ' ' && c <= '~' && c != '='; })
                 ? ""
                 : std::string(kEnvText);
    case Format::kConfigKey:
      if (s.size() > 253) return too_long(253);
      if (s.empty() || !std::all_of(s.begin(), s.end(), [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; }))
        return std::string(kConfigKeyText);
      if (s == "." || s == "..") return "must not be '" + std::string(s) + "'";
      return s.substr(0, 2) == ".." ? "must not start with '..'" : "";
    case Format::kUrl: return is_url(s) ? "" : "must be a valid URL (e.g. 'https://example.com/path')";
    case Format::kUuid: return is_uuid(s) ? "" : "must be a valid UUID (e.g. '6fa459ea-ee8a-3ca4-894e-db77e160355e')";
    case Format::kHttpHeaderName:
      return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return alnum(c) || c == '-'; }) ? "" : std::string(kHttpHeaderText);
    case Format::kSearchDomain: return check_search_domain(s);
    case Format::kSysctl: return is_sysctl(s) ? "" : std::string(kSysctlText);
    default: return "";
  }
}

std::string check_name_prefix(Format format, std::string_view s) {
  if (s.size() > 1 && s.back() == '-') {
    std::string masked(s);
    masked.back() = 'a';
    return check_format(format, masked);
  }
  return check_format(format, s);
}

}  // namespace pintle

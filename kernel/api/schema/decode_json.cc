#include <algorithm>

#include "kernel/api/schema/decode.h"

namespace pintle::kernel {
namespace {

// "application/json; charset=utf-8" -> "application/json"
std::string media_type(std::string_view content_type) {
  content_type = content_type.substr(0, content_type.find(';'));
  std::string out;
  for (const char c : content_type)
    if (c != ' ' && c != '\t') out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

}  // namespace

bool valid_utf8(std::string_view s) {
  const auto* p = reinterpret_cast<const unsigned char*>(s.data());
  const auto* end = p + s.size();
  while (p < end) {
    if (*p < 0x80) {
      ++p;
      continue;
    }
    const int more = *p >= 0xC2 && *p <= 0xDF ? 1 : (*p & 0xF0) == 0xE0 ? 2 : *p >= 0xF0 && *p <= 0xF4 ? 3 : 0;
    if (more == 0 || end - p <= more) return false;
    for (int i = 1; i <= more; ++i)
      if ((p[i] & 0xC0) != 0x80) return false;
    const bool overlong = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
    const bool outside = (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF4 && p[1] > 0x8F);
    if (overlong || outside) return false;
    p += more + 1;
  }
  return true;
}

int depth_of(const json::Value& v, int limit) {
  if (limit <= 0 || (!v.is_array() && !v.is_object())) return 1;
  int deepest = 0;
  for (const json::Value& i : v.items()) deepest = std::max(deepest, depth_of(i, limit - 1));
  for (const json::Member& m : v.members()) deepest = std::max(deepest, depth_of(m.value, limit - 1));
  return deepest + 1;
}

Error unsupported_media(std::string_view accepted) {
  return Error(PINTLE_UNSUPPORTED_MEDIA,
               "the body of the request was in an unknown format - accepted media types include: " + std::string(accepted));
}

Result<Decoded> decode_json(std::string_view body) {
  std::vector<std::string> duplicates;
  json::ParseOptions options;
  options.max_depth = kMaxDepth;
  options.duplicates = &duplicates;
  json::ParseResult parsed = json::parse(body, options);
  if (!parsed) return Error(PINTLE_BAD_REQUEST, "couldn't get version/kind; json parse error: " + parsed.error);
  Decoded out;
  out.value = std::move(parsed.value);
  if (duplicates.size() > kMaxProblems) duplicates.resize(kMaxProblems);
  for (const std::string& d : duplicates) out.problems.push_back("duplicate field \"" + d + "\"");
  return out;
}

Result<Decoded> decode_body(std::string_view body, std::string_view content_type, const RegistrySnapshot& registry) {
  const std::string type = media_type(content_type);
  if (type.empty() || type == "application/json") return decode_json(body);
  if (type == "application/yaml") return decode_yaml(body);
  if (type == "application/vnd.kubernetes.protobuf") return decode_protobuf(body, registry);
  return unsupported_media("application/json, application/yaml, application/vnd.kubernetes.protobuf");
}

}  // namespace pintle::kernel

#include "kernel/cli/redact.h"

#include <algorithm>
#include <cctype>
#include <string>

namespace pintle::cli {
namespace {

bool speaks_of_a_secret(const std::string& name) {
  std::string low = name;
  std::transform(low.begin(), low.end(), low.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto ends_with = [&](std::string_view end) { return low.size() >= end.size() && low.compare(low.size() - end.size(), end.size(), end) == 0; };
  if (ends_with("file") || ends_with("name")) return false;
  for (const char* word : {"password", "passwd", "token", "secret", "credential", "privatekey", "private-key", "apikey"})
    if (low.find(word) != std::string::npos) return true;
  return false;
}

}  // namespace

void redact(json::Value& value) {
  if (value.is_array()) {
    for (auto& item : value.make_array()) redact(item);
    return;
  }
  if (!value.is_object()) return;
  for (auto& member : value.make_object()) {
    if (speaks_of_a_secret(member.key) && !member.value.is_null()) {
      member.value = json::Value("(struck out)");
      continue;
    }
    // The configuration as it was last applied is a text with the same members in it.
    json::Value inner = member.value.is_string() ? json::parse_or_null(std::string(member.value.as_string())) : json::Value();
    if (inner.is_object()) {
      redact(inner);
      member.value = json::Value(inner.dump());
    } else {
      redact(member.value);
    }
  }
}

}  // namespace pintle::cli

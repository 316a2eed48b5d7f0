#include "kernel/base/raw_field.h"

namespace pintle::kernel {
namespace {

// Behind the string that starts at `i`.
size_t skip_string(std::string_view s, size_t i) {
  for (++i; i < s.size(); ++i) {
    if (s[i] == '\\') ++i;
    else if (s[i] == '"') return i + 1;
  }
  return s.size();
}

size_t skip_value(std::string_view s, size_t i) {
  if (i >= s.size()) return i;
  if (s[i] == '"') return skip_string(s, i);
  if (s[i] == '{' || s[i] == '[') {
    int depth = 0;
    while (i < s.size()) {
      const char c = s[i];
      if (c == '"') {
        i = skip_string(s, i);
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') {
        if (--depth == 0) return i + 1;
      }
      ++i;
    }
    return s.size();
  }
  while (i < s.size() && s[i] != ',' && s[i] != '}' && s[i] != ']') ++i;
  return i;
}

}  // namespace

std::vector<std::string> split_path(std::string_view dotted) {
  std::vector<std::string> out;
  std::string key;
  for (size_t i = 0; i < dotted.size(); ++i) {
    if (dotted[i] == '[') {
      if (!key.empty()) out.push_back(std::move(key));
      key.clear();
      const size_t end = dotted.find(']', i);
      if (end == std::string_view::npos) break;
      out.emplace_back(dotted.substr(i + 1, end - i - 1));
      i = end;
      if (i + 1 < dotted.size() && dotted[i + 1] == '.') ++i;
    } else if (dotted[i] == '.') {
      out.push_back(std::move(key));
      key.clear();
    } else {
      key += dotted[i];
    }
  }
  if (!key.empty()) out.push_back(std::move(key));
  return out;
}

std::string_view raw_field(std::string_view json, const std::vector<std::string>& path) {
  std::string_view here = json;
  for (const auto& key : path) {
    if (here.empty() || here[0] != '{') return {};
    size_t i = 1;
    std::string_view found;
    while (i < here.size() && here[i] == '"') {
      const size_t key_end = skip_string(here, i);
      const std::string_view name = here.substr(i + 1, key_end - i - 2);
      const size_t value = key_end + 1;  // ':'
      const size_t end = skip_value(here, value);
      if (name == key) {
        found = here.substr(value, end - value);
        break;
      }
      i = end + 1;  // ','
    }
    if (found.empty()) return {};
    here = found;
  }
  return here;
}

std::string_view plain_text(std::string_view raw) {
  if (raw.size() >= 2 && raw.front() == '"') return raw.substr(1, raw.size() - 2);
  if (raw.empty() || raw == "null" || raw.front() == '{' || raw.front() == '[') return {};
  return raw;
}

}  // namespace pintle::kernel

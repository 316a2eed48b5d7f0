#include "kernel/api/object_text.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

namespace pintle::kernel {
namespace {

constexpr std::array<std::string_view, 14> kMetadataOrder = {
    "name",       "generateName",      "namespace",         "selfLink",
    "uid",        "resourceVersion",   "generation",        "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers"};

void append_member(const std::string& key, const json::Value& value, std::string& out) {
  if (out.back() != '{') out += ',';
  json::quote(key, out);
  out += ':';
  value.dump_to(out);
}

// Position behind the value that starts at `i`.
size_t skip_string(std::string_view s, size_t i) {
  for (++i; i < s.size(); ++i) {
    if (s[i] == '\\') {
      ++i;
    } else if (s[i] == '"') {
      return i + 1;
    }
  }
  return s.size();
}

size_t skip_value(std::string_view s, size_t i) {
  if (i >= s.size()) return s.size();
  if (s[i] == '"') return skip_string(s, i);
  if (s[i] == '{' || s[i] == '[') {
    int depth = 0;
    while (i < s.size()) {
      switch (s[i]) {
        case '"': i = skip_string(s, i); continue;
        case '{':
        case '[': ++depth; break;
        case '}':
        case ']':
          if (--depth == 0) return i + 1;
          break;
        default: break;
      }
      ++i;
    }
    return s.size();
  }
  while (i < s.size() && s[i] != ',' && s[i] != '}' && s[i] != ']') ++i;
  return i;
}

// The first name of a dotted path; names in brackets may hold dots.
std::string_view next_name(std::string_view& path) {
  if (!path.empty() && path[0] == '[') {
    const size_t end = path.find(']');
    const std::string_view name = path.substr(1, end == std::string_view::npos ? end : end - 1);
    path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
    if (!path.empty() && path[0] == '.') path.remove_prefix(1);
    return name;
  }
  const size_t end = path.find_first_of(".[");
  const std::string_view name = path.substr(0, end);
  path.remove_prefix(end == std::string_view::npos ? path.size() : end + (path[end] == '.' ? 1 : 0));
  return name;
}

}  // namespace

Put canonical_put(Key key, const json::Value& object) {
  Put put;
  put.key = std::move(key);
  std::string& out = put.json;
  out = "{";
  for (const char* name : {"apiVersion", "kind"}) {
    if (const json::Value* v = object.find(name)) append_member(name, *v, out);
  }
  if (out.back() != '{') out += ',';
  out += "\"metadata\":{";
  const json::Value& metadata = object["metadata"];
  for (const std::string_view name : kMetadataOrder) {
    if (name == "resourceVersion") {
      if (out.back() != '{') out += ',';
      out += "\"resourceVersion\":\"";
      put.revision_at = out.size();
      out += '"';
    } else if (const json::Value* v = metadata.find(name); v && !v->is_null()) {
      append_member(std::string(name), *v, out);
    }
  }
  for (const json::Member& m : metadata.members()) {
    if (std::find(kMetadataOrder.begin(), kMetadataOrder.end(), m.key) == kMetadataOrder.end()) append_member(m.key, m.value, out);
  }
  out += '}';
  for (const json::Member& m : object.members()) {
    if (m.key != "apiVersion" && m.key != "kind" && m.key != "metadata") append_member(m.key, m.value, out);
  }
  out += '}';
  return put;
}

std::string_view raw_member(std::string_view s, std::string_view key) {
  if (s.empty() || s[0] != '{') return {};
  size_t i = 1;
  while (i < s.size() && s[i] == '"') {
    const size_t name_end = skip_string(s, i);
    const std::string_view name = s.substr(i + 1, name_end - i - 2);
    const size_t value = name_end + 1;
    const size_t end = skip_value(s, value);
    if (name == key) return s.substr(value, end - value);
    if (end >= s.size() || s[end] != ',') return {};
    i = end + 1;
  }
  return {};
}

std::string_view raw_path(std::string_view object, std::string_view path) {
  while (!path.empty() && !object.empty()) object = raw_member(object, next_name(path));
  return object;
}

json::Value parse_raw(std::string_view raw) { return raw.empty() ? json::Value() : json::parse_or_null(raw); }

std::string raw_text(std::string_view raw) {
  if (raw.empty() || raw == "null") return {};
  if (raw[0] != '"') return std::string(raw);
  if (raw.find('\\') == std::string_view::npos) return std::string(raw.substr(1, raw.size() - 2));
  return std::string(json::parse_or_null(raw).as_string());
}

Facets facets_of(std::string_view json, const std::vector<std::string>& fields) {
  Facets out;
  const std::string_view labels = raw_path(json, "metadata.labels");
  if (!labels.empty()) out.labels = pack_labels(json::parse_or_null(labels));
  out.fields.reserve(fields.size());
  for (const std::string& f : fields) out.fields.push_back(raw_text(raw_path(json, f)));
  return out;
}

std::string rfc3339(int64_t wall_ns) {
  const std::time_t t = static_cast<std::time_t>(wall_ns / 1000000000);
  std::tm tm{};
  gmtime_r(&t, &tm);
  char buf[40];
  std::snprintf(buf, sizeof buf, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                tm.tm_min, tm.tm_sec);
  return buf;
}

std::optional<int64_t> parse_rfc3339(std::string_view text) {
  const std::string s(text);
  std::tm tm{};
  int used = 0;
  if (std::sscanf(s.c_str(), "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
                  &tm.tm_sec, &used) != 6) {
    return std::nullopt;
  }
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  int64_t ns = static_cast<int64_t>(timegm(&tm)) * 1000000000;
  size_t i = static_cast<size_t>(used);
  if (i < s.size() && s[i] == '.') {
    int64_t unit = 100000000;
    for (++i; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i, unit /= 10) ns += (s[i] - '0') * unit;
  }
  if (i < s.size() && (s[i] == '+' || s[i] == '-')) {
    int h = 0, m = 0;
    if (std::sscanf(s.c_str() + i + 1, "%2d:%2d", &h, &m) != 2) return std::nullopt;
    ns -= (s[i] == '+' ? 1 : -1) * (h * 3600ll + m * 60ll) * 1000000000;
  }
  return ns;
}

std::string uuid4(Executor& executor) {
  unsigned char b[16];
  executor.random(b, sizeof b);
  b[6] = static_cast<unsigned char>((b[6] & 0x0f) | 0x40);
  b[8] = static_cast<unsigned char>((b[8] & 0x3f) | 0x80);
  char out[40];
  std::snprintf(out, sizeof out, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
                b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
  return out;
}

std::string generated_name(Executor& executor, std::string_view base) {
  static constexpr std::string_view kLetters = "bcdfghjklmnpqrstvwxz2456789";
  unsigned char b[5];
  executor.random(b, sizeof b);
  std::string name(base.substr(0, 58));
  for (const unsigned char c : b) name += kLetters[c % kLetters.size()];
  return name;
}


void erase_path(json::Value& object, std::string_view path) {
  json::Value* at = &object;
  while (true) {
    const std::string name(next_name(path));
    if (path.empty()) {
      if (at->is_object()) at->erase(name);
      return;
    }
    at = at->find(name);
    if (!at) return;
  }
}

void copy_path(const json::Value& from, json::Value& to, const std::string& path) {
  const json::Value& v = from.at(path);
  if (v.is_null()) {
    erase_path(to, path);
  } else {
    to.make(path) = v;
  }
}

}  // namespace pintle::kernel

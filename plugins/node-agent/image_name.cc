#include "image_name.h"

#include <algorithm>

#include "pod_env.h"

namespace pintle::node_agent {

using json::Value;

std::string full_image_name(std::string_view image) {
  std::string name(image);
  const size_t slash = name.find('/');
  const std::string first = slash == std::string::npos ? "" : name.substr(0, slash);
  const bool registry = first.find('.') != std::string::npos || first.find(':') != std::string::npos || first == "localhost";
  if (!registry) name = "docker.io/" + (slash == std::string::npos ? "library/" + name : name);
  else if (first == "index.docker.io") name = "docker.io" + name.substr(slash);
  if (name.find('@') != std::string::npos) return name;
  const size_t last = name.rfind('/'), colon = name.rfind(':');
  if (colon == std::string::npos || colon < last) name += ":latest";
  return name;
}

namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }
bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool hex(char c) { return digit(c) || (lower(c) && c <= 'f') || (upper(c) && c <= 'F'); }
template <class Test>
bool all(std::string_view s, Test test) {
  return std::all_of(s.begin(), s.end(), test);
}
// Each piece of `s` between `separator`s.
template <class Test>
bool each(std::string_view s, char separator, Test test) {
  for (;;) {
    const size_t end = s.find(separator);
    if (!test(s.substr(0, end))) return false;
    if (end == s.npos) return true;
    s.remove_prefix(end + 1);
  }
}

// Words of lower-case letters and digits, joined by ".", "_", "__" or any number of "-".
bool path_part(std::string_view s) {
  const auto word = [](char c) { return lower(c) || digit(c); };
  if (s.empty() || !word(s.front()) || !word(s.back())) return false;
  for (size_t i = 0; i < s.size();) {
    size_t end = i;
    while (end < s.size() && !word(s[end])) ++end;
    const std::string_view joint = s.substr(i, end - i);
    if (!joint.empty() && joint != "." && joint != "_" && joint != "__" && joint.find_first_not_of('-') != joint.npos) return false;
    i = end + 1;
  }
  return true;
}

bool domain(std::string_view s) {
  if (s.starts_with('[')) {
    const size_t close = s.find(']');
    if (close == s.npos || close == 1 || !all(s.substr(1, close - 1), [](char c) { return hex(c) || c == ':'; })) return false;
    s = s.substr(close + 1);
    return s.empty() || (s.size() > 1 && s[0] == ':' && all(s.substr(1), digit));
  }
  const size_t colon = s.find(':');
  if (colon != s.npos && (colon + 1 == s.size() || !all(s.substr(colon + 1), digit))) return false;
  const auto word = [](char c) { return lower(c) || upper(c) || digit(c); };
  return each(s.substr(0, colon), '.', [&](std::string_view label) {
    return !label.empty() && word(label.front()) && word(label.back()) && all(label, [&](char c) { return word(c) || c == '-'; });
  });
}

bool tag(std::string_view s) {
  const auto word = [](char c) { return lower(c) || upper(c) || digit(c) || c == '_'; };
  return !s.empty() && s.size() <= 128 && word(s[0]) && all(s, [&](char c) { return word(c) || c == '.' || c == '-'; });
}

bool digest(std::string_view s) {
  const size_t colon = s.find(':');
  if (colon == s.npos || colon == 0 || !all(s.substr(0, colon), [](char c) { return lower(c) || upper(c) || digit(c) || c == '+' || c == '.' || c == '-' || c == '_'; })) return false;
  s.remove_prefix(colon + 1);
  return s.size() >= 32 && all(s, hex);
}

}  // namespace

std::string image_name_error(std::string_view image) {
  static constexpr char kBad[] = "invalid reference format";
  if (image.size() == 64 && all(image, [](char c) { return digit(c) || (lower(c) && c <= 'f'); }))
    return "invalid repository name (" + std::string(image) + "), cannot specify 64-byte hexadecimal strings";
  const size_t slash = image.find('/');
  const std::string_view first = image.substr(0, slash == image.npos ? 0 : slash);
  const bool registry = first.find_first_of(".:") != first.npos || first == "localhost" || std::any_of(first.begin(), first.end(), upper);
  std::string_view rest = registry ? image.substr(slash + 1) : image;
  const size_t at = rest.find('@');
  const bool with_digest = at != rest.npos;
  const std::string_view sum = with_digest ? rest.substr(at + 1) : "";
  rest = rest.substr(0, at);
  const size_t last = rest.rfind('/'), colon = rest.find(':', last == rest.npos ? 0 : last);
  const bool with_tag = colon != rest.npos;
  const std::string_view version = with_tag ? rest.substr(colon + 1) : "";
  const std::string path = (!registry && slash == image.npos ? "library/" : "") + std::string(rest.substr(0, colon));
  std::string small = path;
  for (char& c : small)
    if (upper(c)) c = static_cast<char>(c + 32);
  if ((registry && !domain(first)) || (with_digest && !digest(sum)) || (with_tag && !tag(version)) || !each(small, '/', path_part)) return kBad;
  if (small != path) return std::string(kBad) + ": repository name (" + path + ") must be lowercase";
  if ((registry ? first.size() : std::string_view("docker.io").size()) + 1 + path.size() > 255) return "repository name must not be more than 255 characters";
  return "";
}

std::string registry_of(std::string_view image) {
  const std::string name = full_image_name(image);
  return name.substr(0, name.find('/'));
}

Value credentials_for(const Value& config, std::string_view image) {
  const std::string name = full_image_name(image);
  const Value* best = nullptr;
  size_t best_length = 0;
  for (const auto& m : config["auths"].members()) {
    std::string key = m.key;
    for (const char* scheme : {"https://", "http://"})
      if (key.starts_with(scheme)) key.erase(0, std::string_view(scheme).size());
    for (const char* end : {"/", "/v1", "/v2"})
      if (key.ends_with(end)) key.erase(key.size() - std::string_view(end).size());
    if (key == "index.docker.io" || key == "registry-1.docker.io") key = "docker.io";
    if (!name.starts_with(key) || (name.size() > key.size() && name[key.size()] != '/') || key.size() < best_length) continue;
    best = &m.value;
    best_length = key.size();
  }
  if (!best) return Value();
  std::string user((*best)["username"].as_string()), password((*best)["password"].as_string());
  if (user.empty())
    if (const auto both = from_base64((*best)["auth"].as_string())) {
      const size_t colon = both->find(':');
      user = both->substr(0, colon);
      if (colon != std::string::npos) password = both->substr(colon + 1);
    }
  return Value::object({{"username", user}, {"password", password}, {"server", registry_of(image)}});
}

}  // namespace pintle::node_agent

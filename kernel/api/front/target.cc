#include "kernel/api/front/target.h"

#include <algorithm>

namespace pintle::kernel {
namespace {

constexpr size_t kMaxParameters = 1000;

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// False: '%' without two hex digits.
bool decode(std::string_view in, bool plus_is_space, std::string& out) {
  out.clear();
  out.reserve(in.size());
  for (size_t i = 0; i < in.size(); ++i) {
    if (in[i] == '%') {
      if (i + 2 >= in.size()) return false;
      const int high = hex(in[i + 1]), low = hex(in[i + 2]);
      if (high < 0 || low < 0) return false;
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      out.push_back(plus_is_space && in[i] == '+' ? ' ' : in[i]);
    }
  }
  return true;
}

bool has_encoded_slash(std::string_view raw) {
  for (size_t i = 0; i + 2 < raw.size(); ++i)
    if (raw[i] == '%' && raw[i + 1] == '2' && (raw[i + 2] == 'f' || raw[i + 2] == 'F')) return true;
  return false;
}

Refusal check_path(std::string_view path) {
  for (const char c : path) {
    const auto u = static_cast<unsigned char>(c);
    if (u < 0x20 || u == 0x7f) return {400, "the request path holds a control character"};
  }
  if (!is_utf8(path)) return {400, "the request path is not valid UTF-8"};
  for (size_t i = 0; i < path.size();) {  // path[i] is '/'
    const size_t end = std::min(path.find('/', i + 1), path.size());
    const std::string_view segment = path.substr(i + 1, end - i - 1);
    if (segment.empty() && end != path.size()) return {400, "the request path holds an empty segment (\"//\")"};
    if (segment == "." || segment == "..") return {400, "the request path holds a \".\" or \"..\" segment"};
    i = end;
  }
  return {};
}

}  // namespace

bool is_utf8(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    size_t more = 0;
    uint32_t point = c, least = 0;
    if (c >= 0x80) {
      if (c >= 0xc2 && c <= 0xdf) more = 1, point = c & 0x1f, least = 0x80;
      else if (c >= 0xe0 && c <= 0xef) more = 2, point = c & 0x0f, least = 0x800;
      else if (c >= 0xf0 && c <= 0xf4) more = 3, point = c & 0x07, least = 0x10000;
      else return false;
    }
    if (i + more >= s.size()) return false;
    for (size_t k = 1; k <= more; ++k) {
      const auto n = static_cast<unsigned char>(s[i + k]);
      if ((n & 0xc0) != 0x80) return false;
      point = (point << 6) | (n & 0x3f);
    }
    if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
    i += more + 1;
  }
  return true;
}

Refusal decode_target(HttpRequest& request) {
  std::string_view raw = request.target;
  if (raw.starts_with("http://") || raw.starts_with("https://")) {  // absolute form: only its path counts
    const size_t host = raw.find("//") + 2;
    const size_t slash = raw.find_first_of("/?", host);
    raw = slash == std::string_view::npos ? std::string_view("/") : raw.substr(slash);
  }
  if (raw.empty() || raw[0] != '/') return {400, "the request target must begin with \"/\""};
  if (raw.find('#') != std::string_view::npos) return {400, "the request target holds a fragment (\"#\")"};
  const size_t mark = raw.find('?');
  const std::string_view raw_path = raw.substr(0, mark);
  if (has_encoded_slash(raw_path)) return {400, "the request path holds an encoded slash (\"%2f\")"};
  if (!decode(raw_path, false, request.path)) return {400, "the request path holds invalid percent-encoding"};
  if (Refusal refusal = check_path(request.path)) return refusal;

  request.query.clear();
  if (mark == std::string_view::npos) return {};
  std::string_view rest = raw.substr(mark + 1);
  while (!rest.empty()) {
    const size_t amp = rest.find('&');
    const std::string_view pair = rest.substr(0, amp);
    rest = amp == std::string_view::npos ? std::string_view() : rest.substr(amp + 1);
    if (pair.empty()) continue;
    if (request.query.size() == kMaxParameters) return {400, "the request has more than 1000 query parameters"};
    const size_t equals = pair.find('=');
    auto& entry = request.query.emplace_back();
    if (!decode(pair.substr(0, equals), true, entry.first) ||
        (equals != std::string_view::npos && !decode(pair.substr(equals + 1), true, entry.second)))
      return {400, "the request query holds invalid percent-encoding"};
    if (!is_utf8(entry.first) || !is_utf8(entry.second)) return {400, "the request query is not valid UTF-8"};
  }
  return {};
}

std::string_view HttpRequest::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers)
    if (name == lower_case_name) return value;
  return {};
}

std::string_view HttpRequest::param(std::string_view name) const {
  for (const auto& [key, value] : query)
    if (key == name) return value;
  return {};
}

bool HttpRequest::has_param(std::string_view name) const {
  return std::any_of(query.begin(), query.end(), [&](const auto& entry) { return entry.first == name; });
}

}  // namespace pintle::kernel

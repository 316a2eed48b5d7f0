#include "addresses.h"

#include <optional>

namespace pintle::runtime_sim {

namespace {

std::optional<uint32_t> number(std::string_view s, uint32_t max) {
  if (s.empty() || s.size() > 3) return std::nullopt;
  uint32_t n = 0;
  for (char c : s) {
    if (c < '0' || c > '9') return std::nullopt;
    n = n * 10 + static_cast<uint32_t>(c - '0');
  }
  if (n > max) return std::nullopt;
  return n;
}

std::optional<uint32_t> ipv4(std::string_view s) {
  uint32_t out = 0;
  for (int i = 0; i < 4; ++i) {
    const size_t dot = i < 3 ? s.find('.') : s.size();
    if (dot == std::string_view::npos) return std::nullopt;
    const auto n = number(s.substr(0, dot), 255);
    if (!n) return std::nullopt;
    out = out << 8 | *n;
    s.remove_prefix(i < 3 ? dot + 1 : dot);
  }
  return out;
}

std::string text(uint32_t a) {
  return std::to_string(a >> 24) + "." + std::to_string(a >> 16 & 255) + "." + std::to_string(a >> 8 & 255) + "." + std::to_string(a & 255);
}

}  // namespace

Result<Addresses> Addresses::from_cidr(std::string_view cidr) {
  const size_t slash = cidr.find('/');
  const auto base = ipv4(cidr.substr(0, slash));
  const auto bits = slash == std::string_view::npos ? std::nullopt : number(cidr.substr(slash + 1), 30);
  if (!base || !bits || *bits == 0) return Error(PINTLE_INVALID, "podCIDR \"" + std::string(cidr) + "\" is not an IPv4 range like 10.128.0.0/9 (at most /30)");
  Addresses out;
  const uint32_t size = uint32_t{1} << (32 - *bits);
  out.first_ = (*base & ~(size - 1)) + 1;  // without the network's and the broadcast address
  out.count_ = size - 2;
  return out;
}

std::string Addresses::take() {
  if (taken_.size() >= count_) return {};
  for (;;) {
    const uint32_t candidate = first_ + next_;
    next_ = (next_ + 1) % count_;
    if (taken_.insert(candidate).second) return text(candidate);
  }
}

void Addresses::release(std::string_view address) {
  if (const auto a = ipv4(address)) taken_.erase(*a);
}

}  // namespace pintle::runtime_sim

#include "address_range.h"

#include <algorithm>
#include <bit>
#include <charconv>

namespace pintle::service {

std::optional<uint32_t> parse_ipv4(std::string_view text) {
  uint32_t out = 0;
  for (int i = 0; i < 4; ++i) {
    const size_t dot = i < 3 ? text.find('.') : text.size();
    if (dot == std::string_view::npos) return std::nullopt;
    const std::string_view part = text.substr(0, dot);
    unsigned n = 0;
    if (part.empty() || part.size() > 3 || (part.size() > 1 && part[0] == '0')) return std::nullopt;
    const auto r = std::from_chars(part.data(), part.data() + part.size(), n);
    if (r.ec != std::errc() || r.ptr != part.data() + part.size() || n > 255) return std::nullopt;
    out = out << 8 | n;
    text.remove_prefix(std::min(text.size(), dot + 1));
  }
  return out;
}

std::string ipv4_text(uint32_t a) {
  return std::to_string(a >> 24) + "." + std::to_string(a >> 16 & 255) + "." + std::to_string(a >> 8 & 255) + "." + std::to_string(a & 255);
}

Result<AddressRange> AddressRange::parse(std::string_view cidr) {
  const size_t slash = cidr.find('/');
  const auto base = parse_ipv4(cidr.substr(0, slash));
  unsigned prefix = 0;
  if (slash != std::string_view::npos)
    std::from_chars(cidr.data() + slash + 1, cidr.data() + cidr.size(), prefix);
  if (!base || prefix < 8 || prefix > 30)
    return Error(PINTLE_INVALID, "serviceCIDR \"" + std::string(cidr) + "\" is not an IPv4 network like 10.96.0.0/16 with a prefix from 8 to 30");
  AddressRange r;
  r.mask_ = ~uint32_t{0} << (32 - prefix);
  r.base_ = *base & r.mask_;
  return r;
}

std::string AddressRange::text() const { return ipv4_text(base_) + "/" + std::to_string(std::popcount(mask_)); }

uint32_t AddressRange::choose(uint64_t random, const std::function<bool(uint32_t)>& taken) const {
  const uint32_t reserved = std::min<uint32_t>(256, size() / 16);
  const auto scan = [&](uint32_t from, uint32_t count) -> uint32_t {
    if (count == 0) return 0;
    const auto start = static_cast<uint32_t>(random % count);
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t a = base_ + 1 + from + (start + i) % count;
      if (!taken(a)) return a;
    }
    return 0;
  };
  if (const uint32_t a = scan(reserved, size() - reserved)) return a;
  return scan(0, reserved);
}

}  // namespace pintle::service

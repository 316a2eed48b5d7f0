// The range that cluster IPs come from, and the choice of a free one.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "pintle/result.h"

namespace pintle::service {

class AddressRange {
 public:
  // "10.96.0.0/16"; prefix 8 to 30. INVALID says what is wrong.
  static Result<AddressRange> parse(std::string_view cidr);
  std::string text() const;  // "10.96.0.0/16"
  bool contains(uint32_t address) const { return (address & mask_) == base_; }
  uint32_t first() const { return base_ + 1; }  // of the kubernetes Service
  uint32_t size() const { return ~mask_ - 1; }   // without the network's and the broadcast address
  // A free address, starting at a place chosen by `random`; 0 when all are taken. The first ones of the range (a sixteenth, at most 256) are
  // left to explicit requests as long as others are free.
  uint32_t choose(uint64_t random, const std::function<bool(uint32_t)>& taken) const;

 private:
  uint32_t base_ = 0, mask_ = 0;
};

std::optional<uint32_t> parse_ipv4(std::string_view text);  // strict dotted decimal
std::string ipv4_text(uint32_t address);

}  // namespace pintle::service

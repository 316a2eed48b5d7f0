// Unique pod addresses out of one IPv4 range.
//
// Threads: one at a time.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>

#include "pintle/result.h"

namespace pintle::runtime_sim {

class Addresses {
 public:
  static Result<Addresses> from_cidr(std::string_view cidr);  // "10.128.0.0/9"; at most /30
  // The next free one; "" when none is left. A released address is used again as late as possible.
  std::string take();
  void release(std::string_view address);

 private:
  uint32_t first_ = 0, count_ = 0, next_ = 0;
  std::unordered_set<uint32_t> taken_;
};

}  // namespace pintle::runtime_sim

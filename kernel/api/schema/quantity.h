// Kubernetes quantities: "500m", "1Gi", "2e3".
#pragma once
#include <string>
#include <string_view>

namespace pintle::kernel {

// Rewrites `in` the way Kubernetes serialises it: "0.5" -> "500m", "1000m" -> "1", "1024Mi" -> "1Gi". More precision than
// nano is rounded up, amounts above 2^63-1 are cut. "" = fine; otherwise what is wrong, and `out` is unchanged.
std::string canonical_quantity(std::string_view in, std::string& out);

}  // namespace pintle::kernel

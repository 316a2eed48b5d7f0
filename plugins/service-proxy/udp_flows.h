// What the kernel remembers of UDP flows through Services (connection tracking).
#pragma once
#include <vector>

#include "pintle/result.h"
#include "ruleset.h"

namespace pintle::service_proxy {

// A flow that goes on would keep its old endpoint for ever, also one that is gone: forgets those that lead elsewhere than `flows` allows, so that their
// next packet is dealt anew. Of two entries for one address and port the later counts. Blocks.
Result<size_t> forget_udp_flows(const std::vector<UdpFlows>& flows);

}  // namespace pintle::service_proxy

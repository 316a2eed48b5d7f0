// What the kernel remembers of flows through Services (connection tracking).
#pragma once
#include <vector>

#include "pintle/result.h"
#include "ruleset.h"

namespace pintle::service_proxy {

// A flow that goes on would keep its old endpoint for ever, also one that is gone: forgets those that lead elsewhere than `flows` allows, so that their
// next packet is dealt anew. Of two entries for one address and port the later counts. Returns how many. Blocks.
Result<size_t> forget_udp_flows(const std::vector<UdpFlows>& flows);

// A connection's entry outlives a connection whose endpoint ended in the middle of the closing (up to two minutes): a client that comes back from the same port
// would have its SYN sent to nobody; and one that waits for an answer would wait for long. Forgets the flows through their Services to these endpoints. To be
// done before rules send anything there again: addresses come back. Returns how many. Blocks.
Result<size_t> forget_tcp_flows(const std::vector<EndedEndpoint>& ended);

}  // namespace pintle::service_proxy

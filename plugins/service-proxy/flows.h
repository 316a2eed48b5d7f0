// What the kernel remembers of flows through Services (connection tracking).
#pragma once
#include <map>
#include <string>
#include <vector>

#include "pintle/result.h"
#include "ruleset.h"

namespace pintle::service_proxy {

// A flow that goes on would keep its old endpoint for ever, also one that is gone: forgets those that lead elsewhere than `flows` allows, so that their
// next packet is dealt anew. Of two entries for one address and port the later counts. Returns how many. Blocks.
Result<size_t> forget_udp_flows(const std::vector<UdpFlows>& flows);

// A connection's entry outlives the connection when its endpoint goes in the middle of the handshake or of the closing (up to two minutes). A client that comes
// back from the same port meanwhile would have its SYN sent to nobody. Forgets such flows to `gone`; of endpoints that have ended, the open ones too: their
// clients are told at the next packet (another endpoint's RST) instead of waiting for an answer. Only flows that were translated. Returns how many. Blocks.
Result<size_t> forget_tcp_flows(const std::map<std::string, GoneEndpoint>& gone);

}  // namespace pintle::service_proxy

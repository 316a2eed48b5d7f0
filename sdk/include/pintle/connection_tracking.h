// The kernel's memory of connections through a packet filter ("conntrack"): what a plugin that translates or ends them has to make it forget.
// Source: nfnetlink_conntrack, https://docs.kernel.org/userspace-api/netlink/ and linux/netfilter/nfnetlink_conntrack.h. IPv4.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "pintle/result.h"

namespace pintle {

// A connection: sent to `to`, answered by `endpoint`.
struct TrackedFlow {
  uint8_t protocol = 0;  // IPPROTO_TCP, ...
  std::string to, endpoint;
  uint16_t to_port = 0, endpoint_port = 0;
  bool translated() const { return to != endpoint || to_port != endpoint_port; }
};

struct TrackedFlowQuery {
  uint8_t protocol = 0;  // 0 = any
  std::string endpoint;  // "" = any; otherwise the kernel looks for it (from Linux 5.8 on; before, all flows are read)
};

// Forgets the flows of this network namespace that the query and `which` choose; the next packet of each is dealt anew. What is forgotten is named by its
// endpoint: a new connection from the same client port to another endpoint, made meanwhile, stays. Returns how many.
// INVALID: the endpoint is no IPv4 address; FORBIDDEN without CAP_NET_ADMIN; UNAVAILABLE when the kernel does not answer. Blocks while the flows are read; any
// thread.
Result<size_t> forget_flows(const TrackedFlowQuery& query, const std::function<bool(const TrackedFlow&)>& which);

}  // namespace pintle

#include "flows.h"

#include <netinet/in.h>

#include <map>
#include <utility>

#include "pintle/connection_tracking.h"

namespace pintle::service_proxy {
namespace {

std::string endpoint_of(const TrackedFlow& f) { return f.endpoint + " . " + std::to_string(f.endpoint_port); }

}  // namespace

Result<size_t> forget_udp_flows(const std::vector<UdpFlows>& flows) {
  std::map<std::pair<std::string, uint16_t>, const UdpFlows*> wanted;
  for (const UdpFlows& f : flows)
    for (const auto& a : f.addresses) wanted[{a, f.port}] = &f;
  if (wanted.empty()) return size_t{0};
  return forget_flows({.protocol = IPPROTO_UDP, .endpoint = {}}, [&wanted](const TrackedFlow& flow) {
    auto it = wanted.find({flow.to, flow.to_port});
    if (it == wanted.end()) it = wanted.find({"", flow.to_port});  // a node port at any address of the node
    return it != wanted.end() && !it->second->endpoints.count(endpoint_of(flow));
  });
}

Result<size_t> forget_tcp_flows(const std::set<std::string>& ended) {
  // One by one the kernel looks for them; of many, all flows are read once.
  constexpr size_t kFew = 8;
  if (ended.size() > kFew) return forget_flows({.protocol = IPPROTO_TCP, .endpoint = {}}, [&ended](const TrackedFlow& flow) { return ended.count(endpoint_of(flow)) > 0; });
  size_t forgotten = 0;
  for (const auto& endpoint : ended) {
    const auto n = forget_flows({.protocol = IPPROTO_TCP, .endpoint = endpoint.substr(0, endpoint.find(' '))}, [&endpoint](const TrackedFlow& flow) { return endpoint_of(flow) == endpoint; });
    if (!n) return n.error();
    forgotten += *n;
  }
  return forgotten;
}

}  // namespace pintle::service_proxy

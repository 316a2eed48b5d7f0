#include "flows.h"

#include <netinet/in.h>

#include <algorithm>
#include <map>
#include <set>
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
    // A node port at any address of the node; what was not translated is a flow of somebody else.
    if (it == wanted.end() && flow.translated()) it = wanted.find({"", flow.to_port});
    return it != wanted.end() && !it->second->endpoints.count(endpoint_of(flow));
  });
}

Result<size_t> forget_tcp_flows(const std::vector<EndedEndpoint>& ended) {
  std::map<std::string, std::vector<const EndedEndpoint*>> by_endpoint;
  std::set<std::string> addresses;
  for (const auto& e : ended) {
    by_endpoint[e.endpoint].push_back(&e);
    addresses.insert(e.endpoint.substr(0, e.endpoint.find(' ')));
  }
  const auto has_ended = [&by_endpoint](const TrackedFlow& flow) {
    const auto it = flow.translated() ? by_endpoint.find(endpoint_of(flow)) : by_endpoint.end();
    return it != by_endpoint.end() && std::any_of(it->second.begin(), it->second.end(), [&](const EndedEndpoint* e) {
             return e->reached_at.count({flow.to, flow.to_port}) || e->reached_at.count({"", flow.to_port});
           });
  };
  // The kernel looks for few of them one by one; for many, all flows are read once.
  constexpr size_t kFew = 8;
  if (addresses.size() > kFew) addresses = {""};
  size_t forgotten = 0;
  for (const auto& address : addresses) {
    const auto n = forget_flows({.protocol = IPPROTO_TCP, .endpoint = address}, has_ended);
    if (!n) return n.error();
    forgotten += *n;
  }
  return forgotten;
}

}  // namespace pintle::service_proxy

#include "flows.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <memory>

namespace pintle::service_proxy {
namespace {

struct Side {
  std::string from, to;  // addresses
  uint16_t from_port = 0, to_port = 0;
  uint8_t protocol = 0;
};

std::string address(const nlattr* a) {
  char text[INET_ADDRSTRLEN] = "";
  if (mnl_attr_get_payload_len(a) == 4) inet_ntop(AF_INET, mnl_attr_get_payload(a), text, sizeof text);
  return text;
}

// Calls `visit` with each attribute in `bytes`.
template <class F>
void for_each(const void* bytes, size_t size, F&& visit) {
  const auto* end = static_cast<const char*>(bytes) + size;
  for (const auto* a = static_cast<const nlattr*>(bytes); mnl_attr_ok(a, static_cast<int>(end - reinterpret_cast<const char*>(a))); a = mnl_attr_next(a)) visit(a);
}
template <class F>
void for_each_in(const nlattr* nested, F&& visit) {
  for_each(mnl_attr_get_payload(nested), mnl_attr_get_payload_len(nested), visit);
}

Side side_of(const nlattr* tuple) {
  Side s;
  for_each_in(tuple, [&](const nlattr* part) {
    const bool ip = mnl_attr_get_type(part) == CTA_TUPLE_IP;
    if (!ip && mnl_attr_get_type(part) != CTA_TUPLE_PROTO) return;
    for_each_in(part, [&](const nlattr* a) {
      const uint16_t type = mnl_attr_get_type(a);
      if (ip && type == CTA_IP_V4_SRC) s.from = address(a);
      else if (ip && type == CTA_IP_V4_DST) s.to = address(a);
      else if (!ip && type == CTA_PROTO_NUM) s.protocol = mnl_attr_get_u8(a);
      else if (!ip && type == CTA_PROTO_SRC_PORT) s.from_port = ntohs(mnl_attr_get_u16(a));
      else if (!ip && type == CTA_PROTO_DST_PORT) s.to_port = ntohs(mnl_attr_get_u16(a));
    });
  });
  return s;
}

struct Flow {
  Side out, back;
  uint8_t tcp_state = TCP_CONNTRACK_NONE;
  std::string endpoint() const { return back.from + " . " + std::to_string(back.from_port); }
};

struct Search {
  uint8_t protocol;
  std::function<bool(const Flow&)> matches;
  std::vector<std::vector<char>> found;  // the original tuples, as attributes
};

uint8_t tcp_state_of(const nlattr* protocol_info) {
  uint8_t state = TCP_CONNTRACK_NONE;
  for_each_in(protocol_info, [&](const nlattr* tcp) {
    if (mnl_attr_get_type(tcp) != CTA_PROTOINFO_TCP) return;
    for_each_in(tcp, [&](const nlattr* a) {
      if (mnl_attr_get_type(a) == CTA_PROTOINFO_TCP_STATE) state = mnl_attr_get_u8(a);
    });
  });
  return state;
}

int on_flow(const nlmsghdr* message, void* data) {
  auto& search = *static_cast<Search*>(data);
  const nlattr *original = nullptr, *reply = nullptr, *info = nullptr;
  for_each(mnl_nlmsg_get_payload_offset(message, sizeof(nfgenmsg)), mnl_nlmsg_get_payload_len(message) - MNL_ALIGN(sizeof(nfgenmsg)), [&](const nlattr* a) {
    if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG) original = a;
    if (mnl_attr_get_type(a) == CTA_TUPLE_REPLY) reply = a;
    if (mnl_attr_get_type(a) == CTA_PROTOINFO) info = a;
  });
  if (!original || !reply) return MNL_CB_OK;
  Flow flow{.out = side_of(original), .back = side_of(reply)};
  if (flow.out.protocol != search.protocol) return MNL_CB_OK;
  if (info) flow.tcp_state = tcp_state_of(info);
  if (!search.matches(flow)) return MNL_CB_OK;
  const auto* bytes = reinterpret_cast<const char*>(original);
  search.found.emplace_back(bytes, bytes + mnl_attr_get_len(original));
  return MNL_CB_OK;
}

nlmsghdr* request(char* buffer, uint16_t type, uint16_t flags) {
  nlmsghdr* m = mnl_nlmsg_put_header(buffer);
  m->nlmsg_type = static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type);
  m->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  m->nlmsg_seq = static_cast<uint32_t>(type) + 1;
  auto* family = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(m, sizeof(nfgenmsg)));
  family->nfgen_family = AF_INET;
  family->version = NFNETLINK_V0;
  family->res_id = 0;
  return m;
}

// Sends and reads to the end of the answer; -1 with errno.
int exchange(mnl_socket* socket, const nlmsghdr* m, mnl_cb_t on_message, void* data) {
  if (mnl_socket_sendto(socket, m, m->nlmsg_len) < 0) return -1;
  std::array<char, 32768> buffer;
  for (;;) {
    const ssize_t n = mnl_socket_recvfrom(socket, buffer.data(), buffer.size());
    if (n < 0) return -1;
    const int rc = mnl_cb_run(buffer.data(), static_cast<size_t>(n), m->nlmsg_seq, mnl_socket_get_portid(socket), on_message, data);
    if (rc <= MNL_CB_STOP) return rc;
  }
}

Result<size_t> forget(Search search) {
  const auto failed = [](const char* what) { return Error(PINTLE_UNAVAILABLE, std::string(what) + ": " + std::strerror(errno)); };
  const std::unique_ptr<mnl_socket, int (*)(mnl_socket*)> socket(mnl_socket_open(NETLINK_NETFILTER), mnl_socket_close);
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return failed("a netlink socket cannot be opened");
  alignas(nlmsghdr) std::array<char, 1024> buffer;
  if (exchange(socket.get(), request(buffer.data(), IPCTNL_MSG_CT_GET, NLM_F_DUMP), on_flow, &search) < 0) return failed("connection tracking cannot be read");
  size_t forgotten = 0;
  for (const auto& tuple : search.found) {
    if (tuple.size() > buffer.size() / 2) continue;
    nlmsghdr* m = request(buffer.data(), IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
    std::memcpy(mnl_nlmsg_get_payload_tail(m), tuple.data(), tuple.size());
    m->nlmsg_len += static_cast<uint32_t>(MNL_ALIGN(tuple.size()));
    if (exchange(socket.get(), m, nullptr, nullptr) >= 0) ++forgotten;
    else if (errno != ENOENT) return failed("a flow cannot be forgotten");
  }
  return forgotten;
}

}  // namespace

Result<size_t> forget_udp_flows(const std::vector<UdpFlows>& flows) {
  std::map<std::pair<std::string, uint16_t>, const UdpFlows*> wanted;
  for (const UdpFlows& f : flows)
    for (const auto& a : f.addresses) wanted[{a, f.port}] = &f;
  if (wanted.empty()) return size_t{0};
  return forget({.protocol = IPPROTO_UDP, .matches = [&wanted](const Flow& flow) {
                   auto it = wanted.find({flow.out.to, flow.out.to_port});
                   if (it == wanted.end()) {
                     // A node port at any address of the node; what was not translated is a flow of somebody else.
                     it = wanted.find({"", flow.out.to_port});
                     if (it == wanted.end() || flow.back.from == flow.out.to) return false;
                   }
                   return !it->second->endpoints.count(flow.endpoint());
                 }, .found = {}});
}

Result<size_t> forget_tcp_flows(const std::map<std::string, GoneEndpoint>& gone) {
  if (gone.empty()) return size_t{0};
  return forget({.protocol = IPPROTO_TCP, .matches = [&gone](const Flow& flow) {
                   // What has ended is no obstacle: a new SYN replaces it.
                   if (flow.tcp_state == TCP_CONNTRACK_TIME_WAIT || flow.tcp_state == TCP_CONNTRACK_CLOSE || flow.back.from == flow.out.to) return false;
                   const auto it = gone.find(flow.endpoint());
                   return it != gone.end() && (flow.tcp_state != TCP_CONNTRACK_ESTABLISHED || it->second.ended);
                 }, .found = {}});
}

}  // namespace pintle::service_proxy

// By hand instead of with libmnl: whoever links the SDK would have to install that.
#include "pintle/connection_tracking.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>
#include <vector>

namespace pintle {
namespace {

// Of the kernel's filter: the source address of a tuple (CTA_FILTER_F_CTA_IP_SRC there; in no public header).
constexpr uint32_t kFilterSourceAddress = 1;
constexpr timeval kPatience{5, 0};

// Calls visit(type, payload) for each attribute.
template <class F>
void for_each_attribute(std::string_view bytes, F&& visit) {
  while (bytes.size() >= NLA_HDRLEN) {
    nlattr a;
    std::memcpy(&a, bytes.data(), sizeof a);
    if (a.nla_len < NLA_HDRLEN || a.nla_len > bytes.size()) return;
    visit(a.nla_type & NLA_TYPE_MASK, bytes.substr(NLA_HDRLEN, a.nla_len - NLA_HDRLEN));
    bytes.remove_prefix(std::min<size_t>(NLA_ALIGN(a.nla_len), bytes.size()));
  }
}

template <class T>
T number(std::string_view payload) {
  T v{};
  if (payload.size() == sizeof v) std::memcpy(&v, payload.data(), sizeof v);
  return v;
}

// The value's own memory: for as long as the value lives.
template <class T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

struct Side {
  std::string from, to;  // addresses
  uint16_t from_port = 0, to_port = 0;
  uint8_t protocol = 0;
};

std::string address(std::string_view payload) {
  char text[INET_ADDRSTRLEN] = "";
  if (payload.size() == 4) inet_ntop(AF_INET, payload.data(), text, sizeof text);
  return text;
}

Side side_of(std::string_view tuple) {
  Side s;
  for_each_attribute(tuple, [&](int part, std::string_view inner) {
    if (part == CTA_TUPLE_IP)
      for_each_attribute(inner, [&](int type, std::string_view v) {
        if (type == CTA_IP_V4_SRC) s.from = address(v);
        if (type == CTA_IP_V4_DST) s.to = address(v);
      });
    if (part == CTA_TUPLE_PROTO)
      for_each_attribute(inner, [&](int type, std::string_view v) {
        if (type == CTA_PROTO_NUM) s.protocol = number<uint8_t>(v);
        if (type == CTA_PROTO_SRC_PORT) s.from_port = ntohs(number<uint16_t>(v));
        if (type == CTA_PROTO_DST_PORT) s.to_port = ntohs(number<uint16_t>(v));
      });
  });
  return s;
}

// A request of nfnetlink_conntrack, built attribute by attribute.
class Request {
 public:
  Request(uint16_t type, uint16_t flags) : bytes_(NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg)), '\0') {
    nlmsghdr& m = header();
    m.nlmsg_type = static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type);
    m.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    const nfgenmsg family{.nfgen_family = AF_INET, .version = NFNETLINK_V0, .res_id = 0};
    std::memcpy(bytes_.data() + NLMSG_HDRLEN, &family, sizeof family);
  }
  void put(uint16_t type, std::string_view payload) {
    const nlattr a{.nla_len = static_cast<uint16_t>(NLA_HDRLEN + payload.size()), .nla_type = type};
    bytes_.append(reinterpret_cast<const char*>(&a), sizeof a).append(payload);
    bytes_.resize(NLA_ALIGN(bytes_.size()));
  }
  template <class F>
  void nest(uint16_t type, F&& fill) {
    const size_t at = bytes_.size();
    put(type | NLA_F_NESTED, {});
    fill();
    const auto length = static_cast<uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &length, sizeof length);  // nla_len is the first field
  }
  std::string_view finish() {
    header().nlmsg_len = static_cast<uint32_t>(bytes_.size());
    return bytes_;
  }

 private:
  nlmsghdr& header() { return *reinterpret_cast<nlmsghdr*>(bytes_.data()); }
  std::string bytes_;
};

class Socket {
 public:
  Socket() : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER)) {
    if (fd_ >= 0) setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  }
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;

  // Sends and reads to the end of the answer, on_message(payload after nfgenmsg) for each; errno's value, 0 = done.
  template <class F>
  int exchange(std::string_view request, F&& on_message) {
    if (fd_ < 0) return EBADF;
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    if (sendto(fd_, request.data(), request.size(), 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) < 0) return errno;
    for (;;) {
      const ssize_t n = recv(fd_, buffer_.data(), buffer_.size(), MSG_TRUNC);  // the true length
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno;
      if (n == 0 || static_cast<size_t>(n) > buffer_.size()) return EBADMSG;
      for (std::string_view left(buffer_.data(), static_cast<size_t>(n)); left.size() >= NLMSG_HDRLEN;) {
        nlmsghdr m;
        std::memcpy(&m, left.data(), sizeof m);
        if (m.nlmsg_len < NLMSG_HDRLEN || m.nlmsg_len > left.size()) return EBADMSG;
        const std::string_view payload = left.substr(NLMSG_HDRLEN, m.nlmsg_len - NLMSG_HDRLEN);
        left.remove_prefix(std::min<size_t>(NLMSG_ALIGN(m.nlmsg_len), left.size()));
        if (m.nlmsg_type == NLMSG_DONE) return 0;
        if (m.nlmsg_type == NLMSG_ERROR) return payload.size() < sizeof(int) ? EBADMSG : -number<int>(payload.substr(0, sizeof(int)));  // nlmsgerr begins with it
        if (payload.size() >= NLMSG_ALIGN(sizeof(nfgenmsg))) on_message(payload.substr(NLMSG_ALIGN(sizeof(nfgenmsg))));
      }
    }
  }

 private:
  const int fd_;
  alignas(nlmsghdr) std::array<char, 32768> buffer_;
};

Error failed(const char* what, int error) {
  return Error(error == EPERM ? PINTLE_FORBIDDEN : PINTLE_UNAVAILABLE, std::string(what) + ": " + std::generic_category().message(error));
}

}  // namespace

Result<size_t> forget_flows(const TrackedFlowQuery& query, const std::function<bool(const TrackedFlow&)>& which) {
  Request list(IPCTNL_MSG_CT_GET, NLM_F_DUMP);
  if (!query.endpoint.empty()) {
    in_addr endpoint{};
    if (inet_pton(AF_INET, query.endpoint.c_str(), &endpoint) != 1) return Error(PINTLE_INVALID, "\"" + query.endpoint + "\" is not an IPv4 address");
    list.nest(CTA_FILTER, [&] {
      list.put(CTA_FILTER_ORIG_FLAGS, bytes_of(uint32_t{0}));
      list.put(CTA_FILTER_REPLY_FLAGS, bytes_of(kFilterSourceAddress));
    });
    list.nest(CTA_TUPLE_REPLY, [&] { list.nest(CTA_TUPLE_IP, [&] { list.put(CTA_IP_V4_SRC, bytes_of(endpoint)); }); });
  }
  struct Found {
    std::string reply, id, zone;  // attributes as the kernel gave them
  };
  std::vector<Found> found;
  Socket socket;
  int error = socket.exchange(list.finish(), [&](std::string_view message) {
    std::string_view original, reply, id, zone;
    for_each_attribute(message, [&](int type, std::string_view v) {
      if (type == CTA_TUPLE_ORIG) original = v;
      if (type == CTA_TUPLE_REPLY) reply = v;
      if (type == CTA_ID) id = v;
      if (type == CTA_ZONE) zone = v;
    });
    const Side out = side_of(original), back = side_of(reply);
    if ((query.protocol && query.protocol != out.protocol) || (!query.endpoint.empty() && query.endpoint != back.from)) return;
    if (which({out.protocol, out.to, back.from, out.to_port, back.from_port})) found.push_back({std::string(reply), std::string(id), std::string(zone)});
  });
  if (error) return failed("connection tracking cannot be read", error);
  size_t forgotten = 0;
  for (const Found& f : found) {
    Request one(IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
    one.put(CTA_TUPLE_REPLY | NLA_F_NESTED, f.reply);
    if (!f.id.empty()) one.put(CTA_ID, f.id);
    if (!f.zone.empty()) one.put(CTA_ZONE, f.zone);
    error = socket.exchange(one.finish(), [](std::string_view) {});
    if (error == 0) ++forgotten;
    else if (error != ENOENT) return failed("a connection cannot be forgotten", error);
  }
  return forgotten;
}

}  // namespace pintle

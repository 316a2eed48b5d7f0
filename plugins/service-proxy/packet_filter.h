// The node's packet filter and what else on the node lets service traffic pass.
//
// Threads: one call at a time; every function may block (run it on the blocking pool).
#pragma once
#include <set>
#include <string>

#include "pintle/result.h"

struct nft_ctx;

namespace pintle::service_proxy {

class PacketFilter {
 public:
  PacketFilter();
  ~PacketFilter();
  PacketFilter(const PacketFilter&) = delete;
  // One transaction: all commands or none. FORBIDDEN without CAP_NET_ADMIN.
  Result<void> apply(const std::string& commands);

  // Docker's FORWARD chain drops what it does not know: lets connections with our mark pass in DOCKER-USER, where there is one.
  void admit_in_docker();
  void unadmit_in_docker();
  // Switches IPv4 forwarding on; true when it had been off.
  static bool enable_forwarding();
  // Networks of bridges whose inner traffic does not pass the packet filter; empty when the kernel passes it (br_netfilter).
  static std::set<std::string> unfiltered_bridges();
  // With br_netfilter a pod's packet to its own Service would have to leave through the bridge port it came from: allows that on the ports of
  // bridges whose network holds one of `addresses` (endpoints).
  static void allow_hairpin(const std::set<std::string>& addresses);

 private:
  nft_ctx* nft_;
};

}  // namespace pintle::service_proxy

// The packet filter's rules as a function of Services and EndpointSlices, and the difference between two states of them.
//
// Layout of the table (family ip):
//   map service-ips {address . protocol . port : verdict}, node-ports {protocol . port : verdict}: one look-up per new connection however many
//   Services there are; chain svc-<id> per Service port chooses an endpoint; ext-<id> is the way in from outside; sets refused-ips and refused-ports
//   answer at once for Services without endpoints; set hairpin holds pods that may reach themselves, same-bridge networks whose replies would bypass us.
// Connection marks: 0x400000 = ours (lets Docker's FORWARD rules pass it), 0x800000 = masquerade.
// Threads: one at a time.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "pintle/json.h"

namespace pintle::service_proxy {

struct ServicePort {
  std::string protocol;                    // tcp, udp, sctp
  uint16_t port = 0, node_port = 0;
  std::vector<std::string> addresses;      // cluster IP; "" entries never occur
  std::vector<std::string> external_addresses;  // externalIPs and load balancer addresses
  std::vector<std::string> inside, outside;     // endpoints "10.0.0.1 . 8080" for traffic from inside and from outside, sorted
  bool masquerade_outside = true;          // externalTrafficPolicy Cluster
  int64_t affinity_seconds = 0;            // 0 = none
  bool operator==(const ServicePort&) const = default;
};

class Ruleset {
 public:
  Ruleset(std::string table, std::string node) : table_(std::move(table)), node_(std::move(node)) {}

  // Level-based input: the newest state of each object. `json` null = gone.
  void set_service(const std::string& key, const json::Value& service);
  void set_slice(const std::string& key, const json::Value& slice);
  // Objects not set since begin_resync() go at end_resync().
  void begin_resync();
  void end_resync();

  // Networks (CIDR) behind a bridge whose traffic does not pass the packet filter.
  void set_bridges(std::set<std::string> networks);

  // The commands that bring the table from what was last returned to the present state; "" when nothing changed. Cost is
  // proportional to the change. One atomic transaction for nft.
  std::string changes();
  // All of it, for the first time or when an application failed: deletes and makes the table.
  std::string everything();
  std::string removal() const;

  size_t services() const { return services_.size(); }
  size_t endpoints() const;
  std::set<std::string> endpoint_addresses() const;

 private:
  struct Service {
    json::Value spec, status;
    std::string ns, name;
    uint64_t seen = 0;
  };
  struct Slice {
    json::Value slice;
    std::string service;  // "ns/name"
    uint64_t seen = 0;
  };
  std::map<std::string, ServicePort> ports_of(const std::string& service_key) const;
  void remove_port(const std::string& key, const ServicePort& old, std::string& out);
  void add_port(const std::string& key, const ServicePort& now, std::string& out);
  void chain_rules(const std::string& chain, const std::string& id, const ServicePort& p, const std::vector<std::string>& endpoints, std::string& out) const;
  void hold_hairpin(const ServicePort& p, int by, std::string& out);
  std::string skeleton() const;

  const std::string table_, node_;
  std::map<std::string, Service> services_;                          // "ns/name"
  std::map<std::string, Slice> slices_;                              // "ns/slice"
  std::map<std::string, std::set<std::string>> slices_of_;           // service -> slices
  std::set<std::string> dirty_;                                      // services
  std::map<std::string, std::map<std::string, ServicePort>> applied_;  // service -> "ns/name/port" -> what the table holds
  std::map<std::string, int> hairpin_;                               // pod address -> uses
  std::set<std::string> bridges_, applied_bridges_;
  uint64_t generation_ = 1;
};

}  // namespace pintle::service_proxy

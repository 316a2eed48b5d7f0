// The packet filter's rules as a function of Services and EndpointSlices, and the difference between two states of them.
//
// Layout of the table (family ip):
//   map service-ips {address . protocol . port : verdict}, node-ports {protocol . port : verdict}: one look-up per new connection however many
//   Services there are; chain svc-<id> per Service port chooses an endpoint; ext-<id> is the way in from outside; sets refused-ips and refused-ports
//   answer at once for Services without endpoints; set hairpin holds pods that may reach themselves, same-bridge networks whose replies would bypass us.
// Connection marks: 0x400000 = ours (lets Docker's FORWARD rules pass it), 0x800000 = masquerade. The chain holder-<epoch> has no rules: it says
// which instance of the plugin the table belongs to, and a transaction of another one fails for want of its own.
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

// Flows to a UDP port of a Service are remembered by the kernel for as long as they go on; only those to `endpoints` may.
struct UdpFlows {
  std::set<std::string> addresses;  // "" = any: a node port
  uint16_t port = 0;
  std::set<std::string> endpoints;  // "10.0.0.1 . 53"
};

// An endpoint of a TCP port that no slice of its Service holds any more, while the slice lives on that said before that it terminates: its pod has ended, or ends
// somewhere out of the Service. Others may live on elsewhere.
struct EndedEndpoint {
  std::string service, endpoint;                         // "ns/name", "10.0.0.1 . 8080"
  std::set<std::pair<std::string, uint16_t>> reached_at;  // the Service's addresses and ports; "" = any address: a node port
};

class Ruleset {
 public:
  Ruleset(std::string table, std::string node) : table_(std::move(table)), node_(std::move(node)) {}
  void set_holder(uint64_t epoch) { holder_ = "holder-" + std::to_string(epoch); }

  // Level-based input: the newest state of each object. `json` null = gone.
  void set_service(const std::string& key, const json::Value& service);
  void set_slice(const std::string& key, const json::Value& slice);
  // After a new list: those that are not in it go.
  void keep_services(const std::set<std::string>& keys);
  void keep_slices(const std::set<std::string>& keys);

  // Networks (CIDR) behind a bridge whose traffic does not pass the packet filter.
  void set_bridges(std::set<std::string> networks);

  // The commands that bring the table from what was last returned to the present state; "" when nothing changed. Cost is
  // proportional to the change. One atomic transaction for nft.
  std::string changes();
  // All of it, for the first time or when an application failed: deletes and makes the table.
  std::string everything();
  std::string removal() const;  // fails when the table is another holder's
  std::string removal_of_any() const;

  size_t services() const { return services_.size(); }
  size_t endpoints() const { return endpoints_; }

  // What came with the commands since it was last asked for.
  struct News {
    std::set<std::string> endpoint_addresses;  // pods that were no endpoints before
    std::vector<std::string> conflicts;        // addresses and ports that another Service holds: for the log
    std::vector<UdpFlows> udp;                 // flows that no longer go where they should
    std::vector<EndedEndpoint> ended;
  };
  News take_news();
  // Whether a slice of the Service holds the endpoint.
  bool lists(const EndedEndpoint& e) const { return listed_.count({e.service, e.endpoint}) > 0; }

 private:
  struct Service {
    json::Value spec, status;
  };
  struct Slice {
    json::Value slice;
    std::string service;  // "ns/name"
  };
  struct Applied {
    ServicePort wished, granted;  // granted: without what another Service holds
  };
  struct Step;  // a Service on its way from what the table holds to what it should hold
  std::map<std::string, ServicePort> ports_of(const std::string& service_key) const;
  void release(const std::string& service, Step& step, std::string& out, std::set<std::string>& todo);
  void claim(const std::string& service, const std::string& key, ServicePort& port);
  static bool same_but_endpoints(const Applied& old, const ServicePort& now);
  void change_endpoints(const std::string& key, const ServicePort& old, const ServicePort& now, std::string& out);
  void outside_rules(const std::string& id, const ServicePort& p, std::string& out) const;
  void remove_port(const std::string& key, const ServicePort& old, const std::set<std::string>& kept, std::string& out);
  void add_port(const std::string& key, const ServicePort& now, const std::set<std::string>& kept, std::string& out);
  void chain_rules(const std::string& chain, const std::string& id, const ServicePort& p, const std::vector<std::string>& endpoints, std::string& out) const;
  void note_udp(const ServicePort& p, bool gone);
  void note_endpoints(const json::Value& before, const json::Value& now);
  void hold_hairpin(const ServicePort& p, int by, std::string& out);
  std::string skeleton() const;

  const std::string table_, node_;
  std::map<std::string, Service> services_;                          // "ns/name"
  std::map<std::string, Slice> slices_;                              // "ns/slice"
  std::map<std::string, std::set<std::string>> slices_of_;           // service -> slices
  std::set<std::string> dirty_;                                      // services
  std::map<std::string, std::map<std::string, Applied>> applied_;    // service -> "ns/name/port" -> what the table holds
  std::map<std::string, std::string> claims_;                        // "10.96.0.9 . tcp . 80" or "tcp . 30080" -> the port that has it
  std::map<std::string, std::set<std::string>> waiting_;             // the same -> services that would have it
  std::map<std::string, int> hairpin_;                               // pod address -> uses
  std::map<std::pair<std::string, std::string>, int> listed_;        // Service and endpoint of a TCP port -> how often its slices hold it
  std::set<std::string> bridges_, applied_bridges_;
  std::string holder_ = "holder-0";
  size_t endpoints_ = 0;
  News news_;
};

}  // namespace pintle::service_proxy

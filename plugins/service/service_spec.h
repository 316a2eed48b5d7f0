// What a Service's spec means: defaults, rules, and the addresses and ports it needs. Pure functions.
#pragma once
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "address_range.h"
#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::service {

struct Cause {
  std::string reason, field, message;
};

// Defaults that depend on other fields (ipFamilies, internalTrafficPolicy, targetPort, session affinity's timeout ...).
void default_service(json::Value& service);

// Cross-field rules; `old` null on create.
std::vector<Cause> validate_service(const json::Value& service, const json::Value& old);

// Rules of an EndpointSlice that a schema cannot express.
std::vector<Cause> validate_slice(const json::Value& slice);

// A taken address or port, as the name of its companion object.
struct Needs {
  std::vector<std::string> addresses;  // "10.96.0.7"
  std::vector<std::string> ports;      // "30080-tcp"
};
Needs needs_of(const json::Value& service);  // what the spec holds now

struct Ranges {
  AddressRange addresses;
  uint16_t port_from = 30000, port_to = 32767;
};

// Completes `service`: keeps what `old` holds where the new spec leaves it open, chooses what is missing. `taken(kind plural, name)`
// tells whether a companion exists (kinds "ipaddresses", "nodeports"). Error: INVALID with a Status that has causes.
Result<void> allocate(json::Value& service, const json::Value& old, const Ranges& ranges, uint64_t random,
                      const std::function<bool(std::string_view kind, const std::string& name)>& taken);

bool needs_cluster_ip(const json::Value& spec);  // not ExternalName, not headless
bool reached_from_outside(const json::Value& spec);
bool needs_node_ports(const json::Value& spec);  // NodePort, LoadBalancer
Error invalid(const json::Value& service, const std::vector<Cause>& causes);

// "80:30080/TCP,443/TCP"
std::string ports_text(const json::Value& spec);

}  // namespace pintle::service

// What the cluster's names mean, by the Kubernetes DNS specification 1.1
// (https://github.com/kubernetes/dns/blob/master/docs/specification.md), IPv4.
//
// Threads: one at a time.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "pintle/json.h"

namespace pintle::dns {

enum class RecordType : uint16_t { kA = 1, kCname = 5, kSoa = 6, kPtr = 12, kTxt = 16, kAaaa = 28, kSrv = 33, kAny = 255 };

struct Record {
  std::string name;   // fully qualified, without the final dot
  RecordType type;
  std::string data;   // A: address; CNAME, PTR: name; SRV: "0 100 port target"; TXT: text
};

struct Answer {
  bool ours = false;         // false: ask upstream
  bool exists = false;       // the name is there (maybe without such records)
  std::vector<Record> records, additional;
  std::string continue_at;   // CNAME to a name outside the cluster: to be resolved upstream
};

class Zone {
 public:
  explicit Zone(std::string domain);
  void set_service(const std::string& key, const json::Value& service);  // key "ns/name"; null = gone
  void set_slice(const std::string& key, const json::Value& slice);
  // After a new list: those that are not in it go.
  void keep_services(const std::set<std::string>& keys);
  void keep_slices(const std::set<std::string>& keys);

  Answer look_up(std::string_view name, RecordType type) const;  // any case, with or without the final dot
  const std::string& domain() const { return domain_; }

 private:
  struct Endpoint {
    std::string address, host;  // host: hostname or dashed address
    bool ready;
  };
  struct Port {
    std::string name, protocol;
    int64_t number;
  };
  struct Slice {
    std::string service;
    std::vector<Endpoint> endpoints;
    std::vector<Port> ports;
  };
  struct Service {
    std::string address, external_name;  // address "" = headless
    std::vector<Port> ports;
    bool publish_not_ready = false;
  };
  Answer look_up_service(const std::vector<std::string>& labels, const std::string& name, RecordType type) const;
  Answer look_up_reverse(const std::string& name, RecordType type) const;
  std::vector<Endpoint> endpoints_of(const std::string& service) const;
  std::string service_name(const std::string& key) const;

  const std::string domain_;
  std::map<std::string, Service> services_;
  std::map<std::string, Slice> slices_;
  std::map<std::string, std::set<std::string>> slices_of_;  // service -> slices
  void count(const std::string& address, const std::string& service, int by);

  std::map<std::string, std::map<std::string, int>> by_address_;  // address -> services ("ns/name") that have it, as cluster IP or endpoint; how often
  std::map<std::string, int> namespaces_;                         // with how many Services
};

}  // namespace pintle::dns

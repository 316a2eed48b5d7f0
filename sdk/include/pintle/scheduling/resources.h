// What a pod asks for and what a node has, in integers.
//
// Units: milli for "cpu", whole units (bytes, pieces) for everything else. Threads: values, like an int.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pintle/json.h"

namespace pintle::scheduling {

// A small sorted map of resource name -> amount. Absent = 0.
class Amounts {
 public:
  int64_t get(std::string_view resource) const;
  void set(std::string_view resource, int64_t amount);
  void add(std::string_view resource, int64_t amount) { set(resource, get(resource) + amount); }
  void add(const Amounts& o);
  void subtract(const Amounts& o);      // entries that become 0 go away
  void raise_to(const Amounts& o);      // per resource the larger one
  bool contains(std::string_view resource) const;
  bool empty() const { return items_.empty(); }
  const std::vector<std::pair<std::string, int64_t>>& items() const { return items_; }
  bool operator==(const Amounts& o) const { return items_ == o.items_; }

  // {"cpu":"1500m","memory":"1Gi"} as in API objects. What is no quantity counts as 0.
  static Amounts from_quantities(const json::Value& resource_list);
  json::Value to_quantities() const;
  // {"cpu":1500,"memory":1073741824} as in pintle.scheduler/1.
  static Amounts from_numbers(const json::Value& numbers);
  json::Value to_numbers() const;

 private:
  std::vector<std::pair<std::string, int64_t>> items_;
};

// The effective request of a PodSpec, as Kubernetes counts it: containers and sidecars together, or the largest step of
// init, whichever is more; spec.resources when given; plus overhead. Always holds "pods": 1.
Amounts pod_requests(const json::Value& pod_spec);

// [{"ip":"","protocol":"TCP","port":8080}] of all containers (init included).
json::Value pod_host_ports(const json::Value& pod_spec);

// "1500m", "3Gi", "110": for people.
std::string amount_text(std::string_view resource, int64_t amount);

}  // namespace pintle::scheduling

// Who depends on whom: the owner references of all objects, by UID. A hint where to look; before anything is changed the
// objects themselves are read.
//
// Threads: any.
#pragma once
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pintle/json.h"

namespace pintle::gc {

struct Place {
  std::string kind, ns, name, uid;  // kind: storage name
  // "kind|ns|name|uid": a key of the controller's queue.
  std::string key() const { return kind + "|" + ns + "|" + name + "|" + uid; }
  static std::optional<Place> parse(std::string_view key);
};

class Graph {
 public:
  // An object was seen (again). Objects without owners are forgotten.
  void seen(const Place& place, const json::Value& owner_references);
  // It is gone: it will not be taken up again, even when an older event about it comes late.
  void gone(const std::string& uid);
  std::vector<Place> dependents(const std::string& uid) const;
  bool has_dependents(const std::string& uid) const;

  // What `kind` of `group` is called in the store, learned from objects.
  struct KindName {
    std::string name;
    bool namespaced = false;
  };
  void learn(const std::string& group, const std::string& kind, const std::string& name, bool namespaced);
  std::optional<KindName> kind(const std::string& group, const std::string& kind) const;

 private:
  struct Node {
    Place place;
    std::vector<std::string> owners;
  };
  void unlink(const Node& node);
  mutable std::mutex mutex_;
  std::map<std::string, Node> nodes_;                              // by UID; only objects with owners
  std::map<std::string, std::set<std::string>> dependents_;        // owner UID -> UIDs
  std::map<std::pair<std::string, std::string>, KindName> kinds_;  // (group, Kind)
  std::set<std::string> gone_;
  std::deque<std::string> gone_order_;  // bounds gone_
};

}  // namespace pintle::gc

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
  // An object was seen (again); `leaving`: it has a deletionTimestamp. Objects without owners are forgotten.
  void seen(const Place& place, const json::Value& owner_references, bool leaving = false);
  // Events may have been missed: nobody is known to leave any more, so that all are read again.
  void doubt();
  // It is gone: it will not be taken up again, even when an older event about it comes late.
  void gone(const std::string& uid);
  std::vector<Place> dependents(const std::string& uid) const;
  // Of them those that are not known to leave already: an owner that goes is looked at after each of its dependents, and what was asked to leave
  // need not be asked again.
  std::vector<Place> staying(const std::string& uid) const;
  // Some that leave hold the owner back (blockOwnerDeletion).
  bool waits_for_leaving(const std::string& uid) const;
  bool has_dependents(const std::string& uid) const;

  // What `kind` of `group` is called in the store, learned from objects.
  struct KindName {
    std::string name;
    bool namespaced = false;
  };
  void learn(const std::string& group, const std::string& kind, const std::string& name, bool namespaced);
  std::optional<KindName> kind(const std::string& group, const std::string& kind) const;

 private:
  struct Owner {
    std::string uid;
    bool blocked;
  };
  struct Node {
    Place place;
    std::vector<Owner> owners;
    bool leaving = false;
  };
  struct Dependents {
    std::set<std::string> all, staying;  // UIDs
    size_t blocking = 0;                 // that leave and hold the owner back
  };
  void unlink(const Node& node);
  std::vector<Place> places(const std::set<std::string>& uids) const;
  mutable std::mutex mutex_;
  std::map<std::string, Node> nodes_;                              // by UID; only objects with owners
  std::map<std::string, Dependents> dependents_;                   // by the owner's UID
  std::map<std::pair<std::string, std::string>, KindName> kinds_;  // (group, Kind)
  std::set<std::string> gone_;
  std::deque<std::string> gone_order_;  // bounds gone_
};

}  // namespace pintle::gc

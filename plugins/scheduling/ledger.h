// What every node has and what its pods ask for. The only place where room is given away.
//
// Counts bound pods (seen in the store) and assumed ones (a bind is on its way). Each node's account is good as of one revision
// of its NodeLedger object: a bind compares that revision, so an account that missed somebody else's bind cannot be used.
// Pure; threads: one at a time.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "pintle/scheduling/resources.h"

namespace pintle::scheduling_plugin {

using scheduling::Amounts;

class Ledger {
 public:
  struct Account {
    bool exists = false;         // the node does
    Amounts allocatable, used;
    std::set<std::string> pods;  // uids, bound and assumed
    uint64_t revision = 0;       // of the NodeLedger object that this account is good for; 0 = there is none
    bool known = false;          // `revision` was read from the store
    int64_t binds = 0;
  };

  void set_node(const std::string& name, const Amounts& allocatable);
  void remove_node(const std::string& name);  // its pods stay accounted until they go
  const Account* account(const std::string& node) const;
  Account& mutable_account(const std::string& node) { return accounts_[node]; }

  // Room for the requests? `why`: "Insufficient cpu: needs 2000m, 1500m of 4000m free". A pod `uid` that is counted on that very node
  // has its room.
  bool fits(const std::string& node, const Amounts& requests, std::string* why, const std::string& uid = {}) const;
  // The pod is on the node (bound), or on its way (assumed). Replaces what was known of it.
  void put(const std::string& uid, const std::string& node, const Amounts& requests, bool assumed);
  // Returns the node it was on, "" when it was on none.
  std::string remove(const std::string& uid);
  bool assumed(const std::string& uid) const;
  std::string node_of(const std::string& uid) const;

 private:
  struct Pod {
    std::string node;
    Amounts requests;
    bool assumed = false;
  };
  std::map<std::string, Account> accounts_;
  std::map<std::string, Pod> pods_;
};

}  // namespace pintle::scheduling_plugin

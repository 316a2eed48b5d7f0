#include "ledger.h"

#include <algorithm>

namespace pintle::scheduling_plugin {

void Ledger::set_node(const std::string& name, const Amounts& allocatable) {
  Account& a = accounts_[name];
  a.exists = true;
  a.allocatable = allocatable;
}

void Ledger::remove_node(const std::string& name) {
  const auto it = accounts_.find(name);
  if (it == accounts_.end()) return;
  if (it->second.pods.empty()) {
    accounts_.erase(it);
    return;
  }
  it->second.exists = false;
  it->second.known = false;
  it->second.allocatable = {};
}

const Ledger::Account* Ledger::account(const std::string& node) const {
  const auto it = accounts_.find(node);
  return it == accounts_.end() ? nullptr : &it->second;
}

bool Ledger::fits(const std::string& node, const Amounts& requests, std::string* why, const std::string& uid) const {
  const Account* a = account(node);
  if (!a || !a->exists) {
    if (why) *why = "node \"" + node + "\" does not exist";
    return false;
  }
  if (!uid.empty() && node_of(uid) == node) return true;
  for (const auto& [resource, wanted] : requests.items()) {
    if (wanted <= 0) continue;
    const int64_t has = a->allocatable.get(resource), used = a->used.get(resource);
    if (wanted <= has - used) continue;
    if (why)
      *why = resource == "pods" ? "Too many pods: " + std::to_string(used) + " of " + std::to_string(has) + " are there"
                                : "Insufficient " + resource + ": needs " + scheduling::amount_text(resource, wanted) + ", " +
                                      scheduling::amount_text(resource, std::max<int64_t>(0, has - used)) + " of " +
                                      scheduling::amount_text(resource, has) + " free";
    return false;
  }
  return true;
}

void Ledger::put(const std::string& uid, const std::string& node, const Amounts& requests, bool assumed) {
  const auto it = pods_.find(uid);
  if (it != pods_.end() && it->second.node == node && it->second.requests == requests) {
    it->second.assumed = assumed;
    return;
  }
  remove(uid);
  Account& a = accounts_[node];
  a.used.add(requests);
  a.pods.insert(uid);
  pods_[uid] = {node, requests, assumed};
}

std::string Ledger::remove(const std::string& uid) {
  const auto it = pods_.find(uid);
  if (it == pods_.end()) return {};
  const std::string node = it->second.node;
  Account& a = accounts_[node];
  a.used.subtract(it->second.requests);
  a.pods.erase(uid);
  if (!a.exists && a.pods.empty()) accounts_.erase(node);
  pods_.erase(it);
  return node;
}

bool Ledger::assumed(const std::string& uid) const {
  const auto it = pods_.find(uid);
  return it != pods_.end() && it->second.assumed;
}

std::string Ledger::node_of(const std::string& uid) const {
  const auto it = pods_.find(uid);
  return it == pods_.end() ? std::string() : it->second.node;
}

}  // namespace pintle::scheduling_plugin

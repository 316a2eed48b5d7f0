#include "plugins/gc/graph.h"

namespace pintle::gc {
namespace {
constexpr size_t kRemembered = 8192;  // UIDs of objects that are gone
}

std::optional<Place> Place::parse(std::string_view key) {
  Place p;
  std::string* const parts[] = {&p.kind, &p.ns, &p.name, &p.uid};
  size_t at = 0;
  for (size_t i = 0; i < 4; ++i) {
    const size_t end = i == 3 ? key.size() : key.find('|', at);
    if (end == std::string_view::npos) return std::nullopt;
    parts[i]->assign(key.substr(at, end - at));
    at = end + 1;
  }
  return p;
}

void Graph::unlink(const Node& node) {
  for (const Owner& owner : node.owners) {
    const auto it = dependents_.find(owner.uid);
    if (it == dependents_.end()) continue;
    it->second.all.erase(node.place.uid);
    it->second.staying.erase(node.place.uid);
    if (node.leaving && owner.blocked) --it->second.blocking;
    if (it->second.all.empty()) dependents_.erase(it);
  }
}

void Graph::seen(const Place& place, const json::Value& owner_references, bool leaving) {
  std::lock_guard lock(mutex_);
  if (gone_.count(place.uid)) return;
  const auto it = nodes_.find(place.uid);
  if (it != nodes_.end()) unlink(it->second);
  if (owner_references.empty()) {
    if (it != nodes_.end()) nodes_.erase(it);
    return;
  }
  Node& node = nodes_[place.uid];
  node.place = place;
  node.leaving = leaving;
  node.owners.clear();
  for (const auto& r : owner_references.items()) {
    std::string owner(r["uid"].as_string());
    Dependents& of = dependents_[owner];
    if (!of.all.insert(place.uid).second) continue;  // named twice
    const bool blocked = r["blockOwnerDeletion"].as_bool();
    if (!leaving) of.staying.insert(place.uid);
    else if (blocked) ++of.blocking;
    node.owners.push_back({std::move(owner), blocked});
  }
}

void Graph::doubt() {
  std::lock_guard lock(mutex_);
  for (auto& [uid, node] : nodes_) node.leaving = false;
  for (auto& [uid, of] : dependents_) {
    of.staying = of.all;
    of.blocking = 0;
  }
}

void Graph::gone(const std::string& uid) {
  std::lock_guard lock(mutex_);
  const auto it = nodes_.find(uid);
  if (it != nodes_.end()) {
    unlink(it->second);
    nodes_.erase(it);
  }
  if (!gone_.insert(uid).second) return;
  gone_order_.push_back(uid);
  if (gone_order_.size() > kRemembered) {
    gone_.erase(gone_order_.front());
    gone_order_.pop_front();
  }
}

std::vector<Place> Graph::places(const std::set<std::string>& uids) const {
  std::vector<Place> out;
  out.reserve(uids.size());
  for (const auto& uid : uids) out.push_back(nodes_.at(uid).place);
  return out;
}

std::vector<Place> Graph::dependents(const std::string& uid) const {
  std::lock_guard lock(mutex_);
  const auto it = dependents_.find(uid);
  return it == dependents_.end() ? std::vector<Place>() : places(it->second.all);
}

std::vector<Place> Graph::staying(const std::string& uid) const {
  std::lock_guard lock(mutex_);
  const auto it = dependents_.find(uid);
  return it == dependents_.end() ? std::vector<Place>() : places(it->second.staying);
}

bool Graph::waits_for_leaving(const std::string& uid) const {
  std::lock_guard lock(mutex_);
  const auto it = dependents_.find(uid);
  return it != dependents_.end() && it->second.blocking > 0;
}

bool Graph::has_dependents(const std::string& uid) const {
  std::lock_guard lock(mutex_);
  return dependents_.count(uid) > 0;
}

void Graph::learn(const std::string& group, const std::string& kind, const std::string& name, bool namespaced) {
  std::lock_guard lock(mutex_);
  kinds_[{group, kind}] = {name, namespaced};
}

std::optional<Graph::KindName> Graph::kind(const std::string& group, const std::string& kind) const {
  std::lock_guard lock(mutex_);
  const auto it = kinds_.find({group, kind});
  if (it == kinds_.end()) return std::nullopt;
  return it->second;
}

}  // namespace pintle::gc

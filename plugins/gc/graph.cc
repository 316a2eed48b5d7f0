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
  for (const auto& owner : node.owners) {
    const auto it = dependents_.find(owner);
    if (it == dependents_.end()) continue;
    it->second.erase(node.place.uid);
    if (it->second.empty()) dependents_.erase(it);
  }
}

void Graph::seen(const Place& place, const json::Value& owner_references) {
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
  node.owners.clear();
  for (const auto& r : owner_references.items()) {
    node.owners.emplace_back(r["uid"].as_string());
    dependents_[node.owners.back()].insert(place.uid);
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

std::vector<Place> Graph::dependents(const std::string& uid) const {
  std::vector<Place> out;
  std::lock_guard lock(mutex_);
  if (const auto it = dependents_.find(uid); it != dependents_.end())
    for (const auto& d : it->second) out.push_back(nodes_.at(d).place);
  return out;
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

#include "kernel/plugin/graph.h"

#include <algorithm>
#include <set>

namespace pintle::kernel {
namespace {

bool has(const std::vector<std::string>& list, const std::string& what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

class Planner {
 public:
  Planner(const std::map<std::string, GraphNode>& nodes, const std::vector<std::string>& host) : nodes_(nodes), host_(host) {}

  Plan run() {
    for (const auto& [name, node] : nodes_) visit(name);
    return std::move(plan_);
  }

 private:
  // True when `name` can start.
  bool visit(const std::string& name) {
    if (done_.count(name)) return !plan_.refused.count(name);
    if (const auto at = std::find(path_.begin(), path_.end(), name); at != path_.end()) {
      std::string text = "dependency cycle: ";
      for (auto i = at; i != path_.end(); ++i) text += *i + " -> ";
      text += name;
      for (auto i = at; i != path_.end(); ++i) cyclic_.emplace(*i, text);
      return false;
    }
    path_.push_back(name);
    const GraphNode& node = nodes_.at(name);
    std::string why;
    for (const auto& other : node.needs) {
      if (!nodes_.count(other)) why = "needs plugin \"" + other + "\", which is not enabled";
      else if (!visit(other) && why.empty()) why = "needs plugin \"" + other + "\", which cannot start";
    }
    for (const auto& id : node.requirements) {
      if (has(host_, id)) continue;
      bool offered = false, usable = false;
      for (const auto& [provider, p] : nodes_) {
        if (provider == name || !has(p.provides, id)) continue;
        offered = true;
        usable |= visit(provider);
      }
      if (!usable && why.empty())
        why = "requires \"" + id + "\", which " + (offered ? "no plugin that can start provides" : "neither the host nor an enabled plugin provides");
    }
    for (const auto& first : node.after)
      for (const auto& [other, p] : nodes_)
        if (other != name && (other == first || has(p.provides, first))) visit(other);
    path_.pop_back();
    if (const auto c = cyclic_.find(name); c != cyclic_.end()) why = c->second;
    done_.insert(name);
    if (!why.empty()) {
      plan_.refused[name] = why;
      return false;
    }
    plan_.order.push_back(name);
    return true;
  }

  const std::map<std::string, GraphNode>& nodes_;
  const std::vector<std::string>& host_;
  Plan plan_;
  std::set<std::string> done_;
  std::vector<std::string> path_;
  std::map<std::string, std::string> cyclic_;
};

}  // namespace

Plan plan(const std::map<std::string, GraphNode>& nodes, const std::vector<std::string>& host_interfaces) {
  return Planner(nodes, host_interfaces).run();
}

std::vector<std::string> dependents(const std::map<std::string, GraphNode>& nodes, const std::string& name) {
  std::vector<std::string> out;
  const auto self = nodes.find(name);
  for (const auto& [other, node] : nodes) {
    if (other == name) continue;
    bool broken = has(node.needs, name);
    if (!broken && self != nodes.end()) {
      for (const auto& id : node.requirements) {
        if (!has(self->second.provides, id)) continue;
        broken |= std::none_of(nodes.begin(), nodes.end(),
                               [&](const auto& p) { return p.first != name && p.first != other && has(p.second.provides, id); });
      }
    }
    if (broken) out.push_back(other);
  }
  return out;
}

}  // namespace pintle::kernel

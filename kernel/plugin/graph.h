// In which order plugins start, and what keeps one from starting.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "pintle/result.h"

namespace pintle::kernel {

struct GraphNode {
  std::vector<std::string> provides;      // interface ids
  std::vector<std::string> requirements;  // interface ids
  std::vector<std::string> needs;         // plugins that must be there
  std::vector<std::string> after;         // plugins or interface ids that come first when they are there
};

struct Plan {
  std::vector<std::string> order;              // who can start, first to last; ties by name
  std::map<std::string, std::string> refused;  // who cannot, and why: `needs plugin "core", which is not enabled`
};

// `host_interfaces`: what the kernel offers itself. A cycle refuses all on it, printing `a -> b -> a`; who needs a refused one is refused.
Plan plan(const std::map<std::string, GraphNode>& nodes, const std::vector<std::string>& host_interfaces);

// Who would break without `name`: plugins that need it, or that require an interface nobody else provides. Transitive
// dependents are not listed.
std::vector<std::string> dependents(const std::map<std::string, GraphNode>& nodes, const std::string& name);

}  // namespace pintle::kernel

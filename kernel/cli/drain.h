// Ending all pods of a cluster before it stops, and opening its nodes again with the next start.
#pragma once
#include <functional>
#include <string>

#include "pintle/result.h"

namespace pintle::cli {

// Closes every open node for new pods and deletes all pods that run; waits up to a minute, telling how many are left. Replacements that
// controllers make stay Pending. The closed nodes are remembered in <data>/drained.json.
Result<void> drain(const std::string& data, const std::function<void(const std::string&)>& say);
// Opens the nodes that drain() closed. Nothing to do when there was none.
Result<void> open_drained_nodes(const std::string& data);

}  // namespace pintle::cli

// The scheduler's answer about a pod, as a table.
#pragma once
#include <string>

#include "pintle/json.h"

namespace pintle::cli {

// `answer`: {text, message, nodes: [{name, filter, reason} or {name, total, scores: {..}}]}. Possible nodes come first, best first.
std::string explanation_text(const std::string& pod, const json::Value& answer);

}  // namespace pintle::cli

// What a YAML scalar means, as Kubernetes' YAML reader sees it (YAML 1.1 rules of go-yaml).
#pragma once
#include <string>

#include "pintle/json.h"

namespace pintle::kernel {

// `tag` as the parser reports it: "?" plain, "!" quoted, or an explicit one. "" = fine, else what is wrong.
std::string resolve_yaml_scalar(const std::string& tag, const std::string& text, json::Value& out);

}  // namespace pintle::kernel

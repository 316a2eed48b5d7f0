// One entry of `kinds` in a manifest (sdk/docs/manifest.md) as a Kind.
#pragma once
#include <string>

#include "kernel/api/schema/kind.h"

namespace pintle::kernel {

// INVALID names the kind and the member. The version types must be in `types`.
Result<Kind> parse_kind(const std::string& owner, const json::Value& v, const TypeTable& types);

}  // namespace pintle::kernel

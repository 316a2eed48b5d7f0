// Checks a plugin's configuration against the schema in its manifest and fills in defaults.
//
// Subset of JSON Schema: type, properties, required, additionalProperties (default: false), items, enum, default, minimum,
// maximum, minLength, maxLength, minItems, maxItems; other keywords are refused. title, description, examples, $schema are ignored.
#pragma once
#include <functional>
#include <string>

#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::kernel {

// "file:line:column" of a dotted path, or "". Paths: "", "nodes[0].name".
using Locate = std::function<std::string(const std::string& path)>;

// The value with defaults. INVALID: every problem, one per line, each as `[file:line:column: ]path: what is wrong`. `prefix`
// goes before the paths in texts and lookups ("plugins.dns.config").
Result<json::Value> apply_schema(const json::Value& schema, const json::Value& config, const std::string& prefix = {}, const Locate& locate = {});

// Names a keyword of the schema that is not in the subset: it would be accepted in silence.
Result<void> check_schema(const json::Value& schema);

}  // namespace pintle::kernel

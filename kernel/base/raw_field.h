// Reads one field out of the text of a JSON object without parsing the rest.
//
// For canonical objects only (known to be valid JSON, no white space). Used by pintle.object/1, watch selectors and the field
// filters of reconcile loops.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace pintle::kernel {

// "metadata.name", "metadata.annotations[a.b/c]" -> its keys.
std::vector<std::string> split_path(std::string_view dotted);

// The JSON text of the field, a view into `json`; empty when absent.
std::string_view raw_field(std::string_view json, const std::vector<std::string>& path);

// The text between the quotes of a string without escapes; numbers and booleans as they are; "" otherwise.
std::string_view plain_text(std::string_view raw);

}  // namespace pintle::kernel

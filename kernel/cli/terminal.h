// What goes to the terminal.
#pragma once
#include <string>
#include <vector>

namespace pintle::cli {

// Columns as wide as they need to be; the first row is the heading.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace pintle::cli

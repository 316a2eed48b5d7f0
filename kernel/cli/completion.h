// Shell completion, made from the table of commands.
#pragma once
#include <string>
#include <vector>

#include "kernel/cli/arguments.h"

namespace pintle::cli {

// `shell`: bash, zsh or fish; INVALID otherwise.
Result<std::string> completion_script(const std::vector<Command>& commands, const std::string& shell);

}  // namespace pintle::cli

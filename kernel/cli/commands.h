// One function for each command; each lives in the file of its name.
#pragma once
#include <vector>

#include "kernel/cli/arguments.h"

namespace pintle::cli {

Command up_command();
Command down_command();
Command status_command();
Command preflight_command();
Command kubeconfig_command();
Command explain_command();
Command plugin_new_command();
Command plugin_inspect_command();
Command plugin_list_command();
Command plugin_upgrade_command();
Command config_check_command();
Command config_diff_command();
Command debug_bundle_command();
Command completion_command();
Command version_command();

// In the order of the help.
const std::vector<Command>& commands();

}  // namespace pintle::cli

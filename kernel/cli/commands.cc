#include "kernel/cli/commands.h"

#include <cstdio>

#include "kernel/cli/completion.h"

namespace pintle::cli {
namespace {

Result<int> completion(const Arguments& a) {
  auto script = completion_script(commands(), a.operands()[0]);
  if (!script) return script.error();
  std::fputs(script->c_str(), stdout);
  return 0;
}

Result<int> version(const Arguments&) {
  std::puts("pintle " PINTLE_VERSION_TEXT " (Kubernetes API v1.35)");
  return 0;
}

}  // namespace

Command completion_command() {
  return {"completion", "SHELL", "Prints the completion script of bash, zsh or fish", {}, "  source <(pintle completion bash)\n  pintle completion fish | source\n", completion};
}

Command version_command() { return {"version", "", "Prints the version", {}, "", version}; }

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {up_command(),          down_command(),           status_command(),      preflight_command(),    kubeconfig_command(),
                                           explain_command(),     plugin_new_command(),     plugin_list_command(), plugin_inspect_command(), plugin_upgrade_command(),
                                           config_check_command(), config_diff_command(),   debug_bundle_command(), completion_command(),    version_command()};
  return all;
}

}  // namespace pintle::cli

// `pintle kubeconfig`: the administrator's access, printed or merged into a user's own file.
#include <grp.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "kernel/base/file.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/kubeconfig.h"
#include "kernel/cli/place.h"

namespace pintle::cli {
namespace fs = std::filesystem;
namespace {

std::string target_of(const Invoker& who) { return who.home + "/.kube/config"; }

// Under sudo everything below the user's home is done as that user: files get the right owner, and a link there leads no further than
// the user could go.
Result<void> become(const Invoker& who) {
  if (geteuid() != 0 || who.uid == 0) return {};
  if (setgroups(1, &who.gid) != 0 || setegid(who.gid) != 0 || seteuid(who.uid) != 0) return Error(PINTLE_FORBIDDEN, "cannot act as user " + std::to_string(who.uid));
  return {};
}

Result<int> kubeconfig(const Arguments& a) {
  const std::string data = data_of(a), file = data + "/admin.kubeconfig";
  auto text = kernel::read_file(file);
  if (!text) {
    if (text.error().code == PINTLE_NOT_FOUND) return Error(PINTLE_NOT_FOUND, "no cluster in " + data + "; start one with pintle up, or name another directory with --data");
    return Error(text.error().code, text.error().text + "; use sudo");
  }
  if (!a.has("--merge")) {
    std::fputs(text->c_str(), stdout);
    return 0;
  }
  auto ours = parse_yaml(*text);
  if (!ours) return Error(PINTLE_INTERNAL, file + ":" + ours.error().text);
  auto who = invoker();
  if (!who) return who.error();
  if (auto r = become(*who); !r) return r.error();
  // A linked file is replaced where it lies, not the link.
  std::error_code code;
  const std::string path = fs::weakly_canonical(target_of(*who), code).string();
  if (code) return Error(PINTLE_FORBIDDEN, target_of(*who) + ": " + code.message());
  json::Value theirs;
  if (fs::exists(path, code)) {
    auto before = kernel::read_file(path);
    if (!before) return before.error();
    auto value = parse_yaml(*before);
    if (!value) return Error(PINTLE_INVALID, path + ":" + value.error().text + "; it was not changed");
    if (!value->is_null() && !value->is_object()) return Error(PINTLE_INVALID, path + " is not a kubeconfig; it was not changed");
    theirs = std::move(*value);
  } else {
    if (auto r = kernel::make_directory(fs::path(path).parent_path().string()); !r) return r.error();
  }
  const Merged merged = merge_kubeconfig(std::move(theirs), *ours);
  if (auto r = kernel::write_file(path, write_yaml(merged.kubeconfig), 0600); !r) return r.error();
  if (merged.name != "pintle") std::printf("\"pintle\" in %s is another cluster's entry and stays; ours is \"%s\"\n", path.c_str(), merged.name.c_str());
  std::printf("%s context \"%s\" in %s\n", merged.replaced ? "renewed" : "added", merged.name.c_str(), path.c_str());
  if (!merged.made_current && merged.kubeconfig["current-context"].as_string() != merged.name)
    std::printf("use it: kubectl --context %s get nodes, or kubectl config use-context %s\n", merged.name.c_str(), merged.name.c_str());
  return 0;
}

}  // namespace

Command kubeconfig_command() {
  return {"kubeconfig",
          "",
          "Prints the administrator's kubeconfig, or merges it into ~/.kube/config",
          {{"--merge", "", "put it into ~/.kube/config of who asks, also under sudo"},
           {"--data", "DIR", "which cluster (default: $PINTLE_DATA, /var/lib/pintle, as a user ~/.local/share/pintle)"}},
          "An entry \"pintle\" that belongs to another cluster is never replaced: ours is then called \"pintle-2\".\n"
          "The current context changes only when there was none.\n",
          kubeconfig};
}

}  // namespace pintle::cli

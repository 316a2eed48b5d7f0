// pintle-host: one plugin in a process of its own, at the other end of descriptor 3. Started by pintled only.
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "kernel/host/session.h"
#include "kernel/run/thread_executor.h"

int main(int argc, char** argv) {
  std::string plugin;
  long parent = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::string(argv[i]) == "--plugin") plugin = argv[i + 1];
    if (std::string(argv[i]) == "--parent") parent = std::strtol(argv[i + 1], nullptr, 10);
  }
  if (parent == 0 || plugin.empty()) {
    std::fprintf(stderr, "pintle-host runs a plugin for pintled and is started by it: set spec.isolation of the Plugin object to \"process\"\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) return 1;  // it died before it could be asked for
  prctl(PR_SET_NAME, plugin.substr(0, 15).c_str());
  std::signal(SIGPIPE, SIG_IGN);
  static auto* executor = new pintle::kernel::ThreadExecutor({.name = "plugin"});  // ends with the process
  pintle::kernel::serve(*executor, 3);
  for (;;) ::pause();
}

// `pintle down`: the end of a cluster, in three degrees.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "kernel/cli/commands.h"
#include "kernel/cli/drain.h"
#include "kernel/cli/place.h"
#include "kernel/cli/process.h"
#include "kernel/cli/purge.h"
#include "kernel/cli/record.h"
#include "kernel/store/ownership.h"

namespace pintle::cli {
namespace {

constexpr int kGraceMs = 30000;

void say(const std::string& text) {
  std::puts(text.c_str());
  std::fflush(stdout);
}

// "pintled.service" when a service manager owns the process: it would start it again.
std::string service_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/cgroup");
  for (std::string line; std::getline(file, line);)
    if (const size_t at = line.rfind('/'); at != std::string::npos && line.size() > 8 && line.compare(line.size() - 8, 8, ".service") == 0 && line.find("pintle") != std::string::npos)
      return line.substr(at + 1);
  return "";
}

Result<bool> stop(const std::string& data) {
  bool stopped = false, killed = false;
  if (const pid_t pid = daemon_of(data)) {
    const std::string service = service_of(pid);
    if (!service.empty() && !supervisor_of(data)) {
      const Finished r = run_program({"systemctl", "stop", service}, 90000);
      if (r.code != 0) return Error(PINTLE_FORBIDDEN, "it runs as the service " + service + "; systemctl stop " + service + ": " + r.errors.substr(0, r.errors.find('\n')));
      say("stopped the service " + service);
      return true;
    }
  }
  // The supervisor first: it passes the signal on and does not start pintled again.
  auto supervisor = end_holder(data + "/supervisor.lock", "pintle", kGraceMs + 5000, killed);
  if (!supervisor) return supervisor.error();
  stopped = *supervisor;
  auto daemon = end_holder(data + "/pintled.lock", "pintled", kGraceMs, killed);
  if (!daemon) return daemon.error();
  stopped |= *daemon;
  if (killed) say("pintled did not end within " + std::to_string(kGraceMs / 1000) + " s and was killed; acknowledged writes are on disk");
  return stopped;
}

// A cluster that the service manager started has no record: its usual configuration stands in.
Record record_for_purge(const std::string& data) {
  if (auto record = read_record(data)) return *record;
  if (data == "/var/lib/pintle")
    if (auto record = record_of(usual_config(), {}, data)) return *record;
  return {};
}

Result<void> purge(const std::string& data) {
  const Record record = record_for_purge(data);
  if (record.own_containers)
    if (auto r = purge_containers(Engine(), record.container_cluster, say); !r) return r;
  if (geteuid() == 0 && !record.packet_filter_table.empty())
    if (auto r = purge_packet_filter(record.packet_filter_table, say); !r) return r;
  if (geteuid() == 0 && record.own_containers)
    if (auto r = purge_cgroups(say); !r) return r;
  for (const auto& root : record.roots) {
    const std::string above = root.substr(0, root.rfind('/'));
    if (kernel::is_data_directory(above)) say(root + " stays: it lies in the data directory of another cluster");
    else if (auto r = purge_root(root, say); !r) return r;
  }
  return purge_data(data, say);
}

Result<int> down(const Arguments& a) {
  const std::string data = data_of(a);
  std::error_code code;
  (void)std::filesystem::exists(data + "/pintled.lock", code);
  if (code) return Error(PINTLE_FORBIDDEN, "cannot look into " + data + ": " + code.message() + "; use sudo");
  if (!kernel::may_be_data_directory(data)) return Error(PINTLE_INVALID, data + " is not a data directory of Pintle's; name it with --data");
  const bool runs = daemon_of(data) != 0;
  if (a.has("--drain")) {
    if (!runs) say("pintled does not run: there is nothing to drain");
    else if (auto r = drain(data, say); !r) return Error(r.error().code, "cannot drain: " + r.error().text);
  }
  auto stopped = stop(data);
  if (!stopped) return stopped.error();
  if (*stopped) say("stopped" + std::string(a.has("--purge") || a.has("--drain") ? "" : "; containers go on running (pintle down --help)"));
  else say("nothing runs on " + data);
  if (a.has("--purge"))
    if (auto r = purge(data); !r) return r.error();
  return 0;
}

}  // namespace

Command down_command() {
  return {"down",
          "",
          "Stops a cluster",
          {{"--data", "DIR", "which one (default: $PINTLE_DATA, /var/lib/pintle, as a user ~/.local/share/pintle)"},
           {"--drain", "", "end the containers first, gracefully, for up to a minute"},
           {"--purge", "", "afterwards remove everything it made: containers, networks, packet filter, cgroups, state"}},
          "Without an option only pintled ends: containers go on running, and the next `pintle up` finds them.\n"
          "--purge removes only what carries the marks of this cluster, and prints what it removed. State is gone for good.\n",
          down};
}

}  // namespace pintle::cli

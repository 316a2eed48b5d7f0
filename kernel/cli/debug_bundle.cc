// `pintle debug bundle`: what somebody else needs to find a fault, in one file, without secrets.
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <filesystem>

#include "kernel/base/file.h"
#include "kernel/cli/api_client.h"
#include "kernel/cli/checks.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/place.h"
#include "kernel/cli/process.h"
#include "kernel/cli/redact.h"

namespace pintle::cli {
namespace fs = std::filesystem;
namespace {

constexpr int kPackMs = 60000;

struct Source {
  const char* file;
  const char* path;  // of the API
};
// Pods, ConfigMaps and Secrets are not among them: what users wrote there is theirs.
constexpr Source kSources[] = {{"version.json", "/version"},
                               {"readyz.txt", "/readyz?verbose"},
                               {"metrics.txt", "/metrics"},
                               {"plugins.json", "/apis/pintle.dev/v1/plugins"},
                               {"slots.json", "/apis/pintle.dev/v1/slots"},
                               {"nodes.json", "/api/v1/nodes"},
                               {"events.json", "/api/v1/events"}};

std::string about() {
  utsname machine{};
  uname(&machine);
  return std::string("pintle " PINTLE_VERSION_TEXT "\n") + machine.sysname + " " + machine.release + " " + machine.machine + "\n";
}

Result<void> collect(const std::string& data, const std::string& into) {
  const auto put = [&](const std::string& name, const std::string& text) { return kernel::write_file(into + "/" + name, text); };
  if (auto r = put("about.txt", about()); !r) return r;
  if (auto r = put("preflight.json", findings_json(check_machine(data, {})).dump(true)); !r) return r;
  auto api = ApiClient::open(data);
  for (const Source& source : kSources) {
    auto reply = api ? api->raw("GET", source.path) : Result<HttpReply>(api.error());
    std::string text = reply ? reply->body : reply.error().text + "\n";
    if (json::Value value = json::parse_or_null(text); value.is_object()) {
      redact(value);
      text = value.dump(true);
    }
    if (auto r = put(source.file, text); !r) return r;
  }
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(data + "/log", code)) {
    auto text = kernel::read_file(entry.path().string());
    if (!text) return text.error();
    if (auto r = put(entry.path().filename().string(), *text); !r) return r;
  }
  if (auto record = kernel::read_file(data + "/up.json")) return put("up.json", *record);
  return {};
}

Result<int> debug_bundle(const Arguments& a) {
  const std::string data = data_of(a);
  std::error_code code;
  if (!fs::is_directory(data, code)) return Error(PINTLE_NOT_FOUND, "no cluster in " + data + "; name its directory with --data");
  char name[64];
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  std::strftime(name, sizeof name, "pintle-debug-%Y%m%d-%H%M%S", gmtime_r(&now, &utc));
  const std::string target = fs::absolute(a.value("--output", std::string(name) + ".tar.gz")).lexically_normal().string();
  std::string work = (fs::temp_directory_path() / "pintle-debug-XXXXXX").string();
  if (!mkdtemp(work.data())) return Error(PINTLE_FORBIDDEN, "cannot make a directory in " + fs::temp_directory_path().string());
  const std::string inside = work + "/" + name;
  umask(077);  // also for the archive, which tar makes
  Result<void> done = kernel::make_directory(inside);
  if (done) done = collect(data, inside);
  if (done) {
    const Finished r = run_program({"tar", "-C", work, "-czf", target, name}, kPackMs);
    if (r.code != 0) done = Error(PINTLE_FORBIDDEN, "tar cannot write " + target + ": " + r.errors.substr(0, r.errors.find('\n')));
  }
  fs::remove_all(work, code);
  if (!done) return done.error();
  std::printf("wrote %s; read it before you pass it on: logs and events name what runs here\n", target.c_str());
  return 0;
}

}  // namespace

Command debug_bundle_command() {
  return {"debug bundle",
          "",
          "Writes logs, metrics and the state of plugins into one file for a fault report",
          {{"--output", "FILE", "where to (default: pintle-debug-TIME.tar.gz)"},
           {"--data", "DIR", "which cluster (default: $PINTLE_DATA, /var/lib/pintle, as a user ~/.local/share/pintle)"}},
          "No Secrets, keys, certificates, pods or ConfigMaps are in it; values of keys like password or token are struck out.\n"
          "It also works when pintled does not run.\n",
          debug_bundle};
}

}  // namespace pintle::cli

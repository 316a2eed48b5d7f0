// `pintle status`: what runs, and how it is.
#include <algorithm>
#include <cstdio>

#include "kernel/cli/api_client.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/place.h"
#include "kernel/cli/process.h"
#include "kernel/cli/terminal.h"

namespace pintle::cli {
namespace {

using json::Value;

std::string text_at(const Value& object, std::string_view path) { return std::string(object.at(path).as_string()); }

bool is_ready(const Value& node) {
  for (const auto& c : node.at("status.conditions").items())
    if (c["type"].as_string() == "Ready") return c["status"].as_string() == "True";
  return false;
}

bool print_plugins(const Value& plugins) {
  bool well = true;
  std::vector<std::vector<std::string>> rows = {{"PLUGIN", "VERSION", "STATE", "RESTARTS", "WHY"}};
  for (const auto& p : plugins["items"].items()) {
    const std::string state = text_at(p, "status.state");
    well &= state != "Failed" && state != "CrashLoopBackOff";
    std::string why = state == "Active" ? "" : text_at(p, "status.message");
    if (why.empty() && state != "Active") why = text_at(p, "status.reason");
    rows.push_back({text_at(p, "metadata.name"), text_at(p, "status.version"), state, std::to_string(p.at("status.restarts").as_int()), why});
  }
  std::printf("\n%s", table(rows).c_str());
  return well;
}

void print_slots(const Value& slots) {
  std::vector<std::vector<std::string>> rows = {{"SLOT", "HOLDER", "EPOCH", "PHASE"}};
  for (const auto& s : slots["items"].items())
    rows.push_back({text_at(s, "metadata.name"), text_at(s, "status.provider"), std::to_string(s.at("status.epoch").as_int()), text_at(s, "status.phase")});
  if (rows.size() > 1) std::printf("\n%s", table(rows).c_str());
}

void print_nodes_and_pods(const ApiClient& api) {
  auto nodes = api.get("/api/v1/nodes");
  auto pods = api.get("/api/v1/pods");
  if (!nodes || !pods) return;  // a configuration without them
  size_t ready = 0;
  std::string others;
  for (const auto& n : (*nodes)["items"].items()) {
    if (is_ready(n)) ++ready;
    else others += (others.empty() ? "; not ready: " : ", ") + text_at(n, "metadata.name");
  }
  std::vector<std::pair<std::string, size_t>> phases;
  for (const auto& p : (*pods)["items"].items()) {
    const std::string phase = text_at(p, "status.phase");
    auto at = std::find_if(phases.begin(), phases.end(), [&](const auto& x) { return x.first == phase; });
    if (at == phases.end()) at = phases.insert(at, {phase, 0});
    ++at->second;
  }
  std::printf("\nnodes: %zu of %zu ready%s\npods:  %zu", ready, (*nodes)["items"].size(), others.c_str(), (*pods)["items"].size());
  for (size_t i = 0; i < phases.size(); ++i) std::printf("%s%zu %s%s", i ? ", " : " (", phases[i].second, phases[i].first.c_str(), i + 1 == phases.size() ? ")" : "");
  std::puts("");
}

Result<int> status(const Arguments& a) {
  const std::string data = data_of(a);
  auto api = ApiClient::open(data);
  if (!api) return api.error();
  const pid_t daemon = daemon_of(data), supervisor = supervisor_of(data);
  if (daemon) std::printf("pintled: process %d%s\n", daemon, supervisor ? (", supervised by " + std::to_string(supervisor)).c_str() : "");
  std::printf("data:    %s\nserver:  %s\n", data.c_str(), api->url().c_str());
  std::fflush(stdout);
  auto version = api->get("/version");
  if (!version) {
    if (!daemon) return Error(PINTLE_UNAVAILABLE, "pintled does not run; start it: pintle up --data " + data);
    return Error(version.error().code, "the API does not answer: " + version.error().text + "; see " + data + "/log/pintled.log");
  }
  std::printf("version: %s\n", text_at(*version, "gitVersion").c_str());
  auto ready = api->raw("GET", "/readyz?verbose");
  const bool is = ready && ready->status == 200;
  std::printf("ready:   %s\n", is ? "yes" : "no");
  if (!is && ready) std::fputs(ready->body.c_str(), stdout);
  auto plugins = api->get("/apis/pintle.dev/v1/plugins");
  if (!plugins) return plugins.error();
  const bool well = print_plugins(*plugins);
  auto slots = api->get("/apis/pintle.dev/v1/slots");
  if (slots) print_slots(*slots);
  print_nodes_and_pods(*api);
  return is && well ? 0 : 1;
}

}  // namespace

Command status_command() {
  return {"status",
          "",
          "Shows whether the cluster runs, its plugins, slots, nodes and pods",
          {{"--data", "DIR", "which cluster (default: $PINTLE_DATA, /var/lib/pintle, as a user ~/.local/share/pintle)"}},
          "Exit code 0: it is ready and no plugin has failed.\n",
          status};
}

}  // namespace pintle::cli

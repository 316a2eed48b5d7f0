// `pintle config check|diff`.
#include <algorithm>
#include <cstdio>

#include "kernel/cli/api_client.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/place.h"
#include "kernel/cli/record.h"
#include "kernel/cli/terminal.h"
#include "kernel/plugin/config.h"

namespace pintle::cli {
namespace {

using json::Value;

Result<int> config_check(const Arguments& a) {
  auto config = kernel::load_config(a.operands()[0]);
  if (!config) return config.error();
  std::printf("%s: good (%zu plugins, %zu slots)\n", a.operands()[0].c_str(), config->plugins.size(), config->slots.size());
  return 0;
}

std::string shown(const Value& v) { return v.is_null() ? "-" : v.is_string() ? std::string(v.as_string()) : v.dump(); }

// Rows for the members of a spec that differ; nested objects are compared member by member.
void differences(const std::string& name, const std::string& path, const Value& file, const Value& now, std::vector<std::vector<std::string>>& rows) {
  if (file == now) return;
  if (file.is_object() && now.is_object()) {
    for (const auto& m : file.members()) differences(name, path.empty() ? m.key : path + "." + m.key, m.value, now[m.key], rows);
    for (const auto& m : now.members())
      if (!file.contains(m.key)) rows.push_back({name, path.empty() ? m.key : path + "." + m.key, "-", shown(m.value)});
    return;
  }
  rows.push_back({name, path, shown(file), shown(now)});
}

Result<int> config_diff(const Arguments& a) {
  const std::string file = a.value("--config", usual_config());
  if (file.empty()) return Error(PINTLE_NOT_FOUND, "there is no configuration file in the usual place; name it with --config");
  auto config = kernel::load_config(file);
  if (!config) return config.error();
  auto api = ApiClient::open(data_of(a));
  if (!api) return api.error();
  auto plugins = api->get("/apis/pintle.dev/v1/plugins");
  if (!plugins) return plugins.error();
  auto slots = api->get("/apis/pintle.dev/v1/slots");
  if (!slots) return slots.error();
  std::vector<std::vector<std::string>> rows = {{"OBJECT", "FIELD", "FILE", "CLUSTER"}};
  const auto object = [](const Value& list, const std::string& name) -> const Value* {
    for (const Value& v : list["items"].items())
      if (v.at("metadata.name").as_string() == name) return &v;
    return nullptr;
  };
  for (auto& entry : config->plugins) {
    fill_in_data(entry.spec, data_of(a));
    const Value* p = object(*plugins, entry.name);
    if (!p) {
      rows.push_back({"plugin/" + entry.name, "", "there", "-"});
      continue;
    }
    // What a file leaves out is the API's default.
    Value wanted = entry.spec.is_object() ? entry.spec : Value::object(), now = (*p)["spec"];
    if (!wanted.contains("enabled")) wanted.set("enabled", true);
    for (Value* v : {&wanted, &now})
      if (v->find("config") && v->find("config")->empty()) v->erase("config");
    differences("plugin/" + entry.name, "", wanted, now, rows);
  }
  for (const auto& p : (*plugins)["items"].items()) {
    const std::string name(p.at("metadata.name").as_string());
    const bool in_file = std::any_of(config->plugins.begin(), config->plugins.end(), [&](const auto& e) { return e.name == name; });
    if (!in_file && p.at("spec.enabled").as_bool(true)) rows.push_back({"plugin/" + name, "", "-", "there (from " + std::string(p.at("status.source").as_string()) + ")"});
  }
  for (const auto& [slot, holder] : config->slots) {
    const Value* s = object(*slots, slot);
    const std::string now(s ? s->at("spec.provider").as_string() : std::string_view());
    if (now != holder) rows.push_back({"slot/" + slot, "provider", holder, now.empty() ? "-" : now});
  }
  if (rows.size() == 1) {
    std::printf("the cluster is as %s says\n", file.c_str());
    return 0;
  }
  std::fputs(table(rows).c_str(), stdout);
  return 1;
}

}  // namespace

Command config_check_command() {
  return {"config check", "FILE", "Checks a configuration file", {}, "Each problem is one line with file, line and column. Plugins check their own part when they start.\n", config_check};
}

Command config_diff_command() {
  return {"config diff",
          "",
          "Shows where the running cluster is other than its configuration file says",
          {{"--config", "FILE", "the file (default: /etc/pintle/pintle.yaml, as a user ~/.config/pintle/pintle.yaml)"},
           {"--data", "DIR", "which cluster (default: $PINTLE_DATA, /var/lib/pintle, as a user ~/.local/share/pintle)"}},
          "Exit code 0: no difference; 1: there are some.\n",
          config_diff};
}

}  // namespace pintle::cli

// `pintle config check|diff`.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>

#include "kernel/base/closest.h"
#include "kernel/cli/api_client.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/place.h"
#include "kernel/cli/record.h"
#include "kernel/cli/terminal.h"
#include "kernel/plugin/config.h"
#include "kernel/plugin/config_schema.h"
#include "kernel/plugin/manifest.h"
#include "kernel/plugin/note.h"

namespace pintle::cli {
namespace {

using json::Value;

std::string line(const kernel::Config& config, const std::string& path, const std::string& text) {
  const std::string at = config.locate ? config.locate(path) : std::string();
  return (at.empty() ? std::string() : at + ": ") + path + ": " + text;
}

// What the server would say when it starts: plugins that are not there, configurations that their schemas refuse, slots that go to nobody who can
// hold them. Directories are the file's, or those beside this program.
std::vector<std::string> problems_with_plugins(const kernel::Config& config) {
  std::vector<std::string> out, names, directories = config.plugin_directories;
  if (directories.empty()) directories = plugin_directories();
  std::map<std::string, std::string> files;  // by the manifest's name
  std::map<std::string, std::shared_ptr<const kernel::Manifest>> manifests;  // by file
  const auto look = [&](const std::string& file) -> Result<void> {
    auto note = kernel::read_note(file);
    if (!note) return note.error();
    auto manifest = kernel::Manifest::parse(note->manifest);
    if (!manifest) return manifest.error();
    manifests[file] = *manifest;
    return {};
  };
  for (const auto& d : directories) {
    std::error_code code;
    for (const auto& entry : std::filesystem::directory_iterator(d, code))
      if (entry.path().extension() == ".so" && look(entry.path().string()) && files.emplace(manifests[entry.path().string()]->name, entry.path().string()).second)
        names.push_back(manifests[entry.path().string()]->name);
  }
  std::map<std::string, std::vector<std::string>> held;  // by the object's name
  for (const auto& entry : config.plugins) {
    if (!entry.spec["enabled"].as_bool(true)) continue;
    const std::string path = "plugins." + entry.name, wanted(entry.spec["plugin"].as_string(entry.name));
    std::string file(entry.spec["path"].as_string());
    if (!file.empty()) {
      if (const auto r = look(file); !r) {
        out.push_back(line(config, path, r.error().text));
        continue;
      }
    } else if (const auto at = files.find(wanted); at != files.end()) {
      file = at->second;
    } else {
      std::string searched;
      for (const auto& d : directories) searched += (searched.empty() ? "" : ", ") + d;
      out.push_back(line(config, path, "no file with a plugin called \"" + wanted + "\" in " + (searched.empty() ? "any directory" : searched) + kernel::did_you_mean(wanted, names)));
      continue;
    }
    const kernel::Manifest& m = *manifests[file];
    const auto checked = kernel::apply_schema(m.config_schema, entry.spec["config"], path + ".config", config.locate);
    if (checked) held[entry.name] = m.slots_for(*checked);
    else out.push_back(checked.error().text);
  }
  for (const auto& [slot, provider] : config.slots) {
    const auto at = held.find(provider);
    if (at == held.end()) {
      const bool there = std::any_of(config.plugins.begin(), config.plugins.end(), [&, who = provider](const auto& e) { return e.name == who; });
      if (!there) out.push_back(line(config, "slots." + slot, "plugin \"" + provider + "\" is not among the plugins of this file"));
      continue;
    }
    const auto can = [&, name = slot](const std::string& s) { return s == name || (s.ends_with(".*") && name.starts_with(s.substr(0, s.size() - 1))); };
    if (std::none_of(at->second.begin(), at->second.end(), can)) {
      std::string all;
      for (const auto& s : at->second) all += (all.empty() ? "" : ", ") + s;
      out.push_back(line(config, "slots." + slot, "plugin \"" + provider + "\" cannot hold this slot; it can hold " + (all.empty() ? "none" : all)));
    }
  }
  return out;
}

Result<int> config_check(const Arguments& a) {
  auto config = kernel::load_config(a.operands()[0]);
  if (!config) return config.error();
  if (const auto problems = problems_with_plugins(*config); !problems.empty()) {
    std::string text;
    for (const auto& p : problems) text += (text.empty() ? "" : "\n") + p;
    return Error(PINTLE_INVALID, text);
  }
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
  // The file that the running cluster was started with, before the usual one.
  const auto record = read_record(data_of(a));
  const std::string file = a.value("--config", record && !record->config.empty() ? record->config : usual_config());
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
  return {"config check", "FILE", "Checks a configuration file", {}, "Each problem is one line with file, line and column: unknown keys, plugins that are not there, configuration that a plugin's schema refuses, slots that\nnobody can hold.\n", config_check};
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

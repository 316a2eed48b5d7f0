// `pintle plugin new|inspect|list|upgrade`.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "kernel/cli/api_client.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/place.h"
#include "kernel/cli/process.h"
#include "kernel/cli/template.h"
#include "kernel/cli/terminal.h"
#include "kernel/plugin/note.h"

namespace pintle::cli {
namespace fs = std::filesystem;
namespace {

using json::Value;

constexpr int kUpgradeTenths = 600;  // of a second

std::string joined(const Value& list) {
  std::string out;
  for (const Value& v : list.items()) out += (out.empty() ? "" : ", ") + (v.is_string() ? std::string(v.as_string()) : v.dump());
  return out.empty() ? "-" : out;
}

Result<int> plugin_new(const Arguments& a) {
  const std::string name = a.operands()[0], kind = a.value("--provides");
  if (kind != "runtime" && kind != "scheduler" && kind != "controller")
    return Error(PINTLE_INVALID, kind.empty() ? "--provides is missing: runtime, scheduler or controller" : "--provides \"" + kind + "\" is not runtime, scheduler or controller");
  auto words = template_words(name, PINTLE_VERSION_TEXT);
  if (!words) return words.error();
  auto templates = find_templates();
  if (!templates) return templates.error();
  const std::string to = fs::path(a.value("--dir", name)).lexically_normal().string();
  auto made = instantiate_template(*templates + "/" + kind, to, *words);
  if (!made) return made.error();
  for (const auto& file : *made) std::printf("wrote %s\n", file.c_str());
  const fs::path prefix = fs::path(*templates).parent_path().parent_path().parent_path();
  const bool installed = templates->find("/share/pintle/template") != std::string::npos;
  const std::string sdk = fs::absolute(to).parent_path().string() + "/pintle-sdk";
  const std::string where = installed ? (prefix == "/usr" ? "" : " -DCMAKE_PREFIX_PATH=" + prefix.string()) : " -DCMAKE_PREFIX_PATH=" + sdk;
  const std::string build = to + "/build";
  if (!installed) std::printf("\nFirst, because this pintle is not installed:\n  cmake --install %s --component sdk --prefix %s\n", fs::path(own_directory()).parent_path().c_str(), sdk.c_str());
  std::printf("\nGo on with:\n"
              "  cmake -S %s -B %s%s && cmake --build %s && ctest --test-dir %s\n"
              "  sudo install -D -m 0755 -t /etc/pintle/plugins.d %s/%s.so\n"
              "  kubectl patch plugin %s --type=merge -p '{\"spec\":{\"enabled\":true}}'\n",
              to.c_str(), build.c_str(), where.c_str(), build.c_str(), build.c_str(), build.c_str(), name.c_str(), name.c_str());
  return 0;
}

Result<int> plugin_inspect(const Arguments& a) {
  std::string file = a.operands()[0];
  std::error_code code;
  // A name as `plugin list` shows it stands for the file that the server would take.
  if (file.find('/') == std::string::npos && !fs::exists(file, code))
    for (const auto& d : plugin_directories())
      if (fs::exists(d + "/" + file + ".so", code)) {
        file = d + "/" + file + ".so";
        break;
      }
  auto note = kernel::read_note(file);
  if (!note) return note.error();
  const auto parsed = json::parse(note->manifest);
  if (!parsed) return Error(PINTLE_BAD_REQUEST, a.operands()[0] + " has a damaged manifest: " + parsed.error);
  const Value& m = parsed.value;
  if (a.has("--json")) {
    std::fputs(m.dump(true).c_str(), stdout);
    return 0;
  }
  std::string kinds;
  for (const Value& k : m["kinds"].items()) {
    kinds += (kinds.empty() ? "" : ", ") + std::string(k["plural"].as_string());
    if (!k["group"].as_string().empty()) kinds += "." + std::string(k["group"].as_string());
  }
  std::vector<std::vector<std::string>> rows = {{std::string(m["name"].as_string()), std::string(m["version"].as_string())},
                                                {"", std::string(m["description"].as_string())},
                                                {"license", std::string(m["license"].as_string("-"))},
                                                {"built for", "ABI " + (m["abi"].is_string() ? std::string(m["abi"].as_string()) : m["abi"].dump())},
                                                {"provides", joined(m["provides"])},
                                                {"slots", joined(m["slots"])},
                                                {"requires", joined(m["requires"])},
                                                {"needs", joined(m["needs"])},
                                                {"starts after", joined(m["after"])},
                                                {"isolation", "default " + std::string(m.at("isolation.default").as_string("in-process")) + ", allowed " + joined(m.at("isolation.allowed"))},
                                                {"threads", std::string(m["threads"].as_string("host"))},
                                                {"unload", std::string(m["unload"].as_string("allowed"))},
                                                {"kinds", kinds.empty() ? "-" : kinds},
                                                {"sha256", note->digest}};
  std::fputs(table(rows).c_str(), stdout);
  if (!m.at("config.properties").empty()) {
    std::vector<std::vector<std::string>> keys = {{"CONFIG", "TYPE", "DEFAULT", "MEANING"}};
    for (const auto& p : m.at("config.properties").members())
      keys.push_back({p.key, std::string(p.value["type"].as_string("any")), p.value.contains("default") ? p.value["default"].dump() : "-", std::string(p.value["description"].as_string())});
    std::printf("\n%s", table(keys).c_str());
  }
  if (!m["permissions"].empty()) {
    std::vector<std::vector<std::string>> may = {{"MAY", "KINDS"}};
    for (const Value& p : m["permissions"].items()) {
      if (!p["verbs"].empty()) may.push_back({joined(p["verbs"]), joined(p["kinds"])});
      for (const auto& s : p["subresources"].members()) may.push_back({joined(s.value) + " (" + s.key + ")", joined(p["kinds"])});
    }
    std::printf("\n%s", table(may).c_str());
  }
  return 0;
}

// What lies in the directories, without a server.
Result<int> list_files(const std::vector<std::string>& directories) {
  std::vector<std::vector<std::string>> rows = {{"PLUGIN", "VERSION", "PROVIDES", "FILE"}};
  std::vector<std::string> bad;
  for (const auto& d : directories) {
    std::error_code code;
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(d, code))
      if (entry.path().extension() == ".so") files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    for (const auto& file : files) {
      auto note = kernel::read_note(file);
      if (!note) {
        bad.push_back(note.error().text);
        continue;
      }
      const Value m = json::parse_or_null(note->manifest);
      rows.push_back({std::string(m["name"].as_string()), std::string(m["version"].as_string()), joined(m["provides"]), file});
    }
  }
  std::fputs(table(rows).c_str(), stdout);
  for (const auto& text : bad) std::fprintf(stderr, "pintle: %s\n", text.c_str());
  return bad.empty() ? 0 : 1;
}

Result<int> plugin_list(const Arguments& a) {
  if (a.has("--plugins")) return list_files(a.values("--plugins"));
  auto api = ApiClient::open(data_of(a));
  auto plugins = api ? api->get("/apis/pintle.dev/v1/plugins") : Result<Value>(api.error());
  if (!plugins) {
    std::fprintf(stderr, "pintle: no running cluster (%s); these are the files here\n", plugins.error().text.c_str());
    return list_files(plugin_directories());
  }
  std::vector<std::vector<std::string>> rows = {{"PLUGIN", "VERSION", "STATE", "ISOLATION", "SOURCE", "SLOTS"}};
  for (const auto& p : (*plugins)["items"].items()) {
    const Value& s = p["status"];
    rows.push_back({std::string(p.at("metadata.name").as_string()), std::string(s["version"].as_string()), std::string(s["state"].as_string()), std::string(s["isolation"].as_string()),
                    std::string(s["source"].as_string()), joined(s["slots"])});
  }
  std::fputs(table(rows).c_str(), stdout);
  return 0;
}

// The new file's digest is the mark to restart for: asking twice restarts once.
Result<int> plugin_upgrade(const Arguments& a) {
  const std::string name = a.operands()[0], path = "/apis/pintle.dev/v1/plugins/" + name;
  auto api = ApiClient::open(data_of(a));
  if (!api) return api.error();
  auto before = api->get(path);
  if (!before) return before.error();
  const std::string wanted(before->at("status.updateAvailable").as_string());
  if (wanted.empty()) {
    std::printf("plugin \"%s\" runs the file that is there (%s)\n", name.c_str(), std::string(before->at("status.version").as_string()).c_str());
    return 0;
  }
  const Value patch = Value::object({{"metadata", Value::object({{"annotations", Value::object({{"pintle.dev/restart", wanted}})}})}});
  if (auto r = api->call("PATCH", path, patch.dump(), "application/merge-patch+json"); !r) return r.error();
  for (int i = 0; i < kUpgradeTenths; ++i) {
    auto now = api->get(path);
    if (!now) return now.error();
    const Value& s = (*now)["status"];
    if (s["digest"].as_string() == wanted && s["state"].as_string() == "Active") {
      std::printf("plugin \"%s\" upgraded from %s to %s\n", name.c_str(), std::string(before->at("status.version").as_string()).c_str(), std::string(s["version"].as_string()).c_str());
      return 0;
    }
    if (s["message"].as_string().rfind("update failed", 0) == 0)
      return Error(PINTLE_CONFLICT, "plugin \"" + name + "\" goes on as it was: " + std::string(s["message"].as_string()));
    pause_ms(100);
  }
  return Error(PINTLE_TIMEOUT, "plugin \"" + name + "\" has not come up with its new file; see kubectl get plugin " + name + " -o wide");
}

}  // namespace

Command plugin_new_command() {
  return {"plugin new",
          "NAME",
          "Writes a complete plugin with tests, to build outside Pintle's tree",
          {{"--provides", "KIND", "runtime, scheduler or controller"}, {"--dir", "DIR", "where to (default: NAME)"}},
          "It prints the three commands that lead from there to a running plugin.\n\n  pintle plugin new my-runtime --provides runtime\n",
          plugin_new};
}

Command plugin_inspect_command() {
  return {"plugin inspect",
          "FILE.so",
          "Shows the manifest of a plugin's file; nothing of the file is run",
          {{"--json", "", "the whole manifest, with its kinds and types"}},
          "",
          plugin_inspect};
}

Command plugin_upgrade_command() {
  return {"plugin upgrade",
          "NAME",
          "Lets a running plugin use the changed file in its place",
          {{"--data", "DIR", "which cluster (default: $PINTLE_DATA, /var/lib/pintle, as a user ~/.local/share/pintle)"}},
          "The new instance starts beside the old one; when it fails, the old one goes on.\n",
          plugin_upgrade};
}

Command plugin_list_command() {
  return {"plugin list",
          "",
          "Lists the plugins of the running cluster, else those that lie here",
          {{"--plugins", "DIR", "the files in this directory instead; may be repeated"},
           {"--data", "DIR", "which cluster (default: $PINTLE_DATA, /var/lib/pintle, as a user ~/.local/share/pintle)"}},
          "",
          plugin_list};
}

}  // namespace pintle::cli

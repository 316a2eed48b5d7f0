#include "kernel/pintled/options.h"

#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "kernel/base/closest.h"

namespace pintle::kernel {
namespace fs = std::filesystem;

const char* usage() {
  return "usage: pintled [options]\n"
         "  --config FILE         configuration (default: /etc/pintle/pintle.yaml, as a user ~/.config/pintle/pintle.yaml, when it is there)\n"
         "  --data DIR            where the state lies (default: /var/lib/pintle, as a user ~/.local/share/pintle)\n"
         "  --listen ADDRESS      127.0.0.1:6443, [::1]:0, unix:/path; may be repeated\n"
         "  --plugins DIR         a directory of plugin files, before the default ones; may be repeated\n"
         "  --without PLUGIN      leave this plugin out in this run; may be repeated\n"
         "  --tls-san NAME        a further name or address the server certificate is good for; may be repeated\n"
         "  --advertise ADDRESS   host:port told to clients\n"
         "  --log-level LEVEL     debug, info, warn, error\n"
         "  --print-ready-fd N    write \"ready URL\" to this descriptor when the API is served and the plugins run\n"
         "  --version, --help\n"
         "exit codes: 0 stopped, 1 failed, 2 bad usage or configuration, 3 the data directory is in use\n";
}

namespace {

// The build's plugins beside the binary, else those of the installation.
std::vector<std::string> shipped_directories() {
  std::vector<std::string> out;
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  if (n > 0) {
    const fs::path here = fs::path(std::string(path, static_cast<size_t>(n))).parent_path().parent_path();
    for (const char* below : {"lib/pintle/plugins", "lib64/pintle/plugins", "lib/x86_64-linux-gnu/pintle/plugins", "lib/aarch64-linux-gnu/pintle/plugins"})
      if (std::error_code code; fs::is_directory(here / below, code)) out.push_back((here / below).string());
  }
  return out;
}

std::string home_path(const char* variable, const char* otherwise) {
  if (const char* set = std::getenv(variable); set && *set) return std::string(set) + "/pintle";
  const char* home = std::getenv("HOME");
  return std::string(home ? home : "/tmp") + otherwise;
}

}  // namespace

namespace {

// "{data}" in a plugin's configuration stands for the data directory.
void fill_in(json::Value& v, const std::string& data) {
  if (v.is_string()) {
    std::string text(v.as_string());
    constexpr std::string_view kPlace = "{data}";
    for (size_t at = text.find(kPlace); at != std::string::npos; at = text.find(kPlace, at + data.size())) text.replace(at, kPlace.size(), data);
    if (text != v.as_string()) v = json::Value(text);
  } else if (v.is_array()) {
    for (auto& item : v.make_array()) fill_in(item, data);
  } else if (v.is_object()) {
    for (auto& member : v.make_object()) fill_in(member.value, data);
  }
}

}  // namespace

Result<Options> parse_options(int argc, char** argv) {
  Options o;
  std::string config_file, data, log_level, advertise;
  std::vector<std::string> listen, plugins, without, sans;
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i], value;
    bool has_value = false;
    if (const size_t equals = name.find('='); equals != std::string::npos && name.rfind("--", 0) == 0) {
      value = name.substr(equals + 1);
      name.resize(equals);
      has_value = true;
    }
    if (name == "--help" || name == "-h") {
      o.help = true;
      return o;
    }
    if (name == "--version") {
      o.version = true;
      return o;
    }
    static const std::vector<std::string> kKnown = {"--config", "--data", "--listen", "--plugins", "--without", "--tls-san", "--advertise", "--log-level", "--print-ready-fd"};
    if (std::find(kKnown.begin(), kKnown.end(), name) == kKnown.end())
      return Error(PINTLE_INVALID, "unknown option \"" + name + "\"" + did_you_mean(name, kKnown) + "; see pintled --help");
    if (!has_value) {
      if (i + 1 >= argc) return Error(PINTLE_INVALID, name + " needs a value");
      value = argv[++i];
    }
    if (name == "--config") config_file = value;
    else if (name == "--data") data = value;
    else if (name == "--listen") listen.push_back(value);
    else if (name == "--plugins") plugins.push_back(value);
    else if (name == "--without") without.push_back(value);
    else if (name == "--tls-san") sans.push_back(value);
    else if (name == "--advertise") advertise = value;
    else if (name == "--log-level") log_level = value;
    else {
      char* end = nullptr;
      o.ready_fd = static_cast<int>(std::strtol(value.c_str(), &end, 10));
      if (end == value.c_str() || *end || o.ready_fd < 0) return Error(PINTLE_INVALID, "--print-ready-fd needs a descriptor's number");
    }
  }
  const bool root = geteuid() == 0;
  if (config_file.empty()) {
    const std::string usual = root ? "/etc/pintle/pintle.yaml" : home_path("XDG_CONFIG_HOME", "/.config/pintle") + "/pintle.yaml";
    if (std::error_code code; fs::exists(usual, code)) config_file = usual;
  }
  if (!config_file.empty()) {
    auto config = load_config(config_file);
    if (!config) return Error(PINTLE_INVALID, config.error().text);
    o.config = std::move(*config);
  }
  Config& c = o.config;
  if (!data.empty()) c.data = data;
  if (c.data.empty()) c.data = root ? "/var/lib/pintle" : home_path("XDG_DATA_HOME", "/.local/share/pintle");
  c.data = fs::absolute(c.data).lexically_normal().string();
  for (PluginEntry& entry : c.plugins) fill_in(entry.spec, c.data);
  if (!listen.empty()) c.listen = listen;
  if (!advertise.empty()) c.advertise = advertise;
  if (!log_level.empty()) {
    if (log_level != "debug" && log_level != "info" && log_level != "warn" && log_level != "error")
      return Error(PINTLE_INVALID, "--log-level: \"" + log_level + "\" is not debug, info, warn or error");
    c.log_level = log_level;
  }
  c.tls_sans.insert(c.tls_sans.end(), sans.begin(), sans.end());
  c.without = without;
  c.shipped_directories = shipped_directories();
  if (c.plugin_directories.empty()) {
    c.plugin_directories = *c.shipped_directories;
    c.plugin_directories.emplace_back("/etc/pintle/plugins.d");
  }
  c.plugin_directories.insert(c.plugin_directories.begin(), plugins.begin(), plugins.end());
  return o;
}

}  // namespace pintle::kernel

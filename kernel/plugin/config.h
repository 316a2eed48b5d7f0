// The configuration file of pintled (config/README.md), strict: an unknown key is an error with file:line:column.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernel/plugin/config_schema.h"
#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::kernel {

struct PluginEntry {
  std::string name;        // of the Plugin object
  json::Value spec;        // PluginSpec as it stands in the file
};

struct Config {
  std::string file;                           // "" = none
  std::string data;                           // directory; "" = memory only
  std::vector<std::string> listen = {"127.0.0.1:6443"};
  std::vector<std::string> plugin_directories;
  // Those that came with this program: plugins found elsewhere run in a process of their own unless told otherwise. Not set: no
  // such difference is made.
  std::optional<std::vector<std::string>> shipped_directories;
  std::vector<std::string> tls_sans;
  std::string advertise, token_file;
  std::string log_level = "info", log_format = "text", log_file;
  uint64_t history_bytes = 32u << 20;
  std::vector<PluginEntry> plugins;            // in the file's order
  std::map<std::string, std::string> slots;    // first holder of a slot, when nobody has chosen yet
  std::vector<std::string> without;            // not started in this run, whatever the objects say
  Locate locate;                               // of paths in the file
};

// INVALID: all problems, one per line. NOT_FOUND, FORBIDDEN: the file cannot be read.
Result<Config> load_config(const std::string& file);
Result<Config> parse_config(const std::string& yaml, const std::string& file);

}  // namespace pintle::kernel

// What a plugin says about itself, read from the ELF note of its file before any of its code runs.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::kernel {

struct Permission {
  std::vector<std::string> kinds;  // "pods", "deployments.apps", "*"
  std::vector<std::string> verbs;  // on the main resource; "*" = all
  std::vector<std::pair<std::string, std::vector<std::string>>> subresources;
};

// Immutable after parse(). sdk/docs/manifest.md has the meaning of every member.
struct Manifest {
  std::string name, version, description, license;
  std::string abi, draft;
  std::vector<std::string> provides, slots, requirements, after, needs;
  bool multiple = false;
  bool may_run_in_process = true, may_run_in_own_process = true;
  bool default_own_process = false;
  bool own_threads = false;
  bool may_unload = true;
  json::Value config_schema;
  std::vector<Permission> permissions;
  json::Value document;  // the whole manifest, with `types` and `kinds`

  // INVALID names the member that is missing or of the wrong shape, or the ABI or draft this kernel does not speak.
  static Result<std::shared_ptr<const Manifest>> parse(std::string_view json);

  bool provides_interface(std::string_view id) const;
  // May the plugin do `verb` (get, list, watch, create, update, patch, delete) to `kind`?
  bool permits(std::string_view kind, std::string_view subresource, std::string_view verb) const;
  // The slots it can hold with this configuration: "{config.key}" is replaced; a list there makes one slot per item.
  std::vector<std::string> slots_for(const json::Value& config) const;
};

}  // namespace pintle::kernel

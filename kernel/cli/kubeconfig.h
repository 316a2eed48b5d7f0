// kubeconfig files as values: reading, merging an entry into one, writing.
#pragma once
#include <string>

#include "kernel/cli/tls.h"
#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::cli {

// One YAML document. Plain scalars become what they look like, quoted ones strings. INVALID names line and column.
Result<json::Value> parse_yaml(const std::string& text);
// Block style; reads back as the same value.
std::string write_yaml(const json::Value& value);

struct Access {
  std::string host, port;
  TlsIdentity identity;
};
// Of the current context, with certificates inside the file.
Result<Access> access_of(const json::Value& kubeconfig);

struct Merged {
  json::Value kubeconfig;
  std::string name;      // of context, cluster and user: "pintle", or "pintle-2" when "pintle" is somebody else's
  bool replaced = false; // an entry of ours was there already
  bool made_current = false;
};
// Puts the current context of `ours` into `theirs` (null: an empty file). An entry counts as ours when it has our CA; one that has not is
// left alone. The current context changes only when there was none.
Merged merge_kubeconfig(json::Value theirs, const json::Value& ours);

}  // namespace pintle::cli

// What `pintle preflight` looks at. Each check is a function that can be fed with what a machine says.
#pragma once
#include <string>
#include <vector>

#include "pintle/json.h"

namespace pintle::cli {

enum class Verdict { kGood, kWarning, kBlocking };

struct Finding {
  std::string subject;  // "docker"
  Verdict verdict = Verdict::kGood;
  std::string text;     // what was found
  std::string fix;      // "" = nothing to do
};

// All checks for a cluster with real containers that listens at `ports` (TCP).
std::vector<Finding> check_machine(const std::string& data, const std::vector<int>& ports);

// Inode of the socket that listens at the port in the text of /proc/net/tcp or tcp6, 0 = none.
unsigned long listening_inode(const std::string& proc_net_tcp, int port);
// Of `kubectl version --client -o json`; {0, 0} when it is not that.
std::pair<int, int> kubectl_version(const std::string& json_text);
// {"ok": bool, "checks": [...]}
json::Value findings_json(const std::vector<Finding>& findings);

}  // namespace pintle::cli

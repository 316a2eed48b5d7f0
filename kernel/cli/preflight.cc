// `pintle preflight`: is this machine fit for real containers?
#include <cstdio>

#include "kernel/cli/checks.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/place.h"

namespace pintle::cli {
namespace {

constexpr int kApiPort = 6443, kDnsPort = 10053;

Result<int> preflight(const Arguments& a) {
  const auto findings = check_machine(data_of(a), {kApiPort, kDnsPort});
  const json::Value all = findings_json(findings);
  const bool ok = all["ok"].as_bool();
  if (a.has("--json")) {
    std::fputs(all.dump(true).c_str(), stdout);
    return ok ? 0 : 1;
  }
  for (const Finding& f : findings) {
    const char* mark = f.verdict == Verdict::kGood ? "ok  " : f.verdict == Verdict::kWarning ? "warn" : "FAIL";
    std::printf("%s  %-12s  %s\n", mark, f.subject.c_str(), f.text.c_str());
    if (f.verdict != Verdict::kGood && !f.fix.empty()) std::printf("%20sfix: %s\n", "", f.fix.c_str());
  }
  return ok ? 0 : 1;
}

}  // namespace

Command preflight_command() {
  return {"preflight",
          "",
          "Checks whether this machine can run containers for Pintle",
          {{"--json", "", "for programs"}, {"--data", "DIR", "where the state would lie (default: /var/lib/pintle)"}},
          "Each problem comes with its fix. Exit code 1: one of them is in the way (FAIL). Nothing is changed.\n",
          preflight};
}

}  // namespace pintle::cli

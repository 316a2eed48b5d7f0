// `pintle explain`: why a pod is where it is, or nowhere.
#include <cstdio>

#include "kernel/cli/api_client.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/explanation.h"
#include "kernel/cli/place.h"

namespace pintle::cli {
namespace {

Result<int> explain(const Arguments& a) {
  std::string name = a.operands()[0];
  for (const char* prefix : {"pod/", "pods/", "po/"})
    if (name.rfind(prefix, 0) == 0) name.erase(0, std::string(prefix).size());
  if (name.empty() || name.find('/') != std::string::npos) return Error(PINTLE_INVALID, "\"" + a.operands()[0] + "\" is not a pod: pintle explain pod/NAME");
  auto api = ApiClient::open(data_of(a));
  if (!api) return api.error();
  const std::string where = "/api/v1/namespaces/" + percent_encode(a.value("--namespace", "default")) + "/pods/" + percent_encode(name);
  auto answer = api->get(where + "/explain");
  if (!answer) return answer.error();
  if (a.has("--json")) std::fputs(answer->dump(true).c_str(), stdout);
  else std::fputs(explanation_text(name, *answer).c_str(), stdout);
  return 0;
}

}  // namespace

Command explain_command() {
  return {"explain",
          "pod/NAME",
          "Says for each node why a pod can or cannot run there",
          {{"--namespace", "NAME", "the pod's namespace, also -n (default: default)"},
           {"--json", "", "the answer as it comes from the scheduler"},
           {"--data", "DIR", "which cluster (default: $PINTLE_DATA, /var/lib/pintle, as a user ~/.local/share/pintle)"}},
          "The scheduler that holds the pod's slot is asked anew; nothing changes.\n",
          explain};
}

}  // namespace pintle::cli

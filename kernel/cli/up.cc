// `pintle up`: pintled in the foreground, or behind a supervisor.
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "kernel/base/file.h"
#include "kernel/cli/api_client.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/drain.h"
#include "kernel/cli/place.h"
#include "kernel/cli/process.h"
#include "kernel/cli/record.h"
#include "kernel/cli/supervisor.h"
#include "kernel/store/ownership.h"

namespace pintle::cli {
namespace fs = std::filesystem;
namespace {

constexpr int kReadyMs = 60000, kNodesMs = 60000;

bool any_port(const std::string& address) { return address.size() > 2 && address.compare(address.size() - 2, 2, ":0") == 0; }

// With port 0 nobody says where the state lies, because many such clusters run side by side: each start has a directory of its own.
std::string directory_for_one_run(const std::string& config) {
  const std::string stem = config.empty() ? "pintle" : fs::path(config).stem().string();
  const std::string base = user_data() + "/" + stem + "-" + std::to_string(getpid());
  std::string path = base;
  std::error_code code;
  for (int n = 2; fs::exists(path, code); ++n) path = base + "-" + std::to_string(n);
  return path;
}

struct Plan {
  std::string data, url;
  std::vector<std::string> command;
  Record record;
  bool one_run = false;  // the directory was chosen for this run only
  bool keep_address = false;
};

Result<Plan> plan_of(const Arguments& a) {
  auto program = find_program("pintled");
  if (!program) return program.error();
  Plan plan;
  std::string config = a.value("--config", usual_config());
  if (!config.empty()) config = fs::absolute(config).lexically_normal().string();
  const std::vector<std::string> listen = a.values("--listen");
  const bool ephemeral = std::any_of(listen.begin(), listen.end(), any_port);
  const bool chosen = a.has("--data") || std::getenv("PINTLE_DATA") != nullptr;
  plan.one_run = ephemeral && !chosen;
  plan.data = plan.one_run ? directory_for_one_run(config) : data_of(a);
  plan.keep_address = listen.size() == 1 && ephemeral;
  auto record = record_of(config, a.values("--without"), plan.data);
  if (!record) return record.error();
  plan.record = std::move(*record);
  plan.command = {*program};
  const auto pass = [&](const std::string& name, const std::string& value) {
    plan.command.push_back(name);
    plan.command.push_back(value);
  };
  if (!config.empty()) pass("--config", config);
  pass("--data", plan.data);
  for (const auto& v : listen) pass("--listen", v);
  for (const auto& v : a.values("--plugins")) pass("--plugins", fs::absolute(v).string());
  for (const auto& v : a.values("--without")) pass("--without", v);
  for (const auto& v : a.values("--tls-san")) pass("--tls-san", v);
  plan.record.arguments.assign(plan.command.begin() + 1, plan.command.end());
  if (!kernel::may_be_data_directory(plan.data)) return Error(PINTLE_INVALID, plan.data + " is not empty and not Pintle's; name another directory with --data");
  return plan;
}

Result<void> prepare_data(const Plan& plan) {
  if (auto r = kernel::make_directory(plan.data); !r) return r;
  return write_record(plan.data, plan.record);
}

// Of a directory that was made for one run.
void remove_data(const std::string& data) {
  std::error_code code;
  if (kernel::is_data_directory(data)) fs::remove_all(data, code);
}

std::string shell_quoted(const std::string& text) {
  if (text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:@,") == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

void tell(const Plan& plan, const std::string& url, bool environment) {
  const std::string kubeconfig = plan.data + "/admin.kubeconfig";
  if (environment) {
    std::printf("export KUBECONFIG=%s; export PINTLE_DATA=%s\n", shell_quoted(kubeconfig).c_str(), shell_quoted(plan.data).c_str());
  } else {
    std::printf("ready: %s\n  export KUBECONFIG=%s\n", url.c_str(), shell_quoted(kubeconfig).c_str());
  }
  std::fflush(stdout);
}

// Until every node is Ready and there is one.
Result<void> wait_for_nodes(const std::string& data) {
  auto api = ApiClient::open(data);
  if (!api) return api.error();
  const int64_t deadline = monotonic_ms() + kNodesMs;
  std::string last = "there is no node";
  for (; monotonic_ms() < deadline; pause_ms(100)) {
    auto nodes = api->get("/api/v1/nodes");
    if (!nodes) {
      if (nodes.error().code == PINTLE_NOT_FOUND) return {};  // a configuration without the plugin that has nodes
      last = nodes.error().text;
      continue;
    }
    size_t ready = 0;
    for (const auto& node : (*nodes)["items"].items()) {
      bool is = false;
      std::string why;
      for (const auto& c : node.at("status.conditions").items()) {
        if (c["type"].as_string() != "Ready") continue;
        is = c["status"].as_string() == "True";
        why = c["message"].as_string();
      }
      ready += is;
      if (!is) last = "node " + std::string(node.at("metadata.name").as_string()) + " is not ready" + (why.empty() ? "" : " (" + why + ")");
    }
    if (ready > 0 && ready == (*nodes)["items"].size()) return {};
  }
  return Error(PINTLE_TIMEOUT, "the API is served, but after " + std::to_string(kNodesMs / 1000) + " s " + last + "; see " + data + "/log/pintled.log");
}

volatile sig_atomic_t g_asked_to_stop = 0;  // NOLINT: a signal handler can reach nothing else

Result<int> foreground(const Plan& plan) {
  struct sigaction action {};
  action.sa_handler = [](int) { g_asked_to_stop = 1; };
  for (const int s : {SIGINT, SIGTERM, SIGHUP}) sigaction(s, &action, nullptr);
  const Child child = start_child(plan.command, -1, true);
  if (child.pid < 0) return Error(PINTLE_INTERNAL, "cannot start " + plan.command[0]);
  std::string line;
  bool told = false, passed_on = false;
  int ready = child.ready, status = 0;
  while (waitpid(child.pid, &status, WNOHANG) != child.pid) {
    if (g_asked_to_stop && !passed_on) {
      kill(child.pid, SIGTERM);
      passed_on = true;
    }
    pollfd wait{ready, POLLIN, 0};
    if (poll(&wait, 1, 100) <= 0) continue;
    char buffer[512];
    const ssize_t n = read(ready, buffer, sizeof buffer);
    if (n > 0) line.append(buffer, static_cast<size_t>(n));
    if (n <= 0) {
      close(ready);
      ready = -1;
    }
    if (!told && line.rfind("ready ", 0) == 0 && line.find('\n') != std::string::npos) {
      if (auto r = open_drained_nodes(plan.data); !r) std::fprintf(stderr, "pintle: %s\n", r.error().text.c_str());
      tell(plan, line.substr(6, line.find('\n') - 6), false);
      told = true;
    }
  }
  if (ready >= 0) close(ready);
  if (plan.one_run) remove_data(plan.data);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Result<int> up(const Arguments& a) {
  const bool detach = a.has("--detach") || a.has("--print-env");
  if (a.has("--wait") && !detach) return Error(PINTLE_INVALID, "--wait goes with --detach; without it pintled stays in the foreground");
  auto plan = plan_of(a);
  if (!plan) return plan.error();
  if (const pid_t running = daemon_of(plan->data)) {
    auto before = read_record(plan->data);
    if (detach && supervisor_of(plan->data) && before && before->arguments == plan->record.arguments) {
      if (a.has("--wait") && plan->record.has_nodes)
        if (auto r = wait_for_nodes(plan->data); !r) return r.error();
      std::fprintf(stderr, "pintle: it runs already (process %d)\n", running);
      auto api = ApiClient::open(plan->data);
      tell(*plan, api ? api->url() : "", a.has("--print-env"));
      return 0;
    }
    std::fprintf(stderr, "pintle: pintled runs already on %s (process %d); stop it first: pintle down --data %s\n", plan->data.c_str(), running, plan->data.c_str());
    return kInUse;
  }
  if (auto r = prepare_data(*plan); !r) return r.error();
  if (!detach) return foreground(*plan);
  auto url = start_supervised({plan->data, plan->command, plan->keep_address}, kReadyMs);
  if (!url) {
    if (plan->one_run && url.error().code == PINTLE_UNAVAILABLE) remove_data(plan->data);
    return url.error();
  }
  if (auto r = open_drained_nodes(plan->data); !r) return r.error();
  if (a.has("--wait") && plan->record.has_nodes)
    if (auto r = wait_for_nodes(plan->data); !r) return r.error();
  tell(*plan, *url, a.has("--print-env"));
  return 0;
}

}  // namespace

Command up_command() {
  return {"up",
          "",
          "Starts a cluster",
          {{"--config", "FILE", "configuration (default: /etc/pintle/pintle.yaml, as a user ~/.config/pintle/pintle.yaml)"},
           {"--data", "DIR", "where its state lies (default: /var/lib/pintle, as a user ~/.local/share/pintle)"},
           {"--listen", "ADDRESS", "127.0.0.1:6443; port 0 takes any free one; may be repeated"},
           {"--plugins", "DIR", "a directory of plugins, before the usual ones; may be repeated"},
           {"--without", "PLUGIN", "leave this plugin out in this run; may be repeated"},
           {"--tls-san", "NAME", "a further name or address of the server; may be repeated"},
           {"--detach", "", "come back when it is ready; it goes on in the background and is restarted when it crashes"},
           {"--wait", "", "with --detach: come back when the nodes of the configuration are ready, too"},
           {"--print-env", "", "with or instead of --detach: print what a shell has to evaluate to use it"}},
          "Without --detach it stays in the foreground until Ctrl-C. Containers go on running when it stops: pintle down --help.\n"
          "With port 0 and no --data each run has a directory of its own; in the foreground it is removed at the end.\n\n"
          "  sudo pintle up --detach --wait\n"
          "  eval \"$(pintle up --config config/sim.yaml --listen 127.0.0.1:0 --print-env)\"; kubectl get nodes; pintle down --purge\n",
          up};
}

}  // namespace pintle::cli

// pintled: the kernel as a process.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <future>
#include <thread>

#include "kernel/api/certs/renewal.h"
#include "kernel/api/metrics.h"
#include "kernel/api/rest.h"
#include "kernel/base/file.h"
#include "kernel/base/log.h"
#include "kernel/pintled/notify.h"
#include "kernel/pintled/options.h"
#include "kernel/plugin/control_plane.h"
#include "kernel/run/thread_executor.h"
#include "kernel/store/ownership.h"

using namespace pintle;          // NOLINT: the program's own main file
using namespace pintle::kernel;  // NOLINT

namespace {

constexpr int kFailed = 1, kUsage = 2, kInUse = 3;
constexpr uint64_t kFrontGraceNs = 5ull * 1000000000;

int fail(int code, const std::string& text) {
  log::error("pintled", text);
  log::flush();
  return code;
}

void ignore_sigpipe() {
  struct sigaction action {};
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

// Many watches are many descriptors.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

// The address a client on this machine uses: a wildcard becomes the loopback.
std::string client_url(const std::string& address) {
  std::string host = address;
  if (host.rfind("0.0.0.0:", 0) == 0) host = "127.0.0.1" + host.substr(7);
  if (host.rfind("[::]:", 0) == 0) host = "[::1]" + host.substr(4);
  return "https://" + host;
}

std::string port_of(const std::vector<std::string>& addresses) {
  for (const auto& a : addresses)
    if (a.rfind("unix:", 0) != 0) return a;
  return {};
}

int run(const Options& options, sigset_t& signals) {
  const Config& config = options.config;
  if (!may_be_data_directory(config.data)) return fail(kFailed, config.data + " is not empty and not Pintle's; name another directory with --data");
  if (auto r = make_directory(config.data); !r) return fail(kFailed, r.error().text);
  auto lock = LockFile::take(config.data + "/pintled.lock");
  if (!lock) return fail(lock.error().code == PINTLE_CONFLICT ? kInUse : kFailed, lock.error().text);

  ThreadExecutor executor;
  const std::string certs_dir = config.data + "/pki";
  CertificateOptions cert_options;
  cert_options.extra_sans = config.tls_sans;
  auto certs = ensure_certificates(certs_dir, cert_options, executor.wall());
  if (!certs) return fail(kFailed, certs.error().text);
  for (const auto& w : certs->warnings) log::warn("certs", w);

  auto plane = ControlPlane::open(executor, config);
  if (!plane) return fail(plane.error().code == PINTLE_CONFLICT ? kInUse : kFailed, plane.error().text);
  ControlPlane& cp = **plane;

  FrontOptions front_options;
  front_options.listen = config.listen;
  front_options.tls = {certs->server_file, certs->server_key_file, certs->ca_file};
  auto front = make_front(executor, front_options, [&cp](HttpRequest&& request, std::shared_ptr<Responder> responder) {
    cp.handle(std::move(request), std::move(responder));
  });
  cp.rest().add_metrics([raw = front.get()](std::string& out) { render_gauges("front", raw->metrics(), out); });
  if (auto r = front->start(); !r) return fail(kFailed, r.error().text);
  std::string url;
  for (const auto& address : front->addresses()) log::info("pintled", "listens on " + address);
  KubeconfigOptions kube;
  if (const std::string address = port_of(front->addresses()); !address.empty()) {
    kube.server = url = client_url(address);
    if (auto r = write_kubeconfig(config.data + "/admin.kubeconfig", certs_dir, kube); !r) return fail(kFailed, r.error().text);
  }
  if (url.empty() && !front->addresses().empty()) url = front->addresses().front();  // sockets only: there is no URL, and no kubeconfig that could hold one
  CertificateRenewal renewal(executor, certs_dir, cert_options, [&config, certs_dir, kube](const Result<Certificates>& r) {
    if (!r) return log::error("certs", r.error().text);
    for (const auto& name : r->renewed) log::info("certs", "renewed " + name);
    if (kube.server.empty()) return;
    // The kubeconfig holds a copy of the client's certificate.
    if (auto written = write_kubeconfig(config.data + "/admin.kubeconfig", certs_dir, kube); !written) log::error("certs", written.error().text);
  });

  // A signal ends the waiting below; the plugins' start goes on beside it.
  auto settled = std::make_shared<std::atomic<int>>(0);  // 1 up, 2 failed
  auto why = std::make_shared<std::string>();
  const pid_t self = getpid();
  cp.start([settled, why, self](Result<void> r) {
    if (!r) *why = r.error().text;
    *settled = r ? 1 : 2;
    kill(self, SIGUSR1);
  });
  int code = 0;
  for (;;) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal == SIGUSR1) {
      if (*settled == 2) {
        code = fail(kFailed, *why);
        break;
      }
      log::info("pintled", "ready: " + url);
      notify_service_manager("READY=1");
      if (options.ready_fd >= 0) {
        const std::string line = "ready " + url + "\n";
        (void)!write(options.ready_fd, line.data(), line.size());
        close(options.ready_fd);
      }
      continue;
    }
    if (signal == SIGHUP) continue;
    log::info("pintled", "stopping");
    break;
  }
  notify_service_manager("STOPPING=1");
  front->stop(kFrontGraceNs);
  std::promise<void> stopped;
  cp.stop([&stopped] { stopped.set_value(); });
  stopped.get_future().wait();
  log::flush();
  // Everything durable is durable. Tasks that are still queued refer to the plane: the process ends with them instead of under them.
  _exit(code);
}

}  // namespace

int main(int argc, char** argv) {
  auto options = parse_options(argc, argv);
  if (!options) {
    std::fprintf(stderr, "pintled: %s\n", options.error().text.c_str());
    return kUsage;
  }
  if (options->help) {
    std::fputs(usage(), stdout);
    return 0;
  }
  if (options->version) {
    std::puts("pintled " PINTLE_VERSION_TEXT " (Kubernetes API v1.35)");
    return 0;
  }
  // Before the first thread: all of them inherit it, and only sigwait() sees these.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&signals, s);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ignore_sigpipe();
  raise_descriptor_limit();
  const Config& c = options->config;
  if (!log::open({log::parse_level(c.log_level), c.log_format == "json", c.log_file})) {
    std::fprintf(stderr, "pintled: cannot write the log file %s\n", c.log_file.c_str());
    return kFailed;
  }
  return run(*options, signals);
}

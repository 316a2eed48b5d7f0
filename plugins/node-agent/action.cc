#include "action.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace pintle::node_agent {

using json::Value;
using Outcome = ActionResult::Outcome;

namespace {

constexpr size_t kMaxText = 1024;

std::string cut(std::string s) {
  while (!s.empty() && (s.back() == '\n' || s.back() == '\r')) s.pop_back();
  if (s.size() > kMaxText) s.resize(kMaxText);
  return s;
}

void exec(const Strand& strand, const Value& command, const ActionTarget& target, uint64_t timeout_ns, std::function<void(ActionResult)> done) {
  const uint64_t seconds = std::max<uint64_t>(1, timeout_ns / 1'000'000'000);
  target.runtime->call(
      PINTLE_METHOD(pintle_runtime, exec),
      Value::object({{"node", target.node}, {"id", target.container_id}, {"command", command}, {"tty", false}, {"timeoutSeconds", seconds}}),
      strand.wrap([done = std::move(done), seconds](Result<Value> r) {
        if (!r && r.error().code == PINTLE_TIMEOUT) return done({Outcome::kFailure, "command timed out after " + std::to_string(seconds) + "s"});
        if (!r) return done({Outcome::kError, r.error().text});
        const std::string text = cut(std::string((*r)["stdout"].as_string()) + std::string((*r)["stderr"].as_string()));
        if ((*r)["exitCode"].as_int() == 0) return done({Outcome::kSuccess, text});
        done({Outcome::kFailure, text.empty() ? "command ended with code " + std::to_string((*r)["exitCode"].as_int()) : text});
      }),
      timeout_ns + 5'000'000'000);
}

std::string address_of(const std::string& ip, int64_t port) {
  return "tcp:" + (ip.find(':') == std::string::npos ? ip : "[" + ip + "]") + ":" + std::to_string(port);
}

void http_get(Context& context, const Strand& strand, const Value& get, const ActionTarget& target, uint64_t timeout_ns, std::function<void(ActionResult)> done) {
  const int64_t port = port_number(get["port"], target.ports);
  const std::string host = get["host"].as_string().empty() ? target.pod_ip : std::string(get["host"].as_string());
  HttpRequest rq;
  rq.address = address_of(host, port);
  rq.path = request_path(get["path"].as_string());
  rq.headers = {{"User-Agent", "kube-probe/1.35"}, {"Accept", "*/*"}};
  for (const auto& h : get["httpHeaders"].items()) rq.headers.emplace_back(h["name"].as_string(), h["value"].as_string());
  rq.head_timeout_ns = rq.total_timeout_ns = timeout_ns;
  rq.max_body = 10u << 10;
  auto status = std::make_shared<int>(0);
  HttpHandlers h;
  auto once = std::make_shared<std::function<void(ActionResult)>>(strand.wrap(std::move(done)));
  h.head = [status](const HttpResponse& r) { *status = r.status; };
  h.data = [](std::string_view) { return true; };
  h.ended = [status, once](Result<void> r) {
    if (*status >= 200 && *status < 400) return (*once)(ActionResult{Outcome::kSuccess, ""});
    if (*status) return (*once)(ActionResult{Outcome::kFailure, "HTTP probe failed with statuscode: " + std::to_string(*status)});
    (*once)(ActionResult{Outcome::kFailure, r ? "no answer" : r.error().text});
  };
  context.http.stream(std::move(rq), std::move(h));
}

// A connection that is closed as soon as it stands.
struct TcpTry {
  FdWatch watch;
  Timer timer;
  int fd = -1;
  std::function<void(ActionResult)> done;
  Pending* pending = nullptr;
  uint64_t id = 0;
  void end(ActionResult r) {
    pending->remove(id);
    watch.reset();
    timer.reset();
    if (fd >= 0) ::close(std::exchange(fd, -1));
    if (auto fn = std::exchange(done, nullptr)) fn(std::move(r));
  }
  ~TcpTry() {
    watch.reset();
    if (fd >= 0) ::close(fd);
  }
};

void tcp_connect(Context& context, const Strand& strand, const Value& socket, const ActionTarget& target, uint64_t timeout_ns, std::function<void(ActionResult)> done) {
  const std::string host = socket["host"].as_string().empty() ? target.pod_ip : std::string(socket["host"].as_string());
  const std::string address = address_of(host, port_number(socket["port"], target.ports));
  const Result<int> fd = context.host.connect(address);
  if (!fd) {
    strand.post([done, text = fd.error().text] { done({Outcome::kFailure, text}); });
    return;
  }
  auto t = std::make_shared<TcpTry>();
  t->fd = *fd;
  t->done = std::move(done);
  t->pending = &context.pending;
  t->id = context.pending.add([t] {
    t->done = nullptr;
    t->end({});
  });
  const auto writable = strand.wrap([t, address](uint32_t) {
    if (t->fd < 0) return;
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error) t->end({Outcome::kFailure, "dial " + address + ": " + std::strerror(error)});
    else t->end({Outcome::kSuccess, ""});
  });
  t->watch = context.host.watch_fd(t->fd, writable);
  t->timer = context.host.after(timeout_ns, strand.wrap([t, address] { t->end({Outcome::kFailure, "dial " + address + ": timed out"}); }));
  t->watch.arm(PINTLE_WRITABLE);
}

}  // namespace

int64_t port_number(const Value& port, const Value& container_ports) {
  if (port.is_int()) return port.as_int();
  for (const auto& p : container_ports.items())
    if (p["name"] == port) return p["containerPort"].as_int();
  int64_t n = 0;
  for (char c : port.as_string()) {
    if (c < '0' || c > '9') return 0;
    n = n * 10 + (c - '0');
    if (n > 65535) return 0;
  }
  return n;
}

std::string request_path(std::string_view path) {
  static constexpr std::string_view kPlain = "-._~!$&'()*+,;=:@/[]";
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  const auto hex = [&](size_t i) { return i < path.size() && ((path[i] >= '0' && path[i] <= '9') || ((path[i] | 32) >= 'a' && (path[i] | 32) <= 'f')); };
  bool url = true;
  for (size_t i = 0; i < path.size(); ++i)
    if (static_cast<unsigned char>(path[i]) < ' ' || path[i] == 0x7f || (path[i] == '%' && !(hex(i + 1) && hex(i + 2)))) url = false;
  if (url) path = path.substr(0, path.find('#'));
  std::string out;
  bool query = false;
  for (const char c : path) {
    query |= url && c == '?';
    const bool printable = c > ' ' && c < 0x7f;
    if (alnum(c) || kPlain.find(c) != kPlain.npos || (url && c == '%') || (query && printable)) {
      out += c;
      continue;
    }
    char escaped[4];
    std::snprintf(escaped, sizeof escaped, "%%%02X", static_cast<unsigned char>(c));
    out += escaped;
  }
  if (!out.starts_with('/')) out.insert(0, 1, '/');
  return out;
}

void run_action(Context& context, const Strand& strand, const Value& handler, const ActionTarget& target, uint64_t timeout_ns,
                std::function<void(ActionResult)> done) {
  if (const Value* e = handler.find("exec")) return exec(strand, (*e)["command"], target, timeout_ns, std::move(done));
  if (const Value* s = handler.find("sleep")) {
    auto timer = std::make_shared<Timer>();
    const uint64_t id = context.pending.add([timer] { timer->reset(); });
    *timer = context.host.after(static_cast<uint64_t>((*s)["seconds"].as_int()) * 1'000'000'000, strand.wrap([&context, id, timer, done = std::move(done)] {
      timer->reset();
      context.pending.remove(id);
      done({Outcome::kSuccess, ""});
    }));
    return;
  }
  const bool http = handler.contains("httpGet");
  if (!http && !handler.contains("tcpSocket")) return strand.post([done = std::move(done)] { done({Outcome::kError, "no known handler"}); });
  const Value& what = handler[http ? "httpGet" : "tcpSocket"];
  // A runtime without a network of its own stands in for it.
  if (!target.runtime->has_network())
    return exec(strand, Value::array({"pintle-probe", http ? "http" : "tcp", what["port"].is_int() ? what["port"].dump() : what["port"].as_string()}), target, timeout_ns, std::move(done));
  if (port_number(what["port"], target.ports) == 0)
    return strand.post([done = std::move(done), name = std::string(what["port"].as_string())] { done({Outcome::kError, "couldn't find port: " + name}); });
  if (http) http_get(context, strand, what, target, timeout_ns, std::move(done));
  else tcp_connect(context, strand, what, target, timeout_ns, std::move(done));
}

}  // namespace pintle::node_agent

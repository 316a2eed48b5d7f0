// Paths that plugins answer (pintle.http/1): authorized like the kernel's own; the longest prefix decides.
//
// Which paths a plugin wants is asked once in a while, not for each request. Credentials of the client stay in the kernel: a plugin
// is told who asks, not with what.
#include <algorithm>

#include "kernel/api/async.h"
#include "kernel/api/front/target.h"
#include "kernel/api/rest_state.h"
#include "kernel/api/status.h"
#include "pintle/if/http.h"

namespace pintle::kernel {
namespace {

constexpr uint64_t kRoutesFor = 10ull * 1000000000;
constexpr uint64_t kRoutesTimeout = 1000000000;
constexpr uint32_t kDescribeRoutes = 0, kHandle = 1;

// "/shop/" is every path below and "/shop" itself; "/shop" the same and nothing like "/shopping".
bool below(const std::string& path, std::string_view prefix) {
  if (prefix.size() < 2 || prefix[0] != '/') return false;
  if (prefix.back() == '/') prefix.remove_suffix(1);
  return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

// What the kernel answers or may answer one day is not for plugins.
bool kernels_own(std::string_view prefix) {
  for (const char* root : {"/api", "/apis", "/openapi", "/healthz", "/livez", "/readyz", "/metrics", "/version"}) {
    if (below(std::string(prefix), root)) return true;
  }
  return false;
}

bool kept_from_plugins(const std::string& header) {
  return header == "authorization" || header == "cookie" || header.starts_with("proxy-") || header.starts_with("sec-websocket-");
}

// Headers that belong to the connection or to the kernel.
bool kept_from_clients(std::string header) {
  std::transform(header.begin(), header.end(), header.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* name : {"connection", "content-length", "transfer-encoding", "keep-alive", "upgrade", "trailer", "te", "date", "audit-id"}) {
    if (header == name) return true;
  }
  return header.empty() || header.starts_with("proxy-");
}

json::Value question(const Exchange& ex) {
  const HttpRequest& r = ex.request;
  json::Value ask = json::Value::object();
  ask.set("method", r.method);
  ask.set("path", r.path);
  json::Value& query = ask.set("query", json::Value::object());
  for (const auto& [name, value] : r.query) {
    if (!query.contains(name)) query.set(name, json::Value::array());
    query.find(name)->push(value);
  }
  json::Value& headers = ask.set("headers", json::Value::object());
  for (const auto& [name, value] : r.headers) {
    if (!kept_from_plugins(name) && is_utf8(value)) headers.set(name, value);
  }
  json::Value& user = ask.set("user", json::Value::object());
  user.set("username", ex.identity.user);
  user.set("uid", ex.identity.uid);
  json::Value& groups = user.set("groups", json::Value::array());
  for (const std::string& g : ex.identity.groups) groups.push(g);
  ask.set("body", r.body);
  return ask;
}

void give(const ExchangeRef& ex, const std::string& plugin, const json::Value& answer) {
  const int64_t code = answer["code"].is_null() ? 200 : answer["code"].as_int();
  if (!answer.is_object() || code < 200 || code > 599) {
    return ex->fail(internal("plugin \"" + plugin + "\" gave no HTTP answer for path \"" + ex->request.path + "\""));
  }
  std::string type = "text/plain; charset=utf-8";
  Headers more;
  for (const json::Member& m : answer["headers"].members()) {
    std::string name(m.key);
    if (name == "Content-Type" || name == "content-type") type = m.value.as_string();
    else if (!kept_from_clients(name)) more.emplace_back(std::move(name), m.value.as_string());
  }
  ex->send(static_cast<int>(code), type, std::string(answer["body"].as_string()), std::move(more));
}

}  // namespace

Async<json::Value> RestServer::State::routes_of(std::string plugin) {
  {
    const std::lock_guard lock(routes_mutex);
    const auto at = routes.find(plugin);
    if (at != routes.end() && at->second.until > executor.now()) co_return at->second.list;
  }
  const uint64_t deadline = executor.now() + kRoutesTimeout;
  Result<std::string> reply = co_await Wait<Result<std::string>>([this, &plugin, deadline](std::function<void(Result<std::string>)> done) {
    hooks.call(plugin, PINTLE_HTTP, kDescribeRoutes, "{}", deadline, std::move(done));
  });
  const std::lock_guard lock(routes_mutex);
  Routes& r = routes[plugin];
  if (reply) r.list = json::parse_or_null(*reply)["routes"];  // else the last known ones go on
  r.until = executor.now() + (reply ? kRoutesFor : kRoutesTimeout);
  co_return r.list;
}

static Async<bool> run_route(std::shared_ptr<RestServer::State> server, ExchangeRef ex) {
  std::string chosen;
  size_t longest = 0;
  bool offered = true;
  for (const std::string& plugin : server->hooks.providers(PINTLE_HTTP)) {
    const json::Value routes = co_await server->routes_of(plugin);
    for (const json::Value& route : routes.items()) {
      const std::string_view prefix = route["prefix"].as_string();
      if (prefix.size() <= longest || kernels_own(prefix) || !below(ex->request.path, prefix)) continue;
      longest = prefix.size();
      chosen = plugin;
      const json::Value& methods = route["methods"];
      offered = !methods.is_array() || std::any_of(methods.items().begin(), methods.items().end(),
                                                    [&](const json::Value& m) { return m.as_string() == ex->request.method; });
    }
  }
  if (chosen.empty()) {
    ex->fail(unknown_path());
    co_return false;
  }
  if (!offered) {
    ex->fail(Error(PINTLE_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource"));
    co_return false;
  }
  if (!is_utf8(ex->request.body)) {
    ex->fail(Error(PINTLE_UNSUPPORTED_MEDIA, "path \"" + ex->request.path + "\" takes bodies in UTF-8 only"));
    co_return false;
  }
  ex->limit(server->options.request_timeout_ns);
  std::string text = question(*ex).dump();
  const uint64_t deadline = server->executor.now() + server->options.request_timeout_ns;
  Result<std::string> reply = co_await Wait<Result<std::string>>([&server, &chosen, &text, deadline](std::function<void(Result<std::string>)> done) {
    server->hooks.call(chosen, PINTLE_HTTP, kHandle, std::move(text), deadline, std::move(done));
  });
  if (reply) {
    give(ex, chosen, json::parse_or_null(*reply));
  } else {
    ex->fail(reply.error());
  }
  co_return reply.ok();
}

void RestServer::State::route(const ExchangeRef& ex) {
  spawn<bool>(run_route(shared_from_this(), ex), [self = shared_from_this()](bool) {});
}

}  // namespace pintle::kernel

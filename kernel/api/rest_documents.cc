// Paths that are not resources: discovery, OpenAPI, version, health, metrics.
#include <algorithm>

#include "kernel/api/negotiate.h"
#include "kernel/api/rest_state.h"
#include "kernel/api/status.h"

namespace pintle::kernel {
namespace {

constexpr const char* kText = "text/plain; charset=utf-8";
// kubectl asks by the old name, which is not a media type ("@"), and is answered with the new one.
constexpr const char* kOpenApiProtobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
constexpr const char* kOpenApiProtobufOld = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

bool matches_etag(std::string_view header, const std::string& etag) {
  return header == "*" || header.find("\"" + etag + "\"") != std::string_view::npos;
}

// "api/v1" or "apis/<group>/<version>" -> group and version.
bool split_group_version(const std::string& path, std::string* group, std::string* version) {
  if (path.starts_with("api/")) {
    *version = path.substr(4);
    return version->find('/') == std::string::npos;
  }
  if (!path.starts_with("apis/")) return false;
  const size_t slash = path.find('/', 5);
  if (slash == std::string::npos) return false;
  *group = path.substr(5, slash - 5);
  *version = path.substr(slash + 1);
  return version->find('/') == std::string::npos;
}

json::Value version_document(const std::string& product) {
  json::Value v = json::Value::object();
  v.set("major", "1");
  v.set("minor", "35");
  v.set("emulationMajor", "1");
  v.set("emulationMinor", "35");
  v.set("minCompatibilityMajor", "1");
  v.set("minCompatibilityMinor", "34");
  v.set("gitVersion", "v1.35.0+pintle." + product);
  v.set("gitCommit", "");
  v.set("gitTreeState", "clean");
  v.set("buildDate", "1970-01-01T00:00:00Z");
  v.set("goVersion", "none");
  v.set("compiler", "gcc");
#if defined(__aarch64__)
  v.set("platform", "linux/arm64");
#else
  v.set("platform", "linux/amd64");
#endif
  return v;
}

}  // namespace

bool RestServer::State::open_path(const ExchangeRef& ex) {
  const std::string& path = ex->request.path;
  const bool read = ex->request.method == "GET" || ex->request.method == "HEAD";
  if (path == "/version" || path == "/version/") {
    if (!read) return false;
    ex->send(200, "application/json", version_document(options.version).dump(true));
    return true;
  }
  for (const char* which : {"livez", "readyz", "healthz"}) {
    const std::string base = std::string("/") + which;
    if (path != base && !path.starts_with(base + "/")) continue;
    if (!read) return false;
    health(ex, which, path.size() > base.size() + 1 ? path.substr(base.size() + 1) : "");
    return true;
  }
  return false;
}

void RestServer::State::health(const ExchangeRef& ex, const std::string& which, const std::string& only) {
  std::vector<std::string> excluded;
  for (const auto& [name, value] : ex->request.query) {
    if (name == "exclude") excluded.push_back(value);
  }
  std::string report;
  bool good = true, known = only.empty();
  for (const Check& check : checks) {
    if (which == "livez" && !check.live) continue;
    if (!only.empty() && check.name != only) continue;
    known = true;
    const auto skip = std::find(excluded.begin(), excluded.end(), check.name);
    if (skip != excluded.end()) {
      excluded.erase(skip);
      report += "[+]" + check.name + " excluded: ok\n";
      continue;
    }
    const Result<void> r = check.run();
    good = good && r.ok();
    report += r.ok() ? "[+]" + check.name + " ok\n" : "[-]" + check.name + " failed: reason withheld\n";
  }
  if (!known) return ex->fail(unknown_path());
  if (!excluded.empty()) {
    std::string names;
    for (const std::string& e : excluded) names += (names.empty() ? "\"" : ", \"") + e + "\"";
    report += "warn: some health checks cannot be excluded: no matches for " + names + "\n";
  }
  const Headers more = {{"X-Content-Type-Options", "nosniff"}};
  if (!good) return ex->send(500, kText, report + which + " check failed\n", more);
  if (ex->request.has_param("verbose")) return ex->send(200, kText, report + which + " check passed\n", more);
  ex->send(200, kText, "ok", more);
}

void RestServer::State::send_document(const ExchangeRef& ex, const Document& doc, const std::string& content_type, Headers more) {
  more.emplace_back("ETag", "\"" + doc.etag + "\"");
  more.emplace_back("Vary", "Accept");
  if (matches_etag(ex->request.header("if-none-match"), doc.etag)) return ex->send(304, "", "", std::move(more));
  if (ex->request.header("accept-encoding").find("gzip") != std::string_view::npos) {
    more.emplace_back("Content-Encoding", "gzip");
    return ex->send(200, content_type, *doc.gzip, std::move(more));
  }
  ex->send(200, content_type, gunzip(*doc.gzip), std::move(more));
}

bool RestServer::State::document(const ExchangeRef& ex) {
  std::string path = ex->request.path;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const bool read = ex->request.method == "GET" || ex->request.method == "HEAD";
  if (!read) return false;
  const auto snap = pipeline.registry().snapshot();
  const std::string_view accept = ex->request.header("accept");

  if (path == "/metrics") {
    std::string text;
    metrics->render(text);
    render_gauges("store", pipeline.store().metrics(), text);
    render_gauges("bus", bus.metrics(), text);
    render_gauges("api", json::Value::object({{"documentBytes", static_cast<int64_t>(documents.bytes())}}), text);
    render_process(text);
    for (const auto& provider : providers) provider(text);
    ex->send(200, "text/plain; version=0.0.4; charset=utf-8", std::move(text));
    return true;
  }
  if (path == "/") {
    json::Value paths = json::Value::array();
    for (const char* p : {"/api", "/api/v1", "/apis"}) paths.push(p);
    const json::Value groups = discovery_groups(*snap);
    for (const json::Value& g : groups["groups"].items()) {
      const std::string name(g["name"].as_string());
      paths.push("/apis/" + name);
      for (const json::Value& v : g["versions"].items()) paths.push("/apis/" + std::string(v["groupVersion"].as_string()));
    }
    for (const char* p : {"/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"}) paths.push(p);
    json::Value out = json::Value::object();
    out.set("paths", std::move(paths));
    ex->send(200, "application/json", out.dump(true));
    return true;
  }
  if (path == "/api" || path == "/apis") {
    const bool core = path == "/api";
    if (!aggregated_discovery_version(accept).empty()) {
      const Document doc = documents.get(snap->generation, "aggregated" + path, [&] { return discovery_aggregated(*snap, core).dump(); });
      send_document(ex, doc, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", {{"Cache-Control", "public"}});
      return true;
    }
    json::Value out;
    if (core) {
      out = json::Value::object();
      out.set("kind", "APIVersions");
      out.set("versions", json::Value::array()).push("v1");
      json::Value& address = out.set("serverAddressByClientCIDRs", json::Value::array()).push(json::Value::object());
      address.set("clientCIDR", "0.0.0.0/0");
      address.set("serverAddress", options.advertise);
    } else {
      out = discovery_groups(*snap);
    }
    ex->send(200, "application/json", out.dump(), {{"Vary", "Accept"}});
    return true;
  }
  if (path == "/openapi/v3") {
    const Document doc = documents.get(snap->generation, "openapi", [&] {
      return openapi_v3_index(*snap, [&](const std::string& at) {
               std::string group, version;
               if (!split_group_version(at, &group, &version)) return std::string();
               return documents.get(snap->generation, "openapi/" + at, [&] { return openapi_v3_text(*snap, group, version); }).etag;
             }).dump();
    });
    send_document(ex, doc, "application/json", {});
    return true;
  }
  if (path == "/openapi/v2") {
    const std::string_view type = wanted_media_type(accept, {"application/json", kOpenApiProtobuf, kOpenApiProtobufOld});
    if (type.empty()) {
      ex->fail(Error(PINTLE_NOT_ACCEPTABLE, std::string("OpenAPI v2 is served as application/json and ") + kOpenApiProtobuf));
      return true;
    }
    const bool text = type == "application/json";
    const Document doc = documents.get(snap->generation, text ? "openapi/v2" : "openapi/v2 protobuf", [&] { return text ? openapi_v2_text(*snap) : openapi_v2_protobuf(*snap); });
    send_document(ex, doc, text ? "application/json" : kOpenApiProtobuf, {});
    return true;
  }
  if (path.starts_with("/openapi/v3/")) {
    const std::string at = path.substr(12);
    std::string group, version;
    if (!split_group_version(at, &group, &version)) return false;
    if (discovery_resources(*snap, group, version).is_null()) return false;
    const Document doc = documents.get(snap->generation, "openapi/" + at, [&] { return openapi_v3_text(*snap, group, version); });
    const std::string_view hash = ex->request.param("hash");
    Headers more;
    if (!hash.empty() && hash != doc.etag) {
      ex->send(301, "", "", {{"Location", path + "?hash=" + doc.etag}});
      return true;
    }
    if (!hash.empty()) more = {{"Cache-Control", "public, immutable"}, {"Expires", "Thu, 31 Dec 2099 23:59:59 GMT"}};
    send_document(ex, doc, "application/json", std::move(more));
    return true;
  }
  if (path.starts_with("/apis/") || path.starts_with("/api/")) {
    const std::string rest = path.substr(1);
    std::string group, version;
    if (split_group_version(rest, &group, &version)) {
      const json::Value resources = discovery_resources(*snap, group, version);
      if (resources.is_null()) return false;
      ex->send(200, "application/json", resources.dump(), {{"Vary", "Accept"}});
      return true;
    }
    const json::Value groups = discovery_groups(*snap);
    for (const json::Value& g : groups["groups"].items()) {
      if ("apis/" + std::string(g["name"].as_string()) != rest) continue;
      json::Value out = g;
      json::Value full = json::Value::object();
      full.set("kind", "APIGroup");
      full.set("apiVersion", "v1");
      for (const json::Member& m : out.members()) full.set(m.key, m.value);
      ex->send(200, "application/json", full.dump(), {{"Vary", "Accept"}});
      return true;
    }
  }
  return false;
}

}  // namespace pintle::kernel

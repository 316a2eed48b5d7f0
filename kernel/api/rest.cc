#include "kernel/api/rest.h"

#include <algorithm>

#include "kernel/api/rest_state.h"
#include "kernel/api/schema/duration.h"
#include "kernel/api/status.h"

namespace pintle::kernel {
namespace {

std::vector<std::string> segments(const std::string& path) {
  std::vector<std::string> out;
  size_t at = 1;
  while (at <= path.size()) {
    const size_t end = path.find('/', at);
    std::string part = path.substr(at, end == std::string::npos ? end : end - at);
    if (!part.empty()) out.push_back(std::move(part));
    if (end == std::string::npos) break;
    at = end + 1;
  }
  return out;
}

bool flag(const HttpRequest& r, std::string_view name) {
  const std::string_view v = r.param(name);
  return r.has_param(name) && !v.empty() && v != "false" && v != "0";
}

// /api/v1/... and /apis/<group>/<version>/...; false: the path is not about resources.
bool parse_resource(const HttpRequest& request, const RegistrySnapshot& snap, ApiRequest& api) {
  std::vector<std::string> p = segments(request.path);
  size_t at = 0;
  if (p.size() >= 3 && p[0] == "api") {
    api.version = p[1];
    at = 2;
  } else if (p.size() >= 4 && p[0] == "apis") {
    api.group = p[1];
    api.version = p[2];
    at = 3;
  } else {
    return false;
  }
  bool watch = flag(request, "watch");
  if (p[at] == "watch" && at + 1 < p.size()) {  // the old form, /api/v1/watch/...
    watch = true;
    ++at;
  }
  if (p[at] == "namespaces" && at + 2 < p.size()) {
    const auto scope = snap.find(api.group, api.version, "namespaces");
    api.ns = p[at + 1];
    const bool own = at + 3 == p.size() && scope && scope->subresource(p[at + 2]);
    if (!own) at += 2;
  }
  api.resource = p[at++];
  if (at < p.size()) api.name = p[at++];
  if (at < p.size()) api.subresource = p[at++];
  for (; at < p.size(); ++at) api.path_rest += (api.path_rest.empty() ? "" : "/") + p[at];
  if (api.resource == "namespaces" && !api.name.empty() && api.ns == api.name) api.ns.clear();
  const std::string& m = request.method;
  if (m == "GET" || m == "HEAD") {
    api.verb = watch && api.subresource.empty() ? Verb::kWatch : api.name.empty() ? Verb::kList : Verb::kGet;
  } else if (m == "POST") {
    api.verb = Verb::kCreate;
  } else if (m == "PUT") {
    api.verb = Verb::kUpdate;
  } else if (m == "PATCH") {
    api.verb = Verb::kPatch;
  } else if (m == "DELETE") {
    api.verb = api.name.empty() ? Verb::kDeleteCollection : Verb::kDelete;
  }
  return true;
}

const char* wanted_verb(Verb verb) { return verb == Verb::kList || verb == Verb::kWatch ? "get" : verb_name(verb); }

bool offers(const std::vector<std::string>& verbs, const std::string& verb) {
  if (verbs.empty()) return true;
  for (const std::string& v : verbs) {
    if (v == verb) return true;
  }
  return false;
}

}  // namespace

RestServer::State::State(Pipeline& p, Bus& b, Executor& e, HookCaller& h, RestOptions o)
    : pipeline(p), bus(b), executor(e), hooks(h), options(std::move(o)), authenticator(e, h, options.token_file), documents(e) {}

RestServer::RestServer(Pipeline& pipeline, Bus& bus, Executor& executor, HookCaller& hooks, RestOptions options)
    : state_(std::make_shared<State>(pipeline, bus, executor, hooks, std::move(options))) {
  state_->checks.push_back({"ping", true, [] { return Result<void>(); }});
  state_->checks.push_back({"store", true, [&pipeline] {
                              if (!pipeline.store().read_only()) return Result<void>();
                              return Result<void>(Error(PINTLE_UNAVAILABLE, "the store is read-only after a failed write"));
                            }});
}
RestServer::~RestServer() = default;

void RestServer::add_check(const std::string& name, bool live, std::function<Result<void>()> check) {
  state_->checks.push_back({name, live, std::move(check)});
}
void RestServer::add_metrics(std::function<void(std::string&)> provider) { state_->providers.push_back(std::move(provider)); }

void RestServer::handle(HttpRequest&& request, std::shared_ptr<Responder> responder) {
  auto ex = std::make_shared<Exchange>(state_->executor, state_->metrics, std::move(request), std::move(responder));
  state_->handle(ex);
}

void RestServer::State::handle(const ExchangeRef& ex) {
  const HttpRequest& r = ex->request;
  for (const std::string& part : segments(r.path)) {
    if (part == "." || part == "..") return ex->fail(bad_request("the path must not hold \"" + part + "\""));
  }
  if (r.body.size() > options.max_body_bytes) {
    return ex->fail(Error(PINTLE_TOO_LARGE, "Request entity too large: limit is " + std::to_string(options.max_body_bytes)));
  }
  if (r.method == "OPTIONS") {
    return ex->send(200, "", "", {{"Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}});
  }
  if (open_path(ex)) return;
  for (const auto& [name, value] : r.headers) {
    if (name.starts_with("impersonate-")) {
      return ex->fail(Error(PINTLE_FORBIDDEN, "impersonation is not available in this server: leave out the header " + name +
                                                  " (kubectl: --as, --as-group, --as-uid)"));
    }
  }
  authenticator.identify(r, [self = shared_from_this(), ex](Result<Identity> who) {
    if (!who) return ex->fail(who.error());
    ex->identity = std::move(*who);
    self->authenticated(ex);
  });
}

void RestServer::State::authenticated(const ExchangeRef& ex) {
  const auto snap = pipeline.registry().snapshot();
  ApiRequest api;
  const bool resource = parse_resource(ex->request, *snap, api);
  api.identity = ex->identity;
  if (!resource) {
    api = ApiRequest();
    api.identity = ex->identity;
    api.path_rest = ex->request.path;
    if (ex->request.method == "GET" || ex->request.method == "HEAD") api.verb = Verb::kGet;
    else if (ex->request.method == "POST") api.verb = Verb::kCreate;
    else if (ex->request.method == "PUT") api.verb = Verb::kUpdate;
    else if (ex->request.method == "PATCH") api.verb = Verb::kPatch;
    else api.verb = Verb::kDelete;
    pipeline.authorize(api, [self = shared_from_this(), ex](Result<void> may) {
      if (!may) return ex->fail(may.error());
      if (!self->document(ex)) self->route(ex);
    });
    return;
  }
  Result<Representation> rep = negotiate(ex->request);
  if (!rep) return ex->fail(rep.error());
  ex->rep = std::move(*rep);
  api.query = ex->request.query;
  api.content_type = ex->request.header("content-type");
  api.body = std::move(ex->request.body);
  ex->api = std::move(api);
  object_request(ex);
}

void RestServer::State::object_request(const ExchangeRef& ex) {
  const Result<Face> face = face_of(pipeline.registry(), ex->api);
  if (!face) {
    ex->api.resource.clear();  // metrics know only resources that exist
    return ex->fail(face.error());
  }
  const Kind& kind = *face->kind;
  ApiRequest& api = ex->api;
  if (!kind.namespaced && !api.ns.empty()) return ex->fail(unknown_path());
  if (kind.namespaced && api.ns.empty() && !api.name.empty()) return ex->fail(unknown_path());
  const Subresource* sub = api.subresource.empty() ? nullptr : kind.subresource(api.subresource);
  if (!api.subresource.empty() && !sub) return ex->fail(unknown_path());
  if (!sub && !api.path_rest.empty()) return ex->fail(unknown_path());
  const std::string verb = api.verb == Verb::kList || api.verb == Verb::kWatch ? verb_name(api.verb) : wanted_verb(api.verb);
  const bool misplaced = (api.verb == Verb::kCreate && !sub && (!api.name.empty() || (kind.namespaced && api.ns.empty()))) ||
                         (api.verb == Verb::kDeleteCollection && kind.namespaced && api.ns.empty()) ||
                         ((api.verb == Verb::kUpdate || api.verb == Verb::kPatch) && api.name.empty());
  if (misplaced) {
    return ex->fail(Error(PINTLE_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource"));
  }
  if (!offers(sub ? sub->verbs : kind.verbs, verb)) return ex->fail(method_not_allowed(kind, verb));
  if (sub && sub->mode == Subresource::Mode::kConnect) return connect(ex, face->kind, *sub);
  if (api.verb == Verb::kWatch) return watch(ex);
  uint64_t timeout = options.request_timeout_ns;
  const std::string_view wish = ex->request.param("timeout");
  if (!wish.empty()) {
    const auto ns = parse_duration(wish);
    if (!ns || *ns < 0) return ex->fail(bad_request("invalid timeout specified in the request URL: \"" + std::string(wish) + "\""));
    if (*ns > 0) timeout = std::min(timeout, static_cast<uint64_t>(*ns));
  }
  ex->limit(timeout);
  if (api.verb == Verb::kList) return list(ex);
  pipeline.execute(api, [self = shared_from_this(), ex](ApiAnswer a) { self->answer(ex, std::move(a)); });
}

// One object (or a Status, a Scale, a collection that was deleted) in the form that was asked for.
void RestServer::State::answer(const ExchangeRef& ex, ApiAnswer a) {
  ex->warnings.insert(ex->warnings.end(), a.warnings.begin(), a.warnings.end());
  if (!a.ok()) return ex->fail(a.error);
  const bool plain_object = ex->api.subresource.empty() || ex->api.subresource == "status";
  std::string text = a.object ? std::string(a.object->json()) : a.document.dump();
  const bool status = !a.object && a.document["kind"].as_string() == "Status";
  const bool collection = ex->api.verb == Verb::kDeleteCollection;
  if (ex->rep.shape == Representation::Shape::kObject || status || collection || !plain_object) {
    return ex->send_json(a.code, std::move(text));
  }
  if (ex->rep.shape == Representation::Shape::kPartial) {
    return ex->send_json(a.code, partial_metadata(text, ex->rep.meta_version));
  }
  Result<Face> face = face_of(pipeline.registry(), ex->api);
  if (!face) return ex->fail(face.error());
  auto work = [](State* self, ExchangeRef e, Face f, ObjectRef object, std::string body, int code) -> Async<bool> {
    const TableMaker maker(self->hooks, self->executor, f, e->rep);
    std::vector<Shown> one(1);
    one[0].object = object;
    if (!object || !f.as_stored) one[0].converted = std::move(body);
    Result<std::vector<std::string>> rows = co_await maker.rows(one);
    if (!rows) {
      e->fail(rows.error());
      co_return false;
    }
    const std::string revision = object ? std::to_string(object->revision()) : "";
    e->send_json(code, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/" + e->rep.meta_version +
                           "\",\"metadata\":{\"resourceVersion\":\"" + revision + "\"},\"columnDefinitions\":" + maker.columns() +
                           ",\"rows\":[" + (*rows)[0] + "]}");
    co_return true;
  };
  spawn<bool>(work(this, ex, std::move(*face), a.object, std::move(text), a.code), [self = shared_from_this()](bool) {});
}

}  // namespace pintle::kernel

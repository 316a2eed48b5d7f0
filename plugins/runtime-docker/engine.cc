#include "engine.h"

#include "messages.h"

namespace pintle::runtime_docker {
namespace {
constexpr char kVersion[] = "/v1.41";  // Docker 20.10 and later
}

HttpRequest Engine::request(std::string method, std::string path) const {
  HttpRequest rq;
  rq.address = address_;
  rq.method = std::move(method);
  rq.path = kVersion + std::move(path);
  return rq;
}

Error Engine::unavailable(const Error& cause) const {
  if (cause.code != PINTLE_UNAVAILABLE && cause.code != PINTLE_NOT_FOUND && cause.code != PINTLE_FORBIDDEN) return cause;
  return Error(PINTLE_UNAVAILABLE, "the Docker Engine does not answer at " + socket_ + " (" + cause.text + "): start it with \"systemctl start docker\" or set the plugin's `socket`");
}

HttpExchange Engine::call(std::string method, std::string path, const json::Value* body, Done done, uint64_t timeout_ns, HttpHeaders headers) {
  HttpRequest rq = request(std::move(method), std::move(path));
  rq.headers = std::move(headers);
  rq.head_timeout_ns = timeout_ns;
  if (body) {
    rq.body = body->dump();
    rq.headers.emplace_back("Content-Type", "application/json");
  }
  return http_.request(std::move(rq), [this, done = std::move(done)](Result<HttpResponse> r) {
    if (!r) return done(unavailable(r.error()));
    if ((r->status >= 200 && r->status < 300) || r->status == 304) return done(r->body.empty() ? json::Value() : json::parse_or_null(r->body));
    done(engine_error(r->status, r->body));
  });
}

HttpExchange Engine::upload(std::string path, std::string content_type, std::string bytes, Done done) {
  HttpRequest rq = request("POST", std::move(path));
  rq.headers.emplace_back("Content-Type", std::move(content_type));
  rq.body = std::move(bytes);
  return http_.request(std::move(rq), [this, done = std::move(done)](Result<HttpResponse> r) {
    if (!r) return done(unavailable(r.error()));
    if (r->status >= 200 && r->status < 300) return done(json::Value());
    done(engine_error(r->status, r->body));
  });
}

HttpExchange Engine::hijack(std::string path, const json::Value& body, std::function<void(Result<void>, int, std::string)> done) {
  HttpRequest rq = request("POST", std::move(path));
  rq.headers.emplace_back("Content-Type", "application/json");
  rq.body = body.dump();
  rq.hijack = true;
  auto status = std::make_shared<HttpResponse>();
  auto collected = std::make_shared<std::string>();
  auto shared = std::make_shared<decltype(done)>(std::move(done));
  HttpHandlers h;
  h.head = [status](const HttpResponse& r) { *status = r; };
  h.data = [collected](std::string_view b) {
    collected->append(b.substr(0, 4096));
    return true;
  };
  h.ended = [this, status, collected, shared](Result<void> r) {
    if (!r) return (*shared)(unavailable(r.error()), -1, {});
    (*shared)(engine_error(status->status, *collected), -1, {});
  };
  h.upgraded = [shared](HttpResponse, int fd, std::string rest) { (*shared)(Result<void>(), fd, std::move(rest)); };
  return http_.stream(std::move(rq), std::move(h));
}

HttpExchange Engine::stream(HttpRequest rq, HttpHandlers handlers) {
  rq.address = address_;
  rq.path = kVersion + rq.path;
  return http_.stream(std::move(rq), std::move(handlers));
}

}  // namespace pintle::runtime_docker

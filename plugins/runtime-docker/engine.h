// The Engine API on its Unix socket: one JSON request, one answer.
//
// Threads: any; callbacks on host threads.
#pragma once
#include <functional>
#include <string>

#include "pintle/http_client.h"
#include "pintle/json.h"

namespace pintle::runtime_docker {

class Engine {
 public:
  Engine(const Host& host, std::string socket) : host_(host), address_("unix:" + socket), socket_(std::move(socket)), http_(host) {}

  using Done = std::function<void(Result<json::Value>)>;
  // status 2xx: the body as JSON (null when there is none); 304 counts as success. Otherwise the engine's error. UNAVAILABLE says how to
  // start the engine. `timeout_ns`: for the answer's first byte; 0 = none.
  HttpExchange call(std::string method, std::string path, const json::Value* body, Done done, uint64_t timeout_ns = 120ull * 1000000000, HttpHeaders headers = {});
  HttpExchange get(std::string path, Done done) { return call("GET", std::move(path), nullptr, std::move(done)); }
  HttpExchange post(std::string path, const json::Value& body, Done done) { return call("POST", std::move(path), &body, std::move(done)); }
  // Raw body (a tar).
  HttpExchange upload(std::string path, std::string content_type, std::string bytes, Done done);

  // The connection becomes a byte pipe.
  HttpExchange hijack(std::string path, const json::Value& body, std::function<void(Result<void>, int fd, std::string rest)> done);
  HttpExchange stream(HttpRequest request, HttpHandlers handlers);
  Error unavailable(const Error& cause) const;
  void close() { http_.close(); }

 private:
  HttpRequest request(std::string method, std::string path) const;
  Host host_;
  const std::string address_, socket_;
  HttpClient http_;
};

}  // namespace pintle::runtime_docker

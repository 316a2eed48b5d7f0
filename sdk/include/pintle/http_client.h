// An HTTP/1.1 client for plugins, on pintle.net: TCP and Unix sockets, never blocking, no thread of its own.
//
// One exchange = one connection ("Connection: close"). No redirects are followed, no names are resolved, no TLS: it is made for
// engines on Unix sockets and for probes of pods by address. A method, path or header with a control character, or a space where
// none may be, ends with INVALID and nothing is sent.
//
//   pintle::HttpClient http(host);
//   http.request({.address = "unix:/run/docker.sock", .path = "/version"}, [](Result<HttpResponse> r) { ... });
//
// Threads: all functions from any thread. Callbacks of one exchange run one at a time, in order, on host threads; they may call
// anything here. After close() (or the destructor) returned no callback runs any more, except the one that called it.
// A request made after close() is dropped without a callback.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pintle/host.h"

namespace pintle {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string address;         // "unix:/run/docker.sock", "tcp:10.0.0.2:80", "tcp:[::1]:80"
  std::string method = "GET";
  std::string path = "/";      // with the query, already percent-encoded
  HttpHeaders headers = {};    // Host, Connection, Content-Length, Transfer-Encoding are added unless given
  std::string body = {};
  // Instead of `body`: asked for the next piece whenever the last one has been written; nullopt ends it (chunked coding).
  std::function<std::optional<std::string>()> next_piece = {};
  // Expect the connection itself as the answer: "Upgrade: tcp" is sent unless an Upgrade header is given, and status 101, or 200 of an
  // engine that does not announce the switch, hands it to `upgraded`.
  bool hijack = false;
  uint64_t head_timeout_ns = 30'000'000'000;  // connect, send, and wait for the headers; 0 = none
  uint64_t total_timeout_ns = 0;              // everything; 0 = none
  size_t max_body = 16u << 20;                // request() only: a longer body ends with TOO_LARGE
};

struct HttpResponse {
  int status = 0;
  HttpHeaders headers;
  std::string body;  // request() only
  // Value of the first header of that name (case does not matter), "" when absent.
  std::string_view header(std::string_view name) const;
};

// What a streaming exchange tells. Exactly one of `ended` and `upgraded` comes, last.
struct HttpHandlers {
  std::function<void(const HttpResponse&)> head = {};    // status and headers
  std::function<bool(std::string_view)> data = {};       // decoded body bytes (taken); false = no more until resume()
  std::function<void(Result<void>)> ended = {};          // ok: the body is complete. UNAVAILABLE, TIMEOUT, BAD_REQUEST (not HTTP)
  // hijack only. The receiver owns the (non-blocking) descriptor; `rest` are bytes that had been read beyond the headers.
  std::function<void(HttpResponse, int fd, std::string rest)> upgraded = {};
};

class HttpExchange;

class HttpClient {
 public:
  explicit HttpClient(const Host& host);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;

  // Collects the body. `done` runs exactly once unless the exchange is cancelled or the client closed.
  HttpExchange request(HttpRequest request, std::function<void(Result<HttpResponse>)> done);
  HttpExchange stream(HttpRequest request, HttpHandlers handlers);
  // Ends every exchange without further callbacks. Call it in the plugin's stop().
  void close();

  struct Shared;

 private:
  std::shared_ptr<Shared> shared_;
};

// A handle; dropping it changes nothing.
class HttpExchange {
 public:
  HttpExchange() = default;
  // No callback begins after this returned (one that runs on another thread has ended, except when called from it).
  void cancel();
  void resume();  // after `data` answered false

  struct State;

 private:
  friend class HttpClient;
  std::weak_ptr<State> state_;
};

}  // namespace pintle

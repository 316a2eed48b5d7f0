// The front end's face: requests that are complete, answers that never block a worker (design §5).
//
// The epoll loop reads (TLS handshake included) until a header block and a body within the budget are complete; then a
// handler runs on the executor. It answers now or later through the Responder. HTTP/1.1 only.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel/run/executor.h"
#include "pintle/result.h"

namespace pintle::kernel {

class Loop;

struct ClientCertificate {  // verified against the cluster's CA
  std::string common_name;
  std::vector<std::string> organizations;
};

struct HttpRequest {
  std::string method;  // "GET"
  std::string target;  // raw, as sent
  std::string path;    // percent-decoded once; never holds "//", "/../", "%2f", NUL (those got 400)
  std::vector<std::pair<std::string, std::string>> query;      // decoded, in order
  std::vector<std::pair<std::string, std::string>> headers;    // names in lower case
  std::string body;                                             // content-encoding gzip is undone within the budget
  std::unique_ptr<ClientCertificate> certificate;               // null: none
  std::string remote;                                           // "127.0.0.1:53412"
  std::string_view header(std::string_view lower_case_name) const;  // "" when absent
  std::string_view param(std::string_view name) const;              // first one; "" when absent
  bool has_param(std::string_view name) const;
};

using Headers = std::vector<std::pair<std::string, std::string>>;
using Chunk = std::shared_ptr<const std::string>;  // shared by many connections, never copied

// Threads: any; calls of one responder must not overlap. Dropping it unanswered answers 500.
class Responder {
 public:
  virtual ~Responder() = default;
  // A whole answer. Content-Length is set here. Parts are written one after the other without copying.
  virtual void send(int code, Headers headers, std::vector<Chunk> body) = 0;
  void send(int code, Headers headers, std::string body) {
    send(code, std::move(headers), std::vector<Chunk>{std::make_shared<const std::string>(std::move(body))});
  }

  // A streamed answer (chunked). After start(), write() queues a chunk and returns the bytes now queued for this connection; the
  // caller keeps its own budget. on_drained runs once when the queue fell to `low_water` or below (soon, when it is there already; a
  // second call replaces the first); on_closed when the peer went away or write failed (at most once, also after finish(); soon, when
  // that has happened already). Both run as tasks of the executor and are dropped when the answer is complete.
  virtual void start(int code, Headers headers) = 0;
  virtual size_t write(Chunk chunk) = 0;
  virtual void finish() = 0;
  virtual void abort() = 0;  // closes the connection at once
  virtual size_t queued() const = 0;
  virtual void on_drained(size_t low_water, std::function<void()> fn) = 0;
  virtual void on_closed(std::function<void()> fn) = 0;

  // 101 Switching Protocols; afterwards the connection is a byte pipe: incoming bytes go to `on_data` (one at a time, in
  // order; those that followed the request's header are delivered first; on the connection's I/O thread, so it must not block),
  // write() sends raw bytes, pause/resume stop and restart reading, finish() closes after the queue has been sent.
  virtual void upgrade(Headers headers, std::function<void(std::string_view)> on_data) = 0;
  virtual void pause() = 0;
  virtual void resume() = 0;
  // The I/O loop of this connection, where descriptors that belong to an upgraded connection are served; null for an answer that has none.
  virtual std::shared_ptr<Loop> loop() { return nullptr; }
};

using HttpHandler = std::function<void(HttpRequest&&, std::shared_ptr<Responder>)>;

struct TlsFiles {
  std::string certificate, key, client_ca;  // PEM paths; watched and reloaded when they change
};

struct FrontOptions {
  std::vector<std::string> listen;  // "127.0.0.1:6443", "[::1]:0", "unix:/path"
  TlsFiles tls;                     // certificate "" = plain (tests, unix sockets)
  size_t max_header_bytes = 64 << 10;
  size_t max_body_bytes = 3 << 20;  // over it: 413 as a Status
  uint64_t header_timeout_ns = 10ull * 1000000000;
  uint64_t idle_timeout_ns = 120ull * 1000000000;
  size_t max_connections = 20000;
  size_t max_inflight_body_bytes = 256 << 20;  // of all requests together; over it: 429
  int io_threads = 2;
  std::function<void(std::string)> warn;  // sentences for the log (a certificate that cannot be reloaded ...); from an I/O thread
};

// Threads: start/stop from one thread; the rest from any.
class Front {
 public:
  virtual ~Front() = default;
  // Binds and listens. CONFLICT: port in use; the text names the process that has it.
  virtual Result<void> start() = 0;
  virtual std::vector<std::string> addresses() const = 0;  // with real ports
  // Stops accepting, lets answers in flight finish for at most `grace_ns`, closes.
  virtual void stop(uint64_t grace_ns) = 0;
  virtual json::Value metrics() const = 0;
};
std::unique_ptr<Front> make_front(Executor& executor, FrontOptions options, HttpHandler handler);

}  // namespace pintle::kernel

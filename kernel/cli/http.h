// A small HTTP/1.1 client over any byte stream: one request at a time, whole bodies. Blocking, with a time limit.
//
// Threads: one object, one thread.
#pragma once
#include <memory>
#include <string>

#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::cli {

// Bytes to and from a server. Errors: UNAVAILABLE (nobody there, connection lost), TIMEOUT.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual Result<void> write(const std::string& bytes) = 0;
  // At least one byte; "" = the other side has closed.
  virtual Result<std::string> read() = 0;
};

struct HttpReply {
  int status = 0;
  std::string body;
};

// Writes the request and reads the answer. The connection ends with it.
Result<HttpReply> exchange(Stream& stream, const std::string& method, const std::string& path, const std::string& host, const std::string& body = {},
                           const std::string& content_type = {}, const std::string& accept = "application/json");
// The body of an HTTP/1.1 message with "Transfer-Encoding: chunked". INVALID when it is damaged or incomplete.
Result<std::string> unchunk(std::string_view bytes);

// FORBIDDEN and NOT_FOUND as connect(2) says.
Result<std::unique_ptr<Stream>> connect_unix(const std::string& path, int timeout_ms);
Result<std::unique_ptr<Stream>> connect_tcp(const std::string& host, const std::string& port, int timeout_ms, int& fd);

// The Docker engine on its Unix socket.
class Engine {
 public:
  explicit Engine(std::string socket = "/var/run/docker.sock") : socket_(std::move(socket)) {}
  const std::string& socket() const { return socket_; }
  // A null value for an empty answer. Errors carry the engine's own message.
  Result<json::Value> call(const std::string& method, const std::string& path, int timeout_ms = 30000) const;

 private:
  std::string socket_;
};

std::string percent_encode(std::string_view text);

}  // namespace pintle::cli

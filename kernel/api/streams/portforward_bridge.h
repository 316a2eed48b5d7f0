// Port-forward: SPDY/3.1 inside WebSocket messages (subprotocol SPDY/3.1+portforward.k8s.io) on one side, one plain descriptor per
// forwarded connection on the other.
//
// For each connection the client opens two streams with the same requestID and port: `error` (text for its user) and `data`. When both
// are there, `on_connection` runs on the executor with the port, the far end of a new socket pair (both directions; the receiver owns
// it) and the function that ends the connection: call it once, with an error whose text the client is shown, or without.
// Guarantees: what was written to the far end before `finish` is delivered before the end; one connection that is not read slows the
// client's tunnel down but no other tunnel; nothing blocks.
//
// Threads: any. Lives until the client's connection ends.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "kernel/api/front/http.h"
#include "kernel/api/streams/near_end.h"
#include "kernel/api/streams/spdy.h"
#include "kernel/api/streams/websocket.h"

namespace pintle::kernel {

class PortForwardBridge : public std::enable_shared_from_this<PortForwardBridge> {
 public:
  using Finish = std::function<void(Result<void>)>;
  using OnConnection = std::function<void(uint16_t port, int fd, Finish finish)>;

  // Answers `responder`: 101, or a Status and then null is returned. `on_client_gone` runs on the executor, once; the far ends see the
  // end by themselves.
  static std::shared_ptr<PortForwardBridge> open(Executor& executor, const HttpRequest& request, std::shared_ptr<Responder> responder,
                                                 OnConnection on_connection, std::function<void()> on_client_gone);
  // Ends the tunnel and all its connections, for instance because its target is gone.
  void close();

 private:
  struct Pair {
    uint16_t port = 0;
    uint32_t error_stream = 0, data_stream = 0;
    std::shared_ptr<NearEnd> end;
    size_t unconsumed = 0;  // bytes given to `end` that the client has not been told of
    bool stalled = false, data_ended = false, finishing = false, early_fin = false;
    std::string early;      // data that came before the pair was complete
    std::string error;      // for the error stream
  };
  PortForwardBridge(Executor& executor, std::shared_ptr<Loop> loop) : executor_(executor), loop_(std::move(loop)) {}
  void start(std::shared_ptr<Responder> responder, const WebSocketAccept& accept);
  void on_message(bool text, std::string_view payload);
  bool opened(uint32_t stream, const Headers& headers);
  void begin(const std::string& id, Pair& pair);
  void from_client(uint32_t stream, std::string_view data, bool fin);
  void from_target(const std::string& id, std::string_view bytes);
  void client_reset(uint32_t stream);
  void go_on();
  void drained(const std::string& id);
  void try_to_end(const std::string& id);
  void drop(const std::string& id);
  void count_stalled(Pair& pair, bool stalled);
  void send(std::string_view bytes);
  void client_gone();
  Pair* find(const std::string& id);

  Executor& executor_;
  const std::shared_ptr<Loop> loop_;
  OnConnection on_connection_;
  // Loop thread only:
  std::function<void()> on_client_gone_;
  std::shared_ptr<WebSocket> socket_;
  std::unique_ptr<SpdySession> session_;
  std::map<std::string, Pair> pairs_;                      // by requestID
  std::unordered_map<uint32_t, std::string> ids_;          // stream -> requestID
  size_t stalled_ = 0;
  bool client_full_ = false, over_ = false;
};

}  // namespace pintle::kernel

// WebSocket (RFC 6455), server side: the handshake's answer, frames, and a session over an upgraded connection.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/api/front/http.h"

namespace pintle::kernel {

struct WebSocketAccept {
  std::string protocol;  // the chosen subprotocol
  Headers headers;       // of the 101
};

// Looks at an upgrade request; `supported`: subprotocols in our order of preference. A bearer token among the offered subprotocols
// (base64url.bearer.authorization.k8s.io.*) is not one of them. BAD_REQUEST: no WebSocket upgrade (the text says what is needed; the
// plain SPDY upgrade of older clients is named), malformed, or no common subprotocol (both sides' are listed).
Result<WebSocketAccept> accept_websocket(const HttpRequest& request, const std::vector<std::string>& supported);

enum class WsOpcode : uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

// Frames of a client from bytes. Threads: one caller at a time.
class WebSocketReader {
 public:
  explicit WebSocketReader(size_t max_message_bytes) : max_message_(max_message_bytes) {}
  // Calls `sink` for each whole message (kText, kBinary: fragments joined) and each control frame. Returns 0 or the close code of the
  // client's mistake; then no more may be fed.
  uint16_t feed(std::string_view bytes, const std::function<void(WsOpcode, std::string&&)>& sink);

 private:
  uint16_t begin_frame();
  uint16_t end_frame(const std::function<void(WsOpcode, std::string&&)>& sink);

  const size_t max_message_;
  unsigned char head_[14];
  size_t head_size_ = 0, head_needed_ = 2;
  bool in_payload_ = false, final_ = false;
  WsOpcode opcode_ = WsOpcode::kContinuation;
  size_t remaining_ = 0, mask_at_ = 0;
  unsigned char mask_[4];
  bool in_message_ = false;
  WsOpcode message_opcode_ = WsOpcode::kBinary;
  std::string message_, control_;
};

// The head of a server frame with `size` bytes of payload.
std::string websocket_frame_head(WsOpcode opcode, size_t size);

// One session. Threads: everything on the responder's loop, but open().
// Owns: the responder, and is kept alive by its connection until that ends.
class WebSocket : public std::enable_shared_from_this<WebSocket> {
 public:
  using OnMessage = std::function<void(bool text, std::string&& payload)>;

  // Sends the 101. `on_message` and `on_end` run on the loop; `on_end` once, when the client closed, vanished or broke the protocol; not
  // after close(). `owner` is kept alive by the connection until then; the two functions must not hold it (it holds the session).
  static std::shared_ptr<WebSocket> open(std::shared_ptr<Responder> responder, const WebSocketAccept& accept, std::shared_ptr<void> owner,
                                         OnMessage on_message, std::function<void()> on_end);

  // Queues one binary message of `prefix` and `data`; returns the bytes queued for the connection.
  size_t send_binary(std::string_view prefix, std::string_view data);
  // Sends a close frame after what is queued, then ends the connection.
  void close(uint16_t code, std::string_view reason);
  bool ended() const { return ended_; }
  // Stops and restarts reading. While stopped, a pong is sent from time to time, because clients measure the connection by them.
  void pause();
  void resume();
  // `fn` runs once on the loop when at most `low_water` bytes are queued.
  void on_drained(size_t low_water, std::function<void()> fn);
  const std::shared_ptr<Loop>& loop() const { return loop_; }

  static constexpr size_t kMaxMessageBytes = 4 << 20;

 private:
  explicit WebSocket(std::shared_ptr<Responder> responder);
  void on_bytes(std::string_view bytes);
  void on_frame(WsOpcode opcode, std::string&& payload);
  void end();
  void pong_while_paused(uint64_t turn);

  const std::shared_ptr<Responder> responder_;
  const std::shared_ptr<Loop> loop_;
  WebSocketReader reader_;
  OnMessage on_message_;
  std::function<void()> on_end_;
  bool ended_ = false, paused_ = false;
  uint64_t pause_turn_ = 0;
};

}  // namespace pintle::kernel

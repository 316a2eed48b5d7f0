#include "kernel/api/streams/websocket.h"

#include "kernel/api/front/loop.h"

namespace pintle::kernel {
namespace {

constexpr uint64_t kPongPeriodNs = 10ull * 1000000000;

Chunk frame(WsOpcode opcode, std::string_view prefix, std::string_view data) {
  std::string out = websocket_frame_head(opcode, prefix.size() + data.size());
  out.reserve(out.size() + prefix.size() + data.size());
  out += prefix;
  out += data;
  return std::make_shared<const std::string>(std::move(out));
}

}  // namespace

WebSocket::WebSocket(std::shared_ptr<Responder> responder)
    : responder_(std::move(responder)), loop_(responder_->loop()), reader_(kMaxMessageBytes) {}

std::shared_ptr<WebSocket> WebSocket::open(std::shared_ptr<Responder> responder, const WebSocketAccept& accept, std::shared_ptr<void> owner,
                                           OnMessage on_message, std::function<void()> on_end) {
  std::shared_ptr<WebSocket> self(new WebSocket(std::move(responder)));
  self->on_message_ = std::move(on_message);
  self->on_end_ = std::move(on_end);
  // The connection keeps session and owner alive by these functions and drops them when it ends.
  self->responder_->on_closed([self, owner] {
    // Without a loop there is no other thread that could be inside the session.
    if (!self->loop_->post([self, owner] { self->end(); })) self->end();
  });
  self->responder_->upgrade(accept.headers, [self, owner](std::string_view bytes) { self->on_bytes(bytes); });
  return self;
}

void WebSocket::on_bytes(std::string_view bytes) {
  if (ended_) return;
  const auto self = shared_from_this();
  const uint16_t code = reader_.feed(bytes, [this](WsOpcode opcode, std::string&& payload) { on_frame(opcode, std::move(payload)); });
  if (code != 0 && !ended_) {
    const auto on_end = std::move(on_end_);
    close(code, code == 1009 ? "message too large" : code == 1007 ? "text is not UTF-8" : "protocol error");
    if (on_end) on_end();
  }
}

void WebSocket::on_frame(WsOpcode opcode, std::string&& payload) {
  if (ended_) return;
  switch (opcode) {
    case WsOpcode::kPing: responder_->write(frame(WsOpcode::kPong, {}, payload)); return;
    case WsOpcode::kPong: return;
    case WsOpcode::kClose:
      responder_->write(frame(WsOpcode::kClose, {}, std::string_view(payload).substr(0, 2)));
      responder_->finish();
      end();
      return;
    default:
      if (on_message_) on_message_(opcode == WsOpcode::kText, std::move(payload));
  }
}

size_t WebSocket::send_binary(std::string_view prefix, std::string_view data) {
  if (ended_) return 0;
  return responder_->write(frame(WsOpcode::kBinary, prefix, data));
}

void WebSocket::close(uint16_t code, std::string_view reason) {
  if (ended_) return;
  const auto self = shared_from_this();
  const char number[2] = {static_cast<char>(code >> 8), static_cast<char>(code)};
  responder_->write(frame(WsOpcode::kClose, std::string_view(number, 2), reason.substr(0, 120)));
  responder_->finish();
  on_end_ = nullptr;
  end();
}

void WebSocket::end() {
  if (ended_) return;
  ended_ = true;
  const auto on_end = std::move(on_end_);
  on_end_ = nullptr;
  // Not destroyed here: a message may be on its way through it.
  loop_->post([gone = std::move(on_message_)] {});
  on_message_ = nullptr;
  if (on_end) on_end();
}

void WebSocket::pause() {
  if (paused_ || ended_) return;
  paused_ = true;
  responder_->pause();
  pong_while_paused(++pause_turn_);
}

void WebSocket::pong_while_paused(uint64_t turn) {
  loop_->after(kPongPeriodNs, [weak = weak_from_this(), turn] {
    const auto self = weak.lock();
    if (!self || !self->paused_ || self->ended_ || self->pause_turn_ != turn) return;
    self->responder_->write(frame(WsOpcode::kPong, {}, {}));
    self->pong_while_paused(turn);
  });
}

void WebSocket::resume() {
  if (!paused_) return;
  paused_ = false;
  responder_->resume();
}

void WebSocket::on_drained(size_t low_water, std::function<void()> fn) {
  if (ended_) return;
  responder_->on_drained(low_water, [loop = loop_, fn = std::move(fn)]() mutable { loop->post(std::move(fn)); });
}

}  // namespace pintle::kernel

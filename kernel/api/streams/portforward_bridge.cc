#include "kernel/api/streams/portforward_bridge.h"

#include <unistd.h>

#include <charconv>
#include <vector>

#include "kernel/api/front/answer.h"

namespace pintle::kernel {
namespace {
constexpr size_t kForwardedHighWater = 512 << 10, kForwardedLowWater = 128 << 10;

// The far end on its way to its receiver; closed when nobody takes it.
struct FarEnd {
  explicit FarEnd(int descriptor) : fd(descriptor) {}
  ~FarEnd() {
    if (fd >= 0) ::close(fd);
  }
  FarEnd(const FarEnd&) = delete;
  FarEnd& operator=(const FarEnd&) = delete;
  int fd;
};
}  // namespace

std::shared_ptr<PortForwardBridge> PortForwardBridge::open(Executor& executor, const HttpRequest& request, std::shared_ptr<Responder> responder,
                                                           OnConnection on_connection, std::function<void()> on_client_gone) {
  auto accept = accept_websocket(request, {"SPDY/3.1+portforward.k8s.io"});
  if (!accept) {
    send_refusal(responder, {400, accept.error().text});
    return nullptr;
  }
  std::shared_ptr<PortForwardBridge> self(new PortForwardBridge(executor, responder->loop()));
  self->on_connection_ = std::move(on_connection);
  self->on_client_gone_ = std::move(on_client_gone);
  self->loop_->post([self, responder = std::move(responder), headers = std::move(*accept)] { self->start(responder, headers); });
  return self;
}

void PortForwardBridge::start(std::shared_ptr<Responder> responder, const WebSocketAccept& accept) {
  session_ = std::make_unique<SpdySession>(SpdySession::Events{
      [this](std::string_view bytes) { send(bytes); },
      [this](uint32_t stream, const Headers& headers) { return opened(stream, headers); },
      [this](uint32_t stream, std::string_view data, bool fin) { from_client(stream, data, fin); },
      [this](uint32_t stream) { client_reset(stream); }, [this](uint32_t) { go_on(); }});
  const std::weak_ptr<PortForwardBridge> weak = weak_from_this();
  socket_ = WebSocket::open(
      std::move(responder), accept, shared_from_this(),
      [weak](bool text, std::string&& payload) {
        if (const auto self = weak.lock()) self->on_message(text, payload);
      },
      [weak] {
        if (const auto self = weak.lock()) self->client_gone();
      });
}

void PortForwardBridge::on_message(bool text, std::string_view payload) {
  if (over_) return;
  std::string error;
  if (text) error = "the tunnel needs binary messages";
  if (!text && session_->feed(payload, &error)) return;
  socket_->close(1002, error);
  client_gone();
}

PortForwardBridge::Pair* PortForwardBridge::find(const std::string& id) {
  const auto found = pairs_.find(id);
  return found == pairs_.end() ? nullptr : &found->second;
}

bool PortForwardBridge::opened(uint32_t stream, const Headers& headers) {
  std::string type, id;
  int port = 0;
  for (const auto& [name, value] : headers) {
    if (name == "streamtype") type = value;
    if (name == "requestid") id = value;
    if (name == "port" && std::from_chars(value.data(), value.data() + value.size(), port).ptr != value.data() + value.size()) port = 0;
  }
  if (port < 1 || port > 65535 || id.empty() || id.size() > 64 || (type != "error" && type != "data")) return false;
  Pair& pair = pairs_[id];
  uint32_t& place = type == "error" ? pair.error_stream : pair.data_stream;
  if (place != 0 || (pair.port != 0 && pair.port != port)) return false;  // a second one, or two ports under one id
  place = stream;
  pair.port = static_cast<uint16_t>(port);
  ids_[stream] = id;
  // The SYN_REPLY goes out first: the streams are used only after it.
  if (pair.error_stream && pair.data_stream)
    loop_->post([self = shared_from_this(), id] {
      if (Pair* both = self->find(id); both && !both->end && !self->over_) self->begin(id, *both);
    });
  return true;
}

void PortForwardBridge::begin(const std::string& id, Pair& pair) {
  int far = -1;
  pair.end = NearEnd::make(loop_, &far);
  if (!pair.end) {
    pair.error = "no file descriptors are left for another connection";
    pair.finishing = true;
    return try_to_end(id);
  }
  const std::weak_ptr<PortForwardBridge> weak = weak_from_this();
  pair.end->start({[weak, id](std::string_view bytes) {
                     if (const auto self = weak.lock()) self->from_target(id, bytes);
                   },
                   [weak, id] {
                     if (const auto self = weak.lock()) self->try_to_end(id);
                   },
                   [weak, id] {
                     if (const auto self = weak.lock()) self->drained(id);
                   },
                   [weak, stream = pair.data_stream] {
                     const auto self = weak.lock();
                     return self ? self->session_->room(stream) : 0;
                   }},
                  !client_full_);
  pair.unconsumed = pair.early.size();
  if (!pair.early.empty() && pair.end->write(pair.early) > NearEnd::kHighWater) count_stalled(pair, true);
  std::string().swap(pair.early);
  if (pair.early_fin) pair.end->finish_writing();
  auto finish = [weak, id](Result<void> result) {
    const auto self = weak.lock();
    if (!self) return;
    self->loop_->post([self, id, text = result ? std::string() : result.error().text] {
      Pair* ending = self->find(id);
      if (!ending || ending->finishing) return;
      ending->finishing = true;
      ending->error = text;
      self->try_to_end(id);
    });
  };
  executor_.post([callback = on_connection_, port = pair.port, end = std::make_shared<FarEnd>(far), finish = std::move(finish)]() mutable {
    const int fd = end->fd;
    end->fd = -1;
    callback(port, fd, std::move(finish));
  });
}

void PortForwardBridge::from_client(uint32_t stream, std::string_view data, bool fin) {
  const auto found = ids_.find(stream);
  Pair* pair = found == ids_.end() ? nullptr : find(found->second);
  if (!pair || stream != pair->data_stream) {  // nothing is expected on an error stream
    session_->consumed(stream, data.size());
    return;
  }
  if (!pair->end) {  // its error stream is still to come
    if (pair->early.size() + data.size() > NearEnd::kHighWater) {
      session_->reset(stream, SpdyReset::kFlowControlError);
      return drop(std::string(found->second));
    }
    pair->early += data;
    pair->early_fin = pair->early_fin || fin;
    return;
  }
  pair->unconsumed += data.size();
  const size_t queued = data.empty() ? pair->end->queued() : pair->end->write(data);
  if (queued == 0) {
    session_->consumed(stream, pair->unconsumed);
    pair->unconsumed = 0;
  } else if (queued > NearEnd::kHighWater) {
    count_stalled(*pair, true);
  }
  if (fin) pair->end->finish_writing();
}

void PortForwardBridge::drained(const std::string& id) {
  Pair* pair = find(id);
  if (!pair) return;
  count_stalled(*pair, false);
  session_->consumed(pair->data_stream, pair->unconsumed);
  pair->unconsumed = 0;
}

void PortForwardBridge::count_stalled(Pair& pair, bool stalled) {
  if (pair.stalled == stalled) return;
  pair.stalled = stalled;
  stalled_ += stalled ? 1 : static_cast<size_t>(-1);
  if (stalled_ > 0) socket_->pause();
  else socket_->resume();
}

void PortForwardBridge::from_target(const std::string& id, std::string_view bytes) {
  Pair* pair = find(id);
  if (!pair || over_) return;
  session_->send_data(pair->data_stream, bytes, false);
}

void PortForwardBridge::send(std::string_view bytes) {
  if (!socket_ || over_) return;
  if (socket_->send_binary({}, bytes) <= kForwardedHighWater || client_full_) return;
  client_full_ = true;
  for (auto& [id, pair] : pairs_)
    if (pair.end) pair.end->set_reading(false);
  socket_->on_drained(kForwardedLowWater, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->over_) return;
    self->client_full_ = false;
    self->go_on();
  });
}

// The client takes more again, by its queue or by its windows.
void PortForwardBridge::go_on() {
  std::vector<std::string> ids;  // a connection may end while the others are told
  for (const auto& [id, pair] : pairs_) ids.push_back(id);
  for (const std::string& id : ids) {
    if (client_full_) return;
    if (Pair* pair = find(id); pair && pair->end) pair->end->set_reading(true);
    try_to_end(id);
  }
}

void PortForwardBridge::try_to_end(const std::string& id) {
  Pair* pair = find(id);
  if (!pair || over_) return;
  if (pair->end && !pair->end->ended()) {
    if (!pair->finishing || client_full_) return;
    // What was written before `finish` is there now; the client may take it in several turns.
    const auto end = pair->end;
    if (!end->read_all()) return;
    pair = find(id);
    if (!pair) return;
  }
  if (!pair->data_ended) {
    pair->data_ended = true;
    session_->send_data(pair->data_stream, {}, true);
  }
  if (!pair->finishing) return;
  session_->send_data(pair->error_stream, pair->error, true);
  drop(id);
}

// kubectl resets the data stream when its local side is done, and then waits for the end of the error stream.
void PortForwardBridge::client_reset(uint32_t stream) {
  const auto found = ids_.find(stream);
  if (found == ids_.end()) return;
  const std::string id = found->second;
  const Pair* pair = find(id);
  if (!pair) return;
  if (stream == pair->data_stream && pair->error_stream != 0) session_->send_data(pair->error_stream, {}, true);
  if (stream == pair->error_stream && pair->data_stream != 0) session_->reset(pair->data_stream, SpdyReset::kCancel);
  drop(id);
}

void PortForwardBridge::drop(const std::string& id) {
  const auto found = pairs_.find(id);
  if (found == pairs_.end()) return;
  count_stalled(found->second, false);
  if (found->second.end) found->second.end->close();
  ids_.erase(found->second.error_stream);
  ids_.erase(found->second.data_stream);
  pairs_.erase(found);
}

void PortForwardBridge::close() {
  loop_->post([self = shared_from_this()] {
    if (self->over_ || !self->socket_) return;
    self->session_->go_away();
    self->socket_->close(1000, "");
    self->client_gone();
  });
}

void PortForwardBridge::client_gone() {
  if (over_) return;
  over_ = true;
  for (auto& [id, pair] : pairs_)
    if (pair.end) pair.end->close();
  pairs_.clear();
  ids_.clear();
  if (on_client_gone_) executor_.post(std::move(on_client_gone_));
  on_client_gone_ = nullptr;
}

}  // namespace pintle::kernel

// exec and attach: the channels of a WebSocket client on one side, plain descriptors on the other.
//
//   auto bridge = ExecBridge::open(executor, request, responder, flags, [] { /* cancel the call */ });
//   if (!bridge) return;                       // it has answered with a Status
//   ... open the stream with bridge->take_fds() and bridge->fd_names() ("exec" mode of pintle.stream) ...
//   bridge->finish(exit_code);  or  bridge->finish(error);
//
// Subprotocols: v5.channel.k8s.io, v4.channel.k8s.io. Channels: 0 stdin, 1 stdout, 2 stderr, 3 the Status at the end, 4 resize;
// 255 closes one channel (v5: the end of stdin).
// Guarantees: what was written to stdout and stderr before finish() is delivered before the Status; a client that does not read stops
// the reading of stdout and stderr, a command that does not read stops the reading of the client; nothing blocks.
//
// Threads: any. Owns: our ends of the descriptors; lives until the connection ends.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel/api/front/http.h"
#include "kernel/api/streams/near_end.h"
#include "kernel/api/streams/websocket.h"

namespace pintle::kernel {

struct ExecFlags {
  bool in = false, out = false, err = false;
  bool tty = false;  // no stderr of its own; a resize channel
};

class ExecBridge : public std::enable_shared_from_this<ExecBridge> {
 public:
  // Answers `responder`: 101, or a Status and then null is returned. `on_client_gone` runs on the executor, once, when the client left
  // before finish().
  static std::shared_ptr<ExecBridge> open(Executor& executor, const HttpRequest& request, std::shared_ptr<Responder> responder, ExecFlags flags,
                                          std::function<void()> on_client_gone);
  ~ExecBridge();

  // The far ends, in the order of fd_names(); the caller owns them from now on. Once.
  std::vector<int> take_fds() { return std::move(far_ends_); }
  const json::Value& fd_names() const { return fd_names_; }  // {"stdin":0,"stdout":1,"resize":2}

  void finish(int exit_code);
  void finish(const Error& error);  // the client is shown its text

 private:
  ExecBridge(Executor& executor, std::shared_ptr<Loop> loop) : executor_(executor), loop_(std::move(loop)) {}
  std::shared_ptr<NearEnd> add_end(const char* name);
  void start();
  void on_message(bool text, std::string&& payload);
  void on_resize(std::string_view text);
  void from_command(char channel, std::string_view bytes);
  void update_reading();
  void finish_with(std::string status);
  void try_to_end();
  void client_gone();
  void close_ends();

  Executor& executor_;
  const std::shared_ptr<Loop> loop_;
  bool v5_ = false;
  std::vector<int> far_ends_;
  json::Value fd_names_ = json::Value::object();
  std::shared_ptr<NearEnd> stdin_, stdout_, stderr_, resize_;
  // Loop thread only:
  std::shared_ptr<WebSocket> socket_;
  std::function<void()> on_client_gone_;
  bool client_full_ = false, finishing_ = false, over_ = false;
  std::string status_;
};

}  // namespace pintle::kernel

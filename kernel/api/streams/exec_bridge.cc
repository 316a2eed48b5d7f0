#include "kernel/api/streams/exec_bridge.h"

#include <unistd.h>

#include "kernel/api/front/refusal.h"
#include "kernel/api/front/answer.h"

namespace pintle::kernel {
namespace {

constexpr size_t kClientHighWater = 512 << 10, kClientLowWater = 128 << 10;
constexpr char kStdin = 0, kStdout = 1, kStderr = 2, kStatus = 3, kResize = 4;
constexpr unsigned char kCloseChannel = 255;

std::string success_status() {
  return json::Value::object({{"metadata", json::Value::object()}, {"status", "Success"}}).dump();
}

std::string exit_status(int exit_code) {
  const std::string number = std::to_string(exit_code);
  return json::Value::object(
             {{"metadata", json::Value::object()},
              {"status", "Failure"},
              {"message", "command terminated with non-zero exit code: exit status " + number},
              {"reason", "NonZeroExitCode"},
              {"details", json::Value::object({{"causes", json::Value::array({json::Value::object({{"reason", "ExitCode"}, {"message", number}})})}})}})
      .dump();
}

std::string error_status(const Error& error) {
  if (error.status.is_object()) return error.status.dump();
  return json::Value::object({{"metadata", json::Value::object()},
                              {"status", "Failure"},
                              {"message", error.text},
                              {"reason", "InternalError"},
                              {"details", json::Value::object({{"causes", json::Value::array({json::Value::object({{"message", error.text}})})}})},
                              {"code", 500}})
      .dump();
}

}  // namespace

std::shared_ptr<ExecBridge> ExecBridge::open(Executor& executor, const HttpRequest& request, std::shared_ptr<Responder> responder, ExecFlags flags,
                                             std::function<void()> on_client_gone) {
  if (!flags.in && !flags.out && !flags.err) {
    send_refusal(responder, {400, "you must specify at least 1 of stdin, stdout, stderr"});
    return nullptr;
  }
  auto accept = accept_websocket(request, {"v5.channel.k8s.io", "v4.channel.k8s.io"});
  if (!accept) {
    send_refusal(responder, {400, accept.error().text});
    return nullptr;
  }
  std::shared_ptr<ExecBridge> self(new ExecBridge(executor, responder->loop()));
  self->v5_ = accept->protocol == "v5.channel.k8s.io";
  self->on_client_gone_ = std::move(on_client_gone);
  bool good = true;
  const auto add = [&](bool wanted, const char* name, std::shared_ptr<NearEnd>& end) {
    if (!wanted || !good) return;
    end = self->add_end(name);
    good = end != nullptr;
  };
  add(flags.in, "stdin", self->stdin_);
  add(flags.out, "stdout", self->stdout_);
  add(flags.err && !flags.tty, "stderr", self->stderr_);
  add(flags.tty, "resize", self->resize_);
  if (!good) {
    send_refusal(responder, {503, "no file descriptors are left for another stream", 1});
    return nullptr;
  }
  // Everything else happens on the loop, in this order: the session exists before its first message and before the ends are read.
  self->loop_->post([self, responder = std::move(responder), headers = std::move(*accept)] {
    const std::weak_ptr<ExecBridge> weak = self;
    self->socket_ = WebSocket::open(
        responder, headers, self,
        [weak](bool text, std::string&& payload) {
          if (const auto alive = weak.lock()) alive->on_message(text, std::move(payload));
        },
        [weak] {
          if (const auto alive = weak.lock()) alive->client_gone();
        });
    self->start();
  });
  return self;
}

ExecBridge::~ExecBridge() {
  for (const int fd : far_ends_) close(fd);
}

std::shared_ptr<NearEnd> ExecBridge::add_end(const char* name) {
  int far = -1;
  auto end = NearEnd::make(loop_, &far);
  if (!end) return nullptr;
  fd_names_.set(name, far_ends_.size());
  far_ends_.push_back(far);
  return end;
}

void ExecBridge::start() {
  const std::weak_ptr<ExecBridge> weak = weak_from_this();
  const auto output = [&](char channel) {
    return NearEnd::Events{[weak, channel](std::string_view bytes) {
                             if (const auto self = weak.lock()) self->from_command(channel, bytes);
                           },
                           [weak] {
                             if (const auto self = weak.lock()) self->try_to_end();
                           },
                           nullptr};
  };
  if (stdout_) stdout_->start(output(kStdout), true);
  if (stderr_) stderr_->start(output(kStderr), true);
  if (stdin_)
    stdin_->start({nullptr, nullptr,
                   [weak] {
                     if (const auto self = weak.lock(); self && self->socket_) self->socket_->resume();
                   }},
                  false);
  if (resize_) resize_->start({}, false);
}

void ExecBridge::on_message(bool text, std::string&& payload) {
  if (over_ || payload.empty()) return;
  if (text) {
    socket_->close(1003, "channels need binary messages");
    return client_gone();
  }
  const auto channel = static_cast<unsigned char>(payload[0]);
  const std::string_view data = std::string_view(payload).substr(1);
  if (channel == static_cast<unsigned char>(kStdin) && stdin_) {
    if (!data.empty() && stdin_->write(data) > NearEnd::kHighWater) socket_->pause();
  } else if (channel == static_cast<unsigned char>(kResize) && resize_) {
    on_resize(data);
  } else if (channel == kCloseChannel && v5_) {
    if (stdin_ && data.size() == 1 && data[0] == kStdin) stdin_->finish_writing();
  }
  // Other channels have no reader on this side, as with other servers of this protocol.
}

void ExecBridge::on_resize(std::string_view text) {
  const auto size = json::parse_or_null(text);
  const int64_t width = size["Width"].as_int(-1), height = size["Height"].as_int(-1);
  if (width < 0 || height < 0 || width > 65535 || height > 65535) return;
  if (resize_->queued() > 4096) return;  // only the last size matters and the command does not listen
  resize_->write(json::Value::object({{"Width", width}, {"Height", height}}).dump() + "\n");
}

void ExecBridge::from_command(char channel, std::string_view bytes) {
  if (over_ || !socket_) return;
  if (socket_->send_binary(std::string_view(&channel, 1), bytes) > kClientHighWater && !client_full_) {
    client_full_ = true;
    update_reading();
    socket_->on_drained(kClientLowWater, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->client_full_ = false;
      self->update_reading();
      self->try_to_end();
    });
  }
}

void ExecBridge::update_reading() {
  if (stdout_) stdout_->set_reading(!client_full_);
  if (stderr_) stderr_->set_reading(!client_full_);
}

void ExecBridge::finish(int exit_code) { finish_with(exit_code == 0 ? success_status() : exit_status(exit_code)); }

void ExecBridge::finish(const Error& error) { finish_with(error_status(error)); }

void ExecBridge::finish_with(std::string status) {
  loop_->post([self = shared_from_this(), status = std::move(status)]() mutable {
    if (self->finishing_ || self->over_) return;
    self->finishing_ = true;
    self->status_ = std::move(status);
    self->try_to_end();
  });
}

// After finish(): what has been written is in the sockets. Somebody else may hold a far end open (a process left behind), so their end
// is not waited for.
void ExecBridge::try_to_end() {
  if (!finishing_ || over_ || client_full_) return;
  if (stdout_ && !stdout_->read_all()) return;
  if (stderr_ && !stderr_->read_all()) return;
  if (over_ || client_full_) return;
  over_ = true;
  on_client_gone_ = nullptr;
  socket_->send_binary(std::string_view(&kStatus, 1), status_);
  socket_->close(1000, "");
  close_ends();
}

void ExecBridge::client_gone() {
  if (over_) return;
  over_ = true;
  close_ends();
  if (on_client_gone_ && !finishing_) executor_.post(std::move(on_client_gone_));
  on_client_gone_ = nullptr;
}

void ExecBridge::close_ends() {
  for (const auto& end : {stdin_, stdout_, stderr_, resize_})
    if (end) end->close();
}

}  // namespace pintle::kernel

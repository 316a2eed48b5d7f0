// The Responder of one request on a Connection.
#pragma once
#include <memory>
#include <string>

#include "kernel/api/front/connection.h"

namespace pintle::kernel {

class Answer final : public Responder {
 public:
  // keep_alive, http10, head: of the request.
  Answer(std::shared_ptr<Connection> connection, uint64_t exchange, bool keep_alive, bool http10, bool head);
  ~Answer() override;  // unanswered: 500; an unfinished stream is cut

  using Responder::send;
  void send(int code, Headers headers, std::vector<Chunk> body) override;
  void start(int code, Headers headers) override;
  size_t write(Chunk chunk) override;
  void finish() override;
  void abort() override;
  size_t queued() const override { return connection_->queued(); }
  void on_drained(size_t low_water, std::function<void()> fn) override;
  void on_closed(std::function<void()> fn) override;
  void upgrade(Headers headers, std::function<void(std::string_view)> on_data) override;
  void pause() override { connection_->set_paused(exchange_, true); }
  void resume() override { connection_->set_paused(exchange_, false); }
  std::shared_ptr<Loop> loop() override { return connection_->loop(); }

 private:
  enum class Stage { kOpen, kStreaming, kPipe, kDone };
  std::string head_block(int code, const Headers& headers) const;

  const std::shared_ptr<Connection> connection_;
  const uint64_t exchange_;
  const bool keep_alive_, http10_, head_;
  Stage stage_ = Stage::kOpen;
};

void send_refusal(const std::shared_ptr<Responder>& answer, const Refusal& refusal);

}  // namespace pintle::kernel

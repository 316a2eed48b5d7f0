// One client connection: bytes in, requests out, answers back.
//
//   accept -> [handshake] -> reading <-> busy -> linger -> closed
//                                         \-> pipe ----^
// reading: a header or body arrives (or is waited for); busy: a request is with the handler until its answer has been written;
// pipe: after an upgrade; linger: everything is written, the peer's last bytes are read and dropped so that it sees the answer.
//
// Threads: the functions of the first group on the loop's thread only; those of the second group (for Answer) from any.
#pragma once
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernel/api/front/core.h"
#include "kernel/api/front/outbox.h"
#include "kernel/api/front/request_parser.h"

namespace pintle::kernel {

class Connection final : public Loop::Source, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<FrontCore> core, Shard* shard, int fd, std::string remote);
  ~Connection() override;

  // --- loop thread
  bool open();  // begins; false: closed at once
  void on_ready(uint32_t events) override;
  void check_deadline(uint64_t now);
  void close_now();
  bool busy() const { return phase_ == Phase::kBusy || phase_ == Phase::kPipe; }
  void close_when_done();  // the front end stops: idle ones close now

  // --- any thread; `exchange` names the request that is answered, calls for an older one do nothing
  enum class End { kMore, kKeep, kClose };
  size_t push(uint64_t exchange, std::vector<Chunk> chunks, End end);
  size_t queued() const;
  void on_drained(uint64_t exchange, size_t low_water, std::function<void()> fn);
  void on_closed(uint64_t exchange, std::function<void()> fn);
  void set_streaming(uint64_t exchange);
  void begin_pipe(uint64_t exchange, Chunk head, std::function<void(std::string_view)> on_data);
  void set_paused(uint64_t exchange, bool paused);
  void abort(uint64_t exchange);
  std::shared_ptr<Loop> loop() const { return loop_; }
  FrontCore& core() const { return *core_; }

 private:
  enum class Phase { kSniff, kHandshake, kReading, kBusy, kPipe, kLinger, kClosed };
  void handshake();
  void sniff();
  void read_some();
  ssize_t read_bytes(char* to, size_t size);  // > 0; 0 = end; -1 = nothing now; -2 = broken
  void take_bytes(std::string_view bytes);
  void take_pipe_bytes(std::string_view bytes);
  void next_request();
  void after_feed(bool was_header);
  void refuse(Refusal refusal);
  void dispatch();
  void flush();
  void answer_done(End end);
  void start_linger();
  void enter_pipe();
  void peer_is_gone();
  void release_body();
  void wait_idle();
  void leave_idle();
  void update_interest();
  void post_flush_locked();
  void post_to_executor(std::function<void()> fn);

  const std::shared_ptr<FrontCore> core_;
  const std::shared_ptr<Loop> loop_;
  Shard* const shard_;  // loop thread only
  int fd_;
  const std::string remote_;
  SslHandle ssl_;
  std::unique_ptr<ClientCertificate> certificate_;
  int64_t certificate_end_ = 0;  // seconds since 1970

  Phase phase_ = Phase::kReading;
  bool disturbed_ = false;  // the client sent something while its request was answered
  bool peer_closed_ = false, hang_up_seen_ = false, write_blocked_ = false, read_wants_write_ = false, write_wants_read_ = false;
  bool in_idle_ = false;
  std::list<Connection*>::iterator idle_place_;
  uint64_t deadline_ = 0, write_deadline_ = 0;
  size_t counted_body_ = 0, window_bytes_ = 0, linger_bytes_ = 0;
  RequestParser parser_;
  std::string pending_;  // bytes that followed the present request

  mutable std::mutex mutex_;  // guards what follows
  Outbox out_;
  uint64_t exchange_ = 0;
  bool exchange_open_ = false, streaming_ = false, flush_posted_ = false, closed_ = false, paused_ = false;
  bool pipe_asked_ = false;
  End end_ = End::kMore;
  size_t low_water_ = 0;
  std::function<void()> drained_fn_, closed_fn_;
  std::function<void(std::string_view)> data_fn_;
};

}  // namespace pintle::kernel

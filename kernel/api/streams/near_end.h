// Our end of a socket pair whose far end a plugin has: non-blocking, on a loop, with a queue for what it does not take yet.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "kernel/api/front/loop.h"

namespace pintle::kernel {

// Threads: the loop's, but make(). Owns: its descriptor.
class NearEnd final : public Loop::Source, public std::enable_shared_from_this<NearEnd> {
 public:
  struct Events {
    std::function<void(std::string_view)> bytes;  // read from the far end
    std::function<void()> end;                    // the far end has been closed or shut down for writing; once
    std::function<void()> drained;                // the queue fell below kLowWater after write() reported more than kHighWater
    std::function<size_t()> room = nullptr;       // bytes that bytes() may get now; at 0 reading rests until set_reading(true). Null: any
  };
  static constexpr size_t kHighWater = 256 << 10, kLowWater = 64 << 10, kPieceBytes = 32 << 10;

  // Makes the pair; `far` gets the other end (blocking, close-on-exec, the caller's). Null when the system has no descriptors left.
  static std::shared_ptr<NearEnd> make(std::shared_ptr<Loop> loop, int* far);
  ~NearEnd() override;

  void start(Events events, bool reads);
  void on_ready(uint32_t events) override;
  // Queues; returns the bytes queued. What the far end no longer takes is dropped.
  size_t write(std::string_view bytes);
  size_t queued() const { return out_.size() - out_at_; }
  void finish_writing();  // the far end sees the end after what is queued
  void set_reading(bool reads);
  // Reads until nothing is there now, the end, or reading is stopped or rests. True: all that had been written is read.
  bool read_all();
  bool ended() const { return ended_; }
  void close();

 private:
  NearEnd(std::shared_ptr<Loop> loop, int fd) : loop_(std::move(loop)), fd_(fd) {}
  bool read_piece(bool* empty);  // false: nothing (more) to read
  void flush();
  void hang_up();
  void update();

  const std::shared_ptr<Loop> loop_;
  int fd_;
  Events events_;
  bool started_ = false, reads_ = false, ended_ = false, broken_ = false, finishing_ = false, was_high_ = false, starved_ = false;
  std::string out_;
  size_t out_at_ = 0;
};

}  // namespace pintle::kernel

// One end of the socket between pintled and pintle-host: frames out in the order of send(), frames in one at a time.
//
// Nothing blocks. Memory is bounded on both sides: what the peer does not read in time ends the channel (kMaxQueued), and
// while what was read is not dealt with (hold) no more is read.
#pragma once
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "kernel/plugin/proxy_wire.h"

namespace pintle::kernel {

// Tasks one after the other on an executor.
class Strand : public std::enable_shared_from_this<Strand> {
 public:
  explicit Strand(Executor& executor) : executor_(executor) {}
  void post(Task task);

 private:
  void run();
  Executor& executor_;
  std::mutex mutex_;
  std::deque<Task> tasks_;
  bool running_ = false;
};

// Threads: any.
class Channel : public std::enable_shared_from_this<Channel> {
 public:
  static constexpr size_t kMaxQueued = 256u << 20;  // bytes waiting to be sent
  static constexpr size_t kMaxHeld = 4u << 20;      // bytes read and not dealt with

  // Both run on the thread that waits on descriptors and must only schedule. `on_end` runs once, after the last frame: "" = the
  // peer closed its end, else what was wrong. Neither runs after close() has been called, except one that runs already.
  struct Events {
    std::function<void(Frame)> on_frame;
    std::function<void(std::string)> on_end;
  };

  // Takes over `fd`. Nothing is read before open().
  explicit Channel(int fd);
  ~Channel();
  void open(Events events);

  // The descriptors are taken over in any case. False: closed, or too large a frame.
  bool send(FrameType type, uint64_t id, Writer payload, std::vector<int> fds = {});
  bool send(FrameType type, uint64_t id) { return send(type, id, Writer()); }

  // What a frame costs while it waits for its turn.
  static size_t cost(const Frame& frame) { return frame.payload.size() + 256 + frame.fds.get().size() * 65536; }
  void hold(size_t bytes);
  void release(size_t bytes);

  void close();

 private:
  struct Outgoing {
    std::string bytes;
    size_t at = 0;
    OwnedFds fds;
  };
  void readable();
  void writable();
  bool parse(std::string& wrong);
  bool flush();  // lock held; false: the socket is broken
  void end(std::string why);

  const int fd_;
  Events events_;
  uint64_t read_id_ = 0, write_id_ = 0;
  std::string in_;
  size_t in_at_ = 0;
  std::deque<int> in_fds_;
  std::mutex mutex_;
  std::deque<Outgoing> out_;
  size_t queued_ = 0, held_ = 0;
  bool closed_ = false, paused_ = false, opened_ = false;
};

}  // namespace pintle::kernel

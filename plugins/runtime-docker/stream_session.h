// Carries bytes between one connection of the engine (exec, attach; or a pod's port) and the descriptors that came with a call.
//
// Nothing blocks; each direction stops reading while its target does not take. Ends when the engine's side has ended and
// everything is written, or by cancel(). Threads: any; callbacks on host threads.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "messages.h"
#include "pintle/host.h"

namespace pintle::runtime_docker {

class StreamSession : public std::enable_shared_from_this<StreamSession> {
 public:
  struct Ends {
    int engine = -1;                           // owned from now on, as are the others; non-blocking
    int in = -1, out = -1, err = -1;           // towards the client; out == in: one duplex descriptor
    bool multiplexed = false;                  // the engine's 8-byte headers
    std::string rest;                          // bytes read beyond the engine's headers
    size_t capture = 0;                        // without out/err: keep so many bytes of each
  };
  static std::shared_ptr<StreamSession> start(const Host& host, Ends ends, std::function<void()> done);
  void cancel();                               // closes everything; done does run
  std::string captured(int stream) const { return stream == 2 ? captured_err_ : captured_out_; }
  ~StreamSession();

 private:
  StreamSession(const Host& host, Ends ends, std::function<void()> done);
  struct Pipe {  // bytes on their way to one descriptor
    std::string bytes;
    size_t at = 0;
    bool empty() const { return at == bytes.size(); }
  };
  void arm();
  void on_engine(uint32_t events);
  void on_client(int which, uint32_t events);
  bool flush(int fd, Pipe& pipe);  // false: the other side is gone
  void take(std::string_view bytes);
  void finish();

  Host host_;
  Ends ends_;
  std::function<void()> done_;
  Demultiplexer demultiplexer_;
  FdWatch engine_watch_, in_watch_, out_watch_, err_watch_;
  Pipe to_engine_, to_out_, to_err_;
  bool in_open_ = false, engine_open_ = true, engine_shut_ = false, finished_ = false;
  std::string captured_out_, captured_err_;
  std::shared_ptr<Strand> strand_;
  std::shared_ptr<StreamSession> self_;  // alive until finished, whoever else holds it
};

// A TCP connection to 127.0.0.1:port inside the network namespace of process `pid`. Blocks shortly. -1 and errno when it fails.
int connect_in_namespace(int64_t pid, uint16_t port);

}  // namespace pintle::runtime_docker

// SPDY/3.1 sessions from bytes, server side: streams opened by the client, data both ways, flow control.
//
// Flow control: the client's windows are only kept to after it has shown that it knows them (a WINDOW_UPDATE, or SETTINGS with an
// initial window). Why: the library behind kubectl never sends WINDOW_UPDATE, and holding to the initial 64 KiB would stop every
// longer transfer; the transport below has its own back-pressure. Our own WINDOW_UPDATEs follow consumed().
//
// Threads: one caller at a time; callbacks run inside the calls.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "kernel/api/front/http.h"

typedef struct z_stream_s z_stream;

namespace pintle::kernel {

extern const unsigned char kSpdyDictionary[];
extern const unsigned kSpdyDictionarySize;

enum class SpdyReset : uint32_t {
  kProtocolError = 1,
  kInvalidStream = 2,
  kRefusedStream = 3,
  kCancel = 5,
  kInternalError = 6,
  kFlowControlError = 7,
  kStreamAlreadyClosed = 9,
};

class SpdySession {
 public:
  struct Events {
    std::function<void(std::string_view)> send;  // bytes for the client
    // A new stream with its headers (names in lower case). False: it is refused (RST_STREAM); true: it is answered (SYN_REPLY).
    std::function<bool(uint32_t stream, const Headers& headers)> opened;
    std::function<void(uint32_t stream, std::string_view data, bool fin)> data;
    std::function<void(uint32_t stream)> reset;   // the client gave the stream up
    std::function<void(uint32_t stream)> window;  // room() of the stream may have grown; 0 = of all streams
  };
  explicit SpdySession(Events events);
  ~SpdySession();
  SpdySession(const SpdySession&) = delete;
  SpdySession& operator=(const SpdySession&) = delete;

  // False: the client broke the protocol; a GOAWAY has been sent and nothing more may be fed. `error` says why.
  bool feed(std::string_view bytes, std::string* error);
  // Bytes that may be sent on the stream now (SIZE_MAX without flow control; 0 for an unknown stream).
  size_t room(uint32_t stream) const;
  // Sends data; with `fin` our side of the stream is closed. The caller keeps to room().
  void send_data(uint32_t stream, std::string_view data, bool fin);
  void reset(uint32_t stream, SpdyReset why);
  // `count` bytes of data() have been passed on: the client may send as many more.
  void consumed(uint32_t stream, size_t count);
  void go_away();
  size_t streams() const { return streams_.size(); }

  static constexpr size_t kMaxStreams = 2000;
  static constexpr size_t kMaxHeaderBytes = 64 << 10;
  static constexpr int64_t kInitialWindow = 64 << 10;

 private:
  struct Stream {
    int64_t send_window = kInitialWindow;
    size_t unacknowledged = 0;
    bool local_closed = false, remote_closed = false;
  };
  bool control_frame(std::string* error);
  bool syn_stream(std::string_view body, uint8_t flags, std::string* error);
  bool settings(std::string_view body);
  bool window_update(std::string_view body);
  bool read_headers(std::string_view block, Headers* out);
  std::string write_headers(const Headers& headers);
  void send_control(uint16_t type, uint8_t flags, std::string_view body);
  void remote_fin(uint32_t id);
  void drop_if_closed(uint32_t id);

  const Events events_;
  std::unique_ptr<z_stream> inflate_, deflate_;
  std::unordered_map<uint32_t, Stream> streams_;
  uint32_t last_stream_ = 0;
  bool flow_control_ = false, failed_ = false;
  int64_t session_window_ = kInitialWindow, initial_window_ = kInitialWindow;
  size_t session_unacknowledged_ = 0;
  std::string control_;       // a control frame so far, or the head of a data frame
  size_t data_remaining_ = 0; // of the present data frame
  uint32_t data_stream_ = 0;
  bool in_data_ = false, data_fin_ = false;
};

}  // namespace pintle::kernel

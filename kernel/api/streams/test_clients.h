// For tests: a WebSocket client and a SPDY client written by hand, over the raw client of the front end's tests.
#pragma once
#include <zlib.h>

#include <optional>

#include "kernel/api/front/test_peer.h"
#include "kernel/api/streams/spdy.h"

namespace pintle::kernel {

struct WsMessage {
  int opcode = -1;  // -1: the connection ended
  std::string payload;
};

class WsClient {
 public:
  WsClient(const std::string& address, const std::string& target, const std::string& protocols) : raw(address) {
    raw.send("GET " + target + " HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + protocols + "\r\n\r\n");
    answer = raw.answer_head();
    if (answer.code != 101 && answer.headers.contains("content-length")) answer.body = raw.take(std::stoul(answer.headers["content-length"]));
  }
  static std::string frame(int opcode, const std::string& payload, bool final = true, bool mask = true) {
    std::string out;
    out.push_back(static_cast<char>((final ? 0x80 : 0) | opcode));
    const char flag = mask ? '\x80' : '\0';
    if (payload.size() < 126) {
      out.push_back(static_cast<char>(flag | static_cast<char>(payload.size())));
    } else if (payload.size() < 65536) {
      out.push_back(static_cast<char>(flag | 126));
      out.push_back(static_cast<char>(payload.size() >> 8));
      out.push_back(static_cast<char>(payload.size()));
    } else {
      out.push_back(static_cast<char>(flag | 127));
      for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(payload.size() >> shift));
    }
    if (!mask) return out + payload;
    const char key[4] = {0x12, 0x34, 0x56, 0x78};
    out.append(key, 4);
    for (size_t i = 0; i < payload.size(); ++i) out.push_back(static_cast<char>(payload[i] ^ key[i & 3]));
    return out;
  }
  bool send(const std::string& payload) { return raw.send(frame(2, payload)); }
  bool send_channel(int channel, const std::string& data) { return send(std::string(1, static_cast<char>(channel)) + data); }
  WsMessage next() {
    WsMessage out;
    const std::string head = raw.take(2);
    if (head.size() < 2) return out;
    size_t size = static_cast<unsigned char>(head[1]) & 0x7f;
    const size_t more = size == 126 ? 2 : size == 127 ? 8 : 0;
    if (more) {
      size = 0;
      for (const char c : raw.take(more)) size = size << 8 | static_cast<unsigned char>(c);
    }
    out.opcode = head[0] & 0x0f;
    out.payload = raw.take(size);
    return out;
  }
  RawClient raw;
  RawAnswer answer;
};

struct SpdyFrame {
  int type = -1;  // 0 = data, -1 = the tunnel ended
  uint32_t stream = 0;
  uint8_t flags = 0;
  std::string body;  // of control frames with, of data frames without the stream id
};

class SpdyClient {
 public:
  explicit SpdyClient(WsClient& socket) : ws(socket) {
    deflateInit(&deflate_, 6);
    deflateSetDictionary(&deflate_, kSpdyDictionary, kSpdyDictionarySize);
    inflateInit(&inflate_);
  }
  ~SpdyClient() {
    deflateEnd(&deflate_);
    inflateEnd(&inflate_);
  }
  static std::string u32(uint32_t v) {
    return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
  }
  static std::string control(int type, int flags, const std::string& body) {
    return u32(0x80030000u | static_cast<uint32_t>(type)) + u32(static_cast<uint32_t>(flags) << 24 | static_cast<uint32_t>(body.size())) + body;
  }
  static std::string data_frame(uint32_t stream, const std::string& data, bool fin) {
    return u32(stream) + u32((fin ? 1u << 24 : 0) | static_cast<uint32_t>(data.size())) + data;
  }
  std::string syn_stream(uint32_t stream, const Headers& headers, bool fin = false) {
    std::string plain = u32(static_cast<uint32_t>(headers.size()));
    for (const auto& [name, value] : headers) plain += u32(static_cast<uint32_t>(name.size())) + name + u32(static_cast<uint32_t>(value.size())) + value;
    std::string block(plain.size() + 1024, '\0');
    deflate_.next_in = reinterpret_cast<Bytef*>(plain.data());
    deflate_.avail_in = static_cast<uInt>(plain.size());
    deflate_.next_out = reinterpret_cast<Bytef*>(block.data());
    deflate_.avail_out = static_cast<uInt>(block.size());
    deflate(&deflate_, Z_SYNC_FLUSH);
    block.resize(block.size() - deflate_.avail_out);
    return control(1, fin ? 1 : 0, u32(stream) + u32(0) + std::string(2, '\0') + block);
  }
  // Opens the two streams of one forwarded connection, as kubectl does: the error stream first and closed for writing at once.
  void open_pair(uint32_t error_stream, const std::string& port, const std::string& id) {
    ws.send(syn_stream(error_stream, {{"streamtype", "error"}, {"port", port}, {"requestid", id}}));
    ws.send(data_frame(error_stream, "", true));
    ws.send(syn_stream(error_stream + 2, {{"streamtype", "data"}, {"port", port}, {"requestid", id}}));
  }
  SpdyFrame next() {
    SpdyFrame out;
    while (in_.size() < 8) if (!fill()) return out;
    const auto word = [&](size_t at) {
      uint32_t v = 0;
      for (size_t i = 0; i < 4; ++i) v = v << 8 | static_cast<unsigned char>(in_[at + i]);
      return v;
    };
    const uint32_t head = word(0), length = word(4) & 0xffffff;
    out.flags = static_cast<uint8_t>(word(4) >> 24);
    while (in_.size() < 8 + length) if (!fill()) return out;
    out.body = in_.substr(8, length);
    if (head & 0x80000000u) {
      out.type = static_cast<int>(head & 0xffff);
      out.stream = length >= 4 ? word(8) & 0x7fffffff : 0;
    } else {
      out.type = 0;
      out.stream = head;
    }
    in_.erase(0, 8 + length);
    return out;
  }
  // The next frame of the type (0 = data, 2 = SYN_REPLY, 3 = RST_STREAM ...); others are skipped.
  SpdyFrame next_of(int type) {
    for (;;) {
      SpdyFrame frame = next();
      if (frame.type == type || frame.type < 0) return frame;
    }
  }
  WsClient& ws;

 private:
  bool fill() {
    for (;;) {
      WsMessage message = ws.next();
      if (message.opcode < 0 || message.opcode == 8) return false;
      if (message.opcode != 2) continue;
      in_ += message.payload;
      return true;
    }
  }
  z_stream deflate_{}, inflate_{};
  std::string in_;
};

}  // namespace pintle::kernel

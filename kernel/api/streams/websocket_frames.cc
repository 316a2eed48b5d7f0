#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

#include "kernel/api/front/target.h"
#include "kernel/api/streams/websocket.h"

namespace pintle::kernel {
namespace {

constexpr std::string_view kBearer = "base64url.bearer.authorization.k8s.io.";

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

// The comma-separated tokens of all header fields of that name.
std::vector<std::string> tokens(const HttpRequest& request, std::string_view name) {
  std::vector<std::string> out;
  for (const auto& [key, value] : request.headers) {
    if (key != name) continue;
    std::string_view rest = value;
    while (true) {
      const size_t comma = rest.find(',');
      std::string_view token = rest.substr(0, comma);
      while (!token.empty() && (token.front() == ' ' || token.front() == '\t')) token.remove_prefix(1);
      while (!token.empty() && (token.back() == ' ' || token.back() == '\t')) token.remove_suffix(1);
      if (!token.empty()) out.emplace_back(token);
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return out;
}

bool has_token(const HttpRequest& request, std::string_view name, std::string_view token) {
  for (const std::string& present : tokens(request, name))
    if (lower(present) == token) return true;
  return false;
}

std::string join(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& item : list) out += (out.empty() ? "\"" : ", \"") + item + "\"";
  return out.empty() ? "none" : out;
}

std::string accept_key(const std::string& key) {
  const std::string text = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_Digest(text.data(), text.size(), digest, &length, EVP_sha1(), nullptr);
  unsigned char out[64];
  const int size = EVP_EncodeBlock(out, digest, static_cast<int>(length));
  return std::string(reinterpret_cast<char*>(out), static_cast<size_t>(size));
}

bool good_close_code(unsigned code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

}  // namespace

Result<WebSocketAccept> accept_websocket(const HttpRequest& request, const std::vector<std::string>& supported) {
  if (has_token(request, "upgrade", "spdy/3.1"))
    return Error(PINTLE_BAD_REQUEST,
                 "the plain SPDY/3.1 upgrade is not supported by this server, WebSocket is needed: kubectl 1.30 or newer for exec, attach and "
                 "cp (1.29 with KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true), 1.31 or newer for port-forward");
  if (!has_token(request, "connection", "upgrade") || !has_token(request, "upgrade", "websocket"))
    return Error(PINTLE_BAD_REQUEST, "Upgrade request required: this resource is a stream and needs a WebSocket upgrade");
  if (request.method != "GET") return Error(PINTLE_BAD_REQUEST, "a WebSocket upgrade must be a GET request");
  if (request.header("sec-websocket-version") != "13") return Error(PINTLE_BAD_REQUEST, "unsupported Sec-WebSocket-Version: 13 is needed");
  const std::string key(request.header("sec-websocket-key"));
  if (key.size() != 24 || !key.ends_with("==")) return Error(PINTLE_BAD_REQUEST, "malformed Sec-WebSocket-Key");
  std::vector<std::string> offered;
  for (std::string& protocol : tokens(request, "sec-websocket-protocol"))
    if (!protocol.starts_with(kBearer)) offered.push_back(std::move(protocol));
  for (const std::string& ours : supported) {
    if (std::find(offered.begin(), offered.end(), ours) == offered.end()) continue;
    return WebSocketAccept{ours,
                           {{"Upgrade", "websocket"},
                            {"Connection", "Upgrade"},
                            {"Sec-WebSocket-Accept", accept_key(key)},
                            {"Sec-WebSocket-Protocol", ours}}};
  }
  return Error(PINTLE_BAD_REQUEST, "no common WebSocket subprotocol: the client offers " + join(offered) + ", this server speaks " + join(supported));
}

uint16_t WebSocketReader::begin_frame() {
  const unsigned first = head_[0], second = head_[1];
  if (first & 0x70) return 1002;           // no extension has been agreed
  if (!(second & 0x80)) return 1002;       // a client must mask
  final_ = (first & 0x80) != 0;
  const unsigned code = first & 0x0f;
  const bool control = code >= 8;
  if ((code > 2 && code < 8) || code > 10) return 1002;
  opcode_ = static_cast<WsOpcode>(code);
  const unsigned short_size = second & 0x7f;
  if (control && (!final_ || short_size > 125)) return 1002;
  size_t at = 2;
  uint64_t size = short_size;
  if (short_size >= 126) {
    const size_t count = short_size == 126 ? 2 : 8;
    size = 0;
    for (size_t i = 0; i < count; ++i) size = (size << 8) | head_[at + i];
    at += count;
    if (size < (count == 2 ? 126u : 65536u)) return 1002;  // not the shortest form
  }
  if (!control) {
    if ((opcode_ == WsOpcode::kContinuation) != in_message_) return 1002;
    if (size > max_message_ - message_.size()) return 1009;
    if (opcode_ != WsOpcode::kContinuation) message_opcode_ = opcode_;
    in_message_ = !final_;
  }
  remaining_ = static_cast<size_t>(size);
  memcpy(mask_, head_ + at, 4);
  mask_at_ = 0;
  in_payload_ = true;
  return 0;
}

uint16_t WebSocketReader::end_frame(const std::function<void(WsOpcode, std::string&&)>& sink) {
  in_payload_ = false;
  head_size_ = 0;
  head_needed_ = 2;
  if (static_cast<unsigned>(opcode_) >= 8) {
    std::string payload = std::move(control_);
    control_.clear();
    if (opcode_ == WsOpcode::kClose && !payload.empty()) {
      if (payload.size() == 1) return 1002;
      const unsigned code = static_cast<unsigned char>(payload[0]) * 256u + static_cast<unsigned char>(payload[1]);
      if (!good_close_code(code)) return 1002;
      if (!is_utf8(std::string_view(payload).substr(2))) return 1007;
    }
    sink(opcode_, std::move(payload));
    return 0;
  }
  if (!final_) return 0;
  std::string payload = std::move(message_);
  message_ = std::string();
  if (message_opcode_ == WsOpcode::kText && !is_utf8(payload)) return 1007;
  sink(message_opcode_, std::move(payload));
  return 0;
}

uint16_t WebSocketReader::feed(std::string_view bytes, const std::function<void(WsOpcode, std::string&&)>& sink) {
  while (!bytes.empty() || (in_payload_ && remaining_ == 0)) {
    if (!in_payload_) {
      const size_t take = std::min(bytes.size(), head_needed_ - head_size_);
      memcpy(head_ + head_size_, bytes.data(), take);
      head_size_ += take;
      bytes.remove_prefix(take);
      if (head_size_ < head_needed_) return 0;
      if (head_needed_ == 2) {
        const unsigned size = head_[1] & 0x7f;
        head_needed_ = 2 + (size == 126 ? 2 : size == 127 ? 8 : 0) + ((head_[1] & 0x80) ? 4 : 0);
        if (head_size_ < head_needed_) continue;
      }
      if (const uint16_t code = begin_frame()) return code;
      continue;
    }
    std::string& to = static_cast<unsigned>(opcode_) >= 8 ? control_ : message_;
    const size_t take = std::min(bytes.size(), remaining_), before = to.size();
    to.append(bytes.substr(0, take));
    for (size_t i = before; i < to.size(); ++i, ++mask_at_) to[i] = static_cast<char>(to[i] ^ static_cast<char>(mask_[mask_at_ & 3]));
    remaining_ -= take;
    bytes.remove_prefix(take);
    if (remaining_ == 0)
      if (const uint16_t code = end_frame(sink)) return code;
  }
  return 0;
}

std::string websocket_frame_head(WsOpcode opcode, size_t size) {
  std::string out;
  out.push_back(static_cast<char>(0x80 | static_cast<unsigned>(opcode)));
  if (size < 126) {
    out.push_back(static_cast<char>(size));
  } else if (size < 65536) {
    out.push_back(126);
    out.push_back(static_cast<char>(size >> 8));
    out.push_back(static_cast<char>(size));
  } else {
    out.push_back(127);
    for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(static_cast<uint64_t>(size) >> shift));
  }
  return out;
}

}  // namespace pintle::kernel

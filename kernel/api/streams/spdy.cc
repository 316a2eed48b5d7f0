#include "kernel/api/streams/spdy.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

namespace pintle::kernel {
namespace {

enum : uint16_t { kSynStream = 1, kSynReply = 2, kRstStream = 3, kSettings = 4, kPing = 6, kGoAway = 7, kHeaders = 8, kWindowUpdate = 9 };
constexpr uint8_t kFin = 1, kUnidirectional = 2;
constexpr size_t kMaxControlBytes = 64 << 10;
constexpr size_t kMaxHeaderFields = 100;
constexpr uint32_t kSettingInitialWindow = 7;

uint32_t u32(std::string_view s, size_t at) {
  return static_cast<uint32_t>(static_cast<unsigned char>(s[at])) << 24 | static_cast<uint32_t>(static_cast<unsigned char>(s[at + 1])) << 16 |
         static_cast<uint32_t>(static_cast<unsigned char>(s[at + 2])) << 8 | static_cast<uint32_t>(static_cast<unsigned char>(s[at + 3]));
}

void put32(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

std::string number32(uint32_t value) {
  std::string out;
  put32(out, value);
  return out;
}

}  // namespace

SpdySession::SpdySession(Events events) : events_(std::move(events)), inflate_(new z_stream{}), deflate_(new z_stream{}) {
  inflateInit(inflate_.get());
  deflateInit(deflate_.get(), 6);
  deflateSetDictionary(deflate_.get(), kSpdyDictionary, kSpdyDictionarySize);
}

SpdySession::~SpdySession() {
  inflateEnd(inflate_.get());
  deflateEnd(deflate_.get());
}

void SpdySession::send_control(uint16_t type, uint8_t flags, std::string_view body) {
  std::string frame;
  put32(frame, 0x80030000u | type);
  put32(frame, static_cast<uint32_t>(flags) << 24 | static_cast<uint32_t>(body.size()));
  frame += body;
  events_.send(frame);
}

void SpdySession::go_away() { send_control(kGoAway, 0, number32(last_stream_) + number32(failed_ ? 1 : 0)); }

void SpdySession::reset(uint32_t stream, SpdyReset why) {
  streams_.erase(stream);
  send_control(kRstStream, 0, number32(stream) + number32(static_cast<uint32_t>(why)));
}

bool SpdySession::feed(std::string_view bytes, std::string* error) {
  while (!failed_ && !bytes.empty()) {
    if (in_data_) {
      const size_t take = std::min(bytes.size(), data_remaining_);
      data_remaining_ -= take;
      const std::string_view piece = bytes.substr(0, take);
      bytes.remove_prefix(take);
      const bool last = data_remaining_ == 0;
      if (last) in_data_ = false;
      const auto found = streams_.find(data_stream_);
      const bool known = found != streams_.end() && !found->second.remote_closed;
      if (!known) {  // data may still be under way for a stream that has been given up
        consumed(0, take);
        continue;
      }
      const bool fin = last && data_fin_;
      if (fin) found->second.remote_closed = true;
      if (take > 0 || fin) events_.data(data_stream_, piece, fin);
      if (fin) drop_if_closed(data_stream_);
      continue;
    }
    const size_t want = control_.size() < 8 ? 8 : 8 + (u32(control_, 4) & 0xffffff);
    const size_t take = std::min(bytes.size(), want - control_.size());
    control_.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    if (control_.size() < 8) return true;
    const uint32_t length = u32(control_, 4) & 0xffffff;
    if (!(static_cast<unsigned char>(control_[0]) & 0x80)) {
      data_stream_ = u32(control_, 0);
      data_fin_ = (control_[4] & kFin) != 0;
      data_remaining_ = length;
      control_.clear();
      in_data_ = length > 0;
      if (length == 0 && data_fin_) remote_fin(data_stream_);
      continue;
    }
    if (length > kMaxControlBytes) {
      *error = "a SPDY control frame is too large";
      failed_ = true;
    } else if (control_.size() == 8 + length) {
      if (!control_frame(error)) failed_ = true;
      control_.clear();
    }
  }
  if (failed_) go_away();
  return !failed_;
}

void SpdySession::remote_fin(uint32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end() || found->second.remote_closed) return;
  found->second.remote_closed = true;
  events_.data(id, {}, true);
  drop_if_closed(id);
}

void SpdySession::drop_if_closed(uint32_t id) {
  const auto found = streams_.find(id);
  if (found != streams_.end() && found->second.local_closed && found->second.remote_closed) streams_.erase(found);
}

bool SpdySession::control_frame(std::string* error) {
  const std::string frame = std::move(control_);
  control_ = std::string();
  const uint32_t head = u32(frame, 0);
  const auto version = static_cast<uint16_t>((head >> 16) & 0x7fff), type = static_cast<uint16_t>(head);
  const auto flags = static_cast<uint8_t>(frame[4]);
  const std::string_view body = std::string_view(frame).substr(8);
  *error = "a SPDY frame is malformed";
  if (version != 3) {
    *error = "only SPDY version 3 is understood";
    return false;
  }
  switch (type) {
    case kSynStream: return syn_stream(body, flags, error);
    case kSynReply: return false;  // we open no streams
    case kRstStream: {
      if (body.size() != 8) return false;
      const uint32_t id = u32(body, 0) & 0x7fffffff;
      if (streams_.erase(id) > 0) events_.reset(id);
      return true;
    }
    case kSettings: return settings(body);
    case kPing: {
      if (body.size() != 4) return false;
      if (u32(body, 0) & 1) send_control(kPing, 0, body);  // odd: the client's, to be returned
      return true;
    }
    case kGoAway: return body.size() == 8;
    case kHeaders: {
      // More headers for a stream mean nothing here, but the compression state must follow them.
      Headers ignored;
      if (body.size() < 4 || !read_headers(body.substr(4), &ignored)) return false;
      if (flags & kFin) remote_fin(u32(body, 0) & 0x7fffffff);
      return true;
    }
    case kWindowUpdate: return window_update(body);
    default: return true;  // unknown control frames are to be ignored
  }
}

bool SpdySession::syn_stream(std::string_view body, uint8_t flags, std::string* error) {
  if (body.size() < 10) return false;
  const uint32_t id = u32(body, 0) & 0x7fffffff;
  Headers headers;
  if (!read_headers(body.substr(10), &headers)) {
    *error = "a SPDY header block is malformed or too large";
    return false;
  }
  if (id % 2 == 0 || id <= last_stream_) {
    reset(id, SpdyReset::kProtocolError);
    return true;
  }
  last_stream_ = id;
  if (streams_.size() >= kMaxStreams) {
    reset(id, SpdyReset::kRefusedStream);
    return true;
  }
  Stream& stream = streams_[id];
  stream.send_window = initial_window_;
  stream.local_closed = (flags & kUnidirectional) != 0;
  if (!events_.opened(id, headers)) {
    reset(id, SpdyReset::kRefusedStream);
    return true;
  }
  send_control(kSynReply, 0, number32(id) + write_headers({}));
  if (flags & kFin) remote_fin(id);
  return true;
}

bool SpdySession::settings(std::string_view body) {
  if (body.size() < 4) return false;
  const uint32_t count = u32(body, 0);
  if (body.size() != 4 + static_cast<size_t>(count) * 8 || count > 1000) return false;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t id = u32(body, 4 + i * 8) & 0xffffff, value = u32(body, 8 + i * 8);
    if (id != kSettingInitialWindow) continue;
    if (value > 0x7fffffff) return false;
    const int64_t change = static_cast<int64_t>(value) - initial_window_;
    initial_window_ = value;
    flow_control_ = true;
    for (auto& [stream, state] : streams_) state.send_window += change;
  }
  events_.window(0);
  return true;
}

bool SpdySession::window_update(std::string_view body) {
  if (body.size() != 8) return false;
  const uint32_t id = u32(body, 0) & 0x7fffffff, more = u32(body, 4) & 0x7fffffff;
  flow_control_ = true;
  if (id == 0) {
    session_window_ += more;
    if (session_window_ > 0x7fffffff) return false;
  } else if (const auto found = streams_.find(id); found != streams_.end()) {
    found->second.send_window += more;
    if (found->second.send_window > 0x7fffffff) {
      reset(id, SpdyReset::kFlowControlError);
      events_.reset(id);
      return true;
    }
  }
  events_.window(id);
  return true;
}

bool SpdySession::read_headers(std::string_view block, Headers* out) {
  std::string plain(kMaxHeaderBytes, '\0');
  // zlib does not write through next_in.
  inflate_->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(block.data()));
  inflate_->avail_in = static_cast<uInt>(block.size());
  inflate_->next_out = reinterpret_cast<Bytef*>(plain.data());
  inflate_->avail_out = static_cast<uInt>(plain.size());
  int rc = Z_OK;
  while (inflate_->avail_in > 0 && inflate_->avail_out > 0) {
    rc = inflate(inflate_.get(), Z_SYNC_FLUSH);
    if (rc == Z_NEED_DICT) rc = inflateSetDictionary(inflate_.get(), kSpdyDictionary, kSpdyDictionarySize);
    if (rc != Z_OK) break;
  }
  if (rc != Z_OK || inflate_->avail_in > 0) return false;
  plain.resize(plain.size() - inflate_->avail_out);
  const std::string_view text = plain;
  if (text.size() < 4) return false;
  const uint32_t count = u32(text, 0);
  if (count > kMaxHeaderFields) return false;
  size_t at = 4;
  const auto next = [&](std::string_view* value) {
    if (text.size() - at < 4) return false;
    const uint32_t size = u32(text, at);
    at += 4;
    if (size > text.size() - at) return false;
    *value = text.substr(at, size);
    at += size;
    return true;
  };
  for (uint32_t i = 0; i < count; ++i) {
    std::string_view name, value;
    if (!next(&name) || name.empty() || !next(&value)) return false;
    std::string lower(name);
    for (char& c : lower)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    out->emplace_back(std::move(lower), std::string(value.substr(0, value.find('\0'))));  // the first of several values
  }
  return at == text.size();
}

std::string SpdySession::write_headers(const Headers& headers) {
  std::string plain;
  put32(plain, static_cast<uint32_t>(headers.size()));
  for (const auto& [name, value] : headers) {
    put32(plain, static_cast<uint32_t>(name.size()));
    plain += name;
    put32(plain, static_cast<uint32_t>(value.size()));
    plain += value;
  }
  std::string out(plain.size() + 256, '\0');
  deflate_->next_in = reinterpret_cast<Bytef*>(plain.data());
  deflate_->avail_in = static_cast<uInt>(plain.size());
  deflate_->next_out = reinterpret_cast<Bytef*>(out.data());
  deflate_->avail_out = static_cast<uInt>(out.size());
  deflate(deflate_.get(), Z_SYNC_FLUSH);
  out.resize(out.size() - deflate_->avail_out);
  return out;
}

size_t SpdySession::room(uint32_t stream) const {
  const auto found = streams_.find(stream);
  if (found == streams_.end() || found->second.local_closed) return 0;
  if (!flow_control_) return std::numeric_limits<size_t>::max();
  return static_cast<size_t>(std::max<int64_t>(0, std::min(found->second.send_window, session_window_)));
}

void SpdySession::send_data(uint32_t stream, std::string_view data, bool fin) {
  const auto found = streams_.find(stream);
  if (found == streams_.end() || found->second.local_closed || (data.empty() && !fin)) return;
  std::string frame;
  frame.reserve(8 + data.size());
  put32(frame, stream);
  put32(frame, (fin ? static_cast<uint32_t>(kFin) << 24 : 0) | static_cast<uint32_t>(data.size()));
  frame += data;
  found->second.send_window -= static_cast<int64_t>(data.size());
  session_window_ -= static_cast<int64_t>(data.size());
  if (fin) found->second.local_closed = true;
  drop_if_closed(stream);
  events_.send(frame);
}

void SpdySession::consumed(uint32_t stream, size_t count) {
  const auto update = [this](uint32_t id, size_t& unacknowledged) {
    if (unacknowledged < static_cast<size_t>(kInitialWindow) / 2) return;
    send_control(kWindowUpdate, 0, number32(id) + number32(static_cast<uint32_t>(unacknowledged)));
    unacknowledged = 0;
  };
  session_unacknowledged_ += count;
  update(0, session_unacknowledged_);
  const auto found = streams_.find(stream);
  if (found == streams_.end() || found->second.remote_closed) return;
  found->second.unacknowledged += count;
  update(stream, found->second.unacknowledged);
}

}  // namespace pintle::kernel

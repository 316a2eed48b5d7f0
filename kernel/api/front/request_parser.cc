#include "kernel/api/front/request_parser.h"

#include <algorithm>

namespace pintle::kernel {
namespace {

constexpr size_t kMaxFields = 200;
constexpr size_t kMaxChunkLine = 256;

bool is_token(std::string_view s) {
  if (s.empty()) return false;
  return std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

bool list_has(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    if (lower(trim(list.substr(0, comma))) == token) return true;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace

void RequestParser::reset() {
  state_ = State::kHeader;
  keep_alive_ = true;
  http10_ = expects_continue_ = chunked_ = false;
  chunk_ = Chunk::kSize;
  remaining_ = trailer_bytes_ = 0;
  std::string().swap(block_);
  request_ = HttpRequest();
  refusal_ = Refusal();
}

void RequestParser::refuse(int code, std::string message) {
  state_ = State::kRefused;
  keep_alive_ = false;
  refusal_ = Refusal{code, std::move(message)};
}

void RequestParser::too_large() { refuse(413, "Request entity too large: limit is " + std::to_string(max_body_)); }

size_t RequestParser::feed(std::string_view bytes) {
  size_t used = 0;
  while (used < bytes.size() && (state_ == State::kHeader || state_ == State::kBody)) {
    const std::string_view rest = bytes.substr(used);
    used += state_ == State::kHeader ? feed_header(rest) : chunked_ ? feed_chunked(rest) : feed_body(rest);
  }
  return used;
}

size_t RequestParser::feed_header(std::string_view bytes) {
  const size_t before = block_.size();
  const size_t take = std::min(bytes.size(), max_header_ + 1 - before);
  block_.append(bytes.substr(0, take));
  if (before < 2 && block_.starts_with("\r\n")) {  // an empty line before a request is allowed to be skipped
    block_.clear();
    return 2 - before;
  }
  const size_t end = block_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
  if (end == std::string::npos) {
    if (block_.size() > max_header_) refuse(431, "the request header is larger than " + std::to_string(max_header_) + " bytes");
    return take;
  }
  block_.resize(end + 2);
  const size_t used = end + 4 - before;
  parse_block();
  return used;
}

bool RequestParser::parse_request_line(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || line.find(' ', second + 1) != std::string_view::npos) {
    refuse(400, "malformed HTTP request line");
    return false;
  }
  const std::string_view method = line.substr(0, first), target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  if (!is_token(method) || method.size() > 32) {
    refuse(400, "malformed HTTP method");
    return false;
  }
  if (target.empty() || !std::all_of(target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7f; })) {
    refuse(400, "the request target holds a character that must be percent-encoded");
    return false;
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    if (version.starts_with("HTTP/"))
      refuse(505, "this server speaks HTTP/1.1 only");
    else
      refuse(400, "malformed HTTP request line");
    return false;
  }
  request_.method = std::string(method);
  request_.target = std::string(target);
  http10_ = version == "HTTP/1.0";
  return true;
}

bool RequestParser::parse_field(std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t') {
    refuse(400, "folded header lines are not allowed");
    return false;
  }
  const size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  if (colon == std::string_view::npos || !is_token(name)) {
    refuse(400, "malformed HTTP header field");
    return false;
  }
  const std::string_view value = trim(line.substr(colon + 1));
  const bool clean = std::all_of(value.begin(), value.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u == '\t' || (u >= 0x20 && u != 0x7f);
  });
  if (!clean) {
    refuse(400, "the header field \"" + std::string(name) + "\" holds a control character");
    return false;
  }
  if (request_.headers.size() == kMaxFields) {
    refuse(431, "the request has more than " + std::to_string(kMaxFields) + " header fields");
    return false;
  }
  request_.headers.emplace_back(lower(name), std::string(value));
  return true;
}

void RequestParser::parse_block() {
  std::string_view rest = block_;
  bool first = true;
  while (!rest.empty()) {
    const size_t end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 2);
    if (line.find('\n') != std::string_view::npos || line.find('\r') != std::string_view::npos) {
      refuse(400, "header lines must end with CR LF");
      return;
    }
    if (!(first ? parse_request_line(line) : parse_field(line))) return;
    first = false;
  }
  std::string().swap(block_);
  decide_framing();
}

void RequestParser::decide_framing() {
  const std::string* length = nullptr;
  const std::string* coding = nullptr;
  const std::string* expect = nullptr;
  int hosts = 0;
  bool close = false, keep = false;
  for (const auto& [name, value] : request_.headers) {
    if (name == "content-length") {
      if (length) return refuse(400, "several Content-Length header fields");
      length = &value;
    } else if (name == "transfer-encoding") {
      if (coding) return refuse(400, "several Transfer-Encoding header fields");
      coding = &value;
    } else if (name == "host") {
      ++hosts;
    } else if (name == "connection") {
      close = close || list_has(value, "close");
      keep = keep || list_has(value, "keep-alive");
    } else if (name == "expect") {
      expect = &value;
    }
  }
  if (hosts > 1 || (hosts == 0 && !http10_)) return refuse(400, "an HTTP/1.1 request needs exactly one Host header field");
  keep_alive_ = !close && (!http10_ || keep);
  if (coding) {
    if (length) return refuse(400, "both Transfer-Encoding and Content-Length are given");
    if (http10_) return refuse(400, "Transfer-Encoding needs HTTP/1.1");
    if (lower(*coding) != "chunked") return refuse(501, "unsupported Transfer-Encoding: only chunked is understood");
    chunked_ = true;
  }
  if (length) {
    if (length->empty() || length->size() > 18 || !std::all_of(length->begin(), length->end(), [](char c) { return c >= '0' && c <= '9'; }))
      return refuse(400, "malformed Content-Length");
    remaining_ = std::stoull(*length);
    if (remaining_ > max_body_) return too_large();
  }
  if (expect) {
    if (lower(*expect) != "100-continue") return refuse(417, "unsupported Expect header field");
    expects_continue_ = !http10_ && (chunked_ || remaining_ > 0);
  }
  state_ = chunked_ || remaining_ > 0 ? State::kBody : State::kComplete;
}

size_t RequestParser::feed_body(std::string_view bytes) {
  const size_t take = std::min(bytes.size(), remaining_);
  // Memory follows what has arrived, not what was announced.
  request_.body.append(bytes.substr(0, take));
  remaining_ -= take;
  if (remaining_ == 0) state_ = State::kComplete;
  return take;
}

// One line of chunked framing is complete in block_, without CR LF.
void RequestParser::chunk_line() {
  if (chunk_ == Chunk::kTrailer) {
    if (block_.empty()) state_ = State::kComplete;  // trailers are read and dropped
    block_.clear();
    return;
  }
  std::string_view digits = std::string_view(block_).substr(0, block_.find(';'));
  digits = trim(digits);
  size_t size = 0;
  bool good = !digits.empty() && digits.size() <= 8;
  for (const char c : digits) {
    const char l = static_cast<char>(c | 0x20);
    if (c >= '0' && c <= '9') size = size * 16 + static_cast<size_t>(c - '0');
    else if (l >= 'a' && l <= 'f') size = size * 16 + static_cast<size_t>(l - 'a' + 10);
    else good = false;
  }
  if (!good) return refuse(400, "malformed chunk size");
  block_.clear();
  if (size > max_body_ - request_.body.size()) return too_large();
  remaining_ = size;
  chunk_ = size == 0 ? Chunk::kTrailer : Chunk::kData;
}

size_t RequestParser::feed_chunked(std::string_view bytes) {
  if (chunk_ == Chunk::kData) {
    const size_t take = std::min(bytes.size(), remaining_);
    request_.body.append(bytes.substr(0, take));
    remaining_ -= take;
    if (remaining_ == 0) chunk_ = Chunk::kDataEnd;
    return take;
  }
  if (chunk_ == Chunk::kDataEnd) {
    block_.push_back(bytes[0]);
    if (block_ == "\r\n") {
      block_.clear();
      chunk_ = Chunk::kSize;
    } else if (block_ != "\r") {
      refuse(400, "a chunk is longer than its size says");
    }
    return 1;
  }
  const size_t newline = bytes.find('\n');
  const size_t take = newline == std::string_view::npos ? bytes.size() : newline + 1;
  const size_t limit = chunk_ == Chunk::kTrailer ? max_header_ : kMaxChunkLine;
  if (chunk_ == Chunk::kTrailer) trailer_bytes_ += take;
  if (block_.size() + take > limit || trailer_bytes_ > max_header_) {
    refuse(400, "a line of the chunked body is too long");
    return take;
  }
  block_.append(bytes.substr(0, take));
  if (newline == std::string_view::npos) return take;
  if (block_.size() < 2 || block_[block_.size() - 2] != '\r' || block_.find('\r') != block_.size() - 2) {
    refuse(400, "lines of a chunked body must end with CR LF");
    return take;
  }
  block_.resize(block_.size() - 2);
  chunk_line();
  return take;
}

}  // namespace pintle::kernel

// HTTP/1.1 requests from bytes, strictly: what is unclear is refused, so that no second reader can see another request.
//
// Feeding is incremental; nothing is allocated while no byte of a request has arrived.
// Threads: none of its own; one caller at a time.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "kernel/api/front/http.h"
#include "kernel/api/front/refusal.h"

namespace pintle::kernel {

class RequestParser {
 public:
  enum class State { kHeader, kBody, kComplete, kRefused };

  RequestParser(size_t max_header_bytes, size_t max_body_bytes) : max_header_(max_header_bytes), max_body_(max_body_bytes) {}

  // Takes bytes of the present request and returns how many; bytes after a complete request are left to the next one.
  size_t feed(std::string_view bytes);
  State state() const { return state_; }
  bool started() const { return state_ != State::kHeader || !block_.empty(); }
  const Refusal& refusal() const { return refusal_; }  // of kRefused

  // After the header block:
  bool keep_alive() const { return keep_alive_; }
  bool http10() const { return http10_; }
  bool head() const { return request_.method == "HEAD"; }
  bool expects_continue() const { return expects_continue_; }  // the client waits for "100 Continue" before it sends the body
  size_t body_bytes() const { return request_.body.size(); }   // so far

  // The complete request (path and query not decoded yet). Then reset() makes the parser ready for the next one.
  HttpRequest take() { return std::move(request_); }
  void reset();

 private:
  enum class Chunk { kSize, kData, kDataEnd, kTrailer };
  void refuse(int code, std::string message);
  size_t feed_header(std::string_view bytes);
  size_t feed_body(std::string_view bytes);
  size_t feed_chunked(std::string_view bytes);
  void parse_block();
  bool parse_request_line(std::string_view line);
  bool parse_field(std::string_view line);
  void decide_framing();
  void chunk_line();
  void too_large();

  const size_t max_header_, max_body_;
  State state_ = State::kHeader;
  bool keep_alive_ = true, http10_ = false, expects_continue_ = false, chunked_ = false;
  Chunk chunk_ = Chunk::kSize;
  size_t remaining_ = 0;     // of the body or of the present chunk
  size_t trailer_bytes_ = 0;
  std::string block_;        // the header block so far; later one line of chunked framing
  HttpRequest request_;
  Refusal refusal_;
};

}  // namespace pintle::kernel

#include "kernel/api/front/answer.h"

#include <time.h>

#include <algorithm>
#include <cstdio>

namespace pintle::kernel {
namespace {

std::string date_text(int64_t wall_ns) {
  static const char* const kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static const char* const kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const time_t seconds = static_cast<time_t>(wall_ns / 1000000000);
  thread_local time_t written = -1;
  thread_local char text[64];
  if (seconds == written) return text;
  written = seconds;
  struct tm t {};
  gmtime_r(&seconds, &t);
  snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[t.tm_wday], t.tm_mday, kMonths[t.tm_mon], t.tm_year + 1900,
           t.tm_hour, t.tm_min, t.tm_sec);
  return text;
}

bool has_no_body(int code) { return code == 204 || code == 304 || code < 200; }

Chunk chunk_of(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

// A value must not be able to add a line of its own.
void append_clean(std::string& out, const std::string& value) {
  for (const char c : value) out.push_back(c == '\r' || c == '\n' || c == '\0' ? ' ' : c);
}

}  // namespace

Answer::Answer(std::shared_ptr<Connection> connection, uint64_t exchange, bool keep_alive, bool http10, bool head)
    : connection_(std::move(connection)), exchange_(exchange), keep_alive_(keep_alive), http10_(http10), head_(head) {}

Answer::~Answer() {
  if (stage_ == Stage::kOpen) {
    Refusal refusal{500, "the request was dropped without an answer"};
    send(500, {{"Content-Type", "application/json"}}, {chunk_of(refusal_body(refusal))});
  } else if (stage_ != Stage::kDone) {
    connection_->abort(exchange_);
  }
}

std::string Answer::head_block(int code, const Headers& headers) const {
  std::string out;
  out.reserve(256);
  out += "HTTP/1.1 " + std::to_string(code) + " " + http_reason(code) + "\r\n";
  for (const auto& [name, value] : headers) {
    append_clean(out, name);
    out += ": ";
    append_clean(out, value);
    out += "\r\n";
  }
  if (code != 101) {
    out += "Date: " + date_text(connection_->core().executor.wall()) + "\r\n";
    if (!keep_alive_) out += "Connection: close\r\n";
    else if (http10_) out += "Connection: keep-alive\r\n";
  }
  auto& by_class = connection_->core().counters.answers;
  by_class[static_cast<size_t>(std::clamp(code / 100, 0, 5))].fetch_add(1, std::memory_order_relaxed);
  return out;
}

void Answer::send(int code, Headers headers, std::vector<Chunk> body) {
  if (stage_ != Stage::kOpen) return;
  stage_ = Stage::kDone;
  size_t length = 0;
  for (const Chunk& chunk : body) length += chunk ? chunk->size() : 0;
  std::string head = head_block(code, headers);
  if (!has_no_body(code)) head += "Content-Length: " + std::to_string(length) + "\r\n";
  head += "\r\n";
  std::vector<Chunk> chunks;
  if (!head_ && !has_no_body(code) && length > 0) {
    chunks.reserve(body.size() + 1);
    chunks.push_back(chunk_of(std::move(head)));
    for (Chunk& chunk : body) chunks.push_back(std::move(chunk));
  } else {
    chunks.push_back(chunk_of(std::move(head)));
  }
  connection_->push(exchange_, std::move(chunks), keep_alive_ ? Connection::End::kKeep : Connection::End::kClose);
}

void Answer::start(int code, Headers headers) {
  if (stage_ != Stage::kOpen) return;
  stage_ = Stage::kStreaming;
  connection_->set_streaming(exchange_);
  std::string head = head_block(code, headers);
  if (!http10_ && !has_no_body(code)) head += "Transfer-Encoding: chunked\r\n";  // HTTP/1.0: the end of the connection ends the body
  head += "\r\n";
  connection_->push(exchange_, {chunk_of(std::move(head))}, Connection::End::kMore);
}

size_t Answer::write(Chunk chunk) {
  if (!chunk || chunk->empty() || stage_ == Stage::kDone || stage_ == Stage::kOpen || head_) return connection_->queued();
  if (stage_ == Stage::kPipe || http10_) return connection_->push(exchange_, {std::move(chunk)}, Connection::End::kMore);
  static const Chunk kLineEnd = chunk_of("\r\n");
  char size[20];
  snprintf(size, sizeof size, "%zx\r\n", chunk->size());
  std::vector<Chunk> chunks;
  chunks.reserve(3);
  chunks.push_back(chunk_of(size));
  chunks.push_back(std::move(chunk));
  chunks.push_back(kLineEnd);
  return connection_->push(exchange_, std::move(chunks), Connection::End::kMore);
}

void Answer::finish() {
  if (stage_ == Stage::kDone || stage_ == Stage::kOpen) return;
  static const Chunk kLastChunk = chunk_of("0\r\n\r\n");
  std::vector<Chunk> chunks;
  if (stage_ == Stage::kStreaming && !http10_ && !head_) chunks.push_back(kLastChunk);
  const bool close = stage_ == Stage::kPipe || !keep_alive_ || http10_;
  stage_ = Stage::kDone;
  connection_->push(exchange_, std::move(chunks), close ? Connection::End::kClose : Connection::End::kKeep);
}

void Answer::abort() {
  stage_ = Stage::kDone;
  connection_->abort(exchange_);
}

void Answer::on_drained(size_t low_water, std::function<void()> fn) { connection_->on_drained(exchange_, low_water, std::move(fn)); }

void Answer::on_closed(std::function<void()> fn) { connection_->on_closed(exchange_, std::move(fn)); }

void Answer::upgrade(Headers headers, std::function<void(std::string_view)> on_data) {
  if (stage_ != Stage::kOpen) return;
  stage_ = Stage::kPipe;
  connection_->begin_pipe(exchange_, chunk_of(head_block(101, headers) + "\r\n"), std::move(on_data));
}

void send_refusal(const std::shared_ptr<Responder>& answer, const Refusal& refusal) {
  Headers headers{{"Content-Type", "application/json"}, {"Cache-Control", "no-cache, private"}};
  if (refusal.retry_after_s > 0) headers.emplace_back("Retry-After", std::to_string(refusal.retry_after_s));
  answer->send(refusal.code, std::move(headers), refusal_body(refusal));
}

}  // namespace pintle::kernel

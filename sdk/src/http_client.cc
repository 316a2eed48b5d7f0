#include "pintle/http_client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <system_error>

#include <strings.h>

namespace pintle {

namespace {

constexpr size_t kMaxHead = 64u << 10;
constexpr size_t kReadSize = 32u << 10;
constexpr int kReadsPerTurn = 8;

bool same_name(std::string_view a, std::string_view b) { return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0; }

bool has_header(const HttpHeaders& headers, std::string_view name) {
  for (const auto& [k, v] : headers)
    if (same_name(k, name)) return true;
  return false;
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r')) s.remove_suffix(1);
  return s;
}

// The number in `s` (digits of `base`), or nullopt. Bounded, so that a hostile length cannot overflow.
std::optional<uint64_t> number(std::string_view s, unsigned base) {
  if (s.empty() || s.size() > 15) return std::nullopt;
  uint64_t n = 0;
  for (char c : s) {
    unsigned d = 99;
    if (c >= '0' && c <= '9') d = static_cast<unsigned>(c - '0');
    else if (c >= 'a' && c <= 'f') d = static_cast<unsigned>(c - 'a' + 10);
    else if (c >= 'A' && c <= 'F') d = static_cast<unsigned>(c - 'A' + 10);
    if (d >= base) return std::nullopt;
    n = n * base + d;
  }
  return n;
}

std::string chunk_of(std::string_view piece) {
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
  std::string out(size);
  out.append(piece);
  out += "\r\n";
  return out;
}

bool control(char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }

bool one_word(std::string_view s, std::string_view without = {}) {
  return !s.empty() && std::none_of(s.begin(), s.end(), [&](char c) { return control(c) || c == ' ' || without.find(c) != without.npos; });
}

// The part that could end its line early and begin another header or request; null = there is none.
const char* unsafe_part(const HttpRequest& r) {
  if (!one_word(r.method, ":/")) return "method";
  if (!one_word(r.path)) return "path";
  if (!one_word(r.address)) return "address";
  for (const auto& [name, value] : r.headers) {
    if (!one_word(name, ":")) return "header name";
    if (std::any_of(value.begin(), value.end(), [](char c) { return control(c) && c != '\t'; })) return "header value";
  }
  return nullptr;
}

std::string render(const HttpRequest& r) {
  std::string out = r.method + " " + r.path + " HTTP/1.1\r\n";
  const auto add = [&](std::string_view k, std::string_view v) {
    if (has_header(r.headers, k)) return;
    out.append(k).append(": ").append(v).append("\r\n");
  };
  add("Host", r.address.starts_with("tcp:") ? std::string_view(r.address).substr(4) : std::string_view("localhost"));
  if (r.hijack) {
    add("Connection", "Upgrade");
    add("Upgrade", "tcp");
  } else {
    add("Connection", "close");
  }
  if (r.next_piece) add("Transfer-Encoding", "chunked");
  else if (!r.body.empty() || r.method == "POST" || r.method == "PUT") add("Content-Length", std::to_string(r.body.size()));
  for (const auto& [k, v] : r.headers) out.append(k).append(": ").append(v).append("\r\n");
  out += "\r\n";
  if (!r.next_piece) out += r.body;
  return out;
}

}  // namespace

std::string_view HttpResponse::header(std::string_view name) const {
  for (const auto& [k, v] : headers)
    if (same_name(k, name)) return v;
  return {};
}

struct HttpClient::Shared {
  explicit Shared(const Host& h) : host(h) {}
  const Host host;
  std::mutex mutex;
  bool closed = false;
  std::map<HttpExchange::State*, std::shared_ptr<HttpExchange::State>> open;  // keeps running exchanges alive
};

// Everything but `strand` is touched on the strand only, or after it was closed.
struct HttpExchange::State : std::enable_shared_from_this<HttpExchange::State> {
  State(const std::shared_ptr<HttpClient::Shared>& s, HttpRequest r, HttpHandlers h)
      : shared(s), host(s->host), request(std::move(r)), handlers(std::move(h)), strand(host) {}
  ~State() {
    release();
  }

  std::weak_ptr<HttpClient::Shared> shared;
  const Host host;
  HttpRequest request;
  HttpHandlers handlers;
  Strand strand;
  FdWatch watch;
  Timer head_timer, total_timer;
  int fd = -1;
  bool connected = false, head_done = false, over = false, paused = false, peer_closed = false, pieces_done = false;
  std::string out;      // to be written
  size_t out_at = 0;
  std::string in;       // read, not yet understood
  HttpResponse response;
  enum class Body { kNone, kLength, kChunked, kUntilClose } mode = Body::kNone;
  enum class Chunk { kSize, kData, kDataEnd, kTrailer } chunk = Chunk::kSize;
  uint64_t left = 0;  // of the body or of the chunk

  void release() {
    watch.reset();
    head_timer.reset();
    total_timer.reset();
    if (fd >= 0) ::close(std::exchange(fd, -1));
  }

  // Lets the client forget this exchange; `self` of the caller keeps it alive until the callback returned.
  void retire() {
    over = true;
    release();
    if (auto s = shared.lock()) {
      std::shared_ptr<State> keep;
      std::lock_guard lock(s->mutex);
      auto it = s->open.find(this);
      if (it != s->open.end()) {
        keep = std::move(it->second);
        s->open.erase(it);
      }
    }
  }
  void end(Result<void> result) {
    if (over) return;
    const auto self = shared_from_this();
    auto fn = std::move(handlers.ended);
    retire();
    if (fn) fn(std::move(result));
  }
  void fail(pintle_code code, std::string text) { end(Error(code, request.method + " " + request.path + " at " + request.address + ": " + std::move(text))); }

  Timer deadline(uint64_t ns, const char* what) {
    return host.after(ns, [weak = weak_from_this(), what, ns] {
      if (auto s = weak.lock())
        s->strand.post([weak, what, ns] {
          auto t = weak.lock();
          if (t && !t->over) t->fail(PINTLE_TIMEOUT, std::string(what) + " took longer than " + std::to_string(ns / 1000000) + " ms");
        });
    });
  }

  void begin() {
    if (over) return;
    if (const char* part = unsafe_part(request)) return end(Error(PINTLE_INVALID, std::string("the ") + part + " of an HTTP request is empty or holds a space or control character"));
    Result<int> made = host.connect(request.address);
    if (!made) return fail(made.error().code == PINTLE_OK ? PINTLE_UNAVAILABLE : made.error().code, made.error().text);
    fd = *made;
    out = render(request);
    if (request.head_timeout_ns) head_timer = deadline(request.head_timeout_ns, "the answer's headers");
    if (request.total_timeout_ns) total_timer = deadline(request.total_timeout_ns, "the exchange");
    watch = host.watch_fd(fd, [weak = weak_from_this()](uint32_t) {
      if (auto s = weak.lock())
        s->strand.post([weak] {
          if (auto t = weak.lock()) t->turn();
        });
    });
    watch.arm(PINTLE_WRITABLE);
  }

  void turn() {
    const auto self = shared_from_this();
    if (over) return;
    if (!connected) {
      int error = 0;
      socklen_t len = sizeof error;
      if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) error = errno;
      if (error == EINPROGRESS) return watch.arm(PINTLE_WRITABLE);
      if (error != 0) return fail(PINTLE_UNAVAILABLE, std::generic_category().message(error));
      connected = true;
    }
    if (!write_some()) return;
    if (!paused) read_some();
    if (!over) rearm();
  }
  void rearm() {
    uint32_t want = 0;
    if (!paused) want |= PINTLE_READABLE;
    if (out_at < out.size()) want |= PINTLE_WRITABLE;
    if (want) watch.arm(want);
  }

  // false: the exchange is over.
  bool write_some() {
    for (;;) {
      if (out_at == out.size()) {
        out.clear();
        out_at = 0;
        if (!request.next_piece || pieces_done) return true;
        const std::optional<std::string> piece = request.next_piece();
        if (!piece) {
          pieces_done = true;
          out = "0\r\n\r\n";
        } else if (!piece->empty()) {
          out = chunk_of(*piece);
        }
        continue;
      }
      const ssize_t n = ::send(fd, out.data() + out_at, out.size() - out_at, MSG_NOSIGNAL);
      if (n > 0) {
        out_at += static_cast<size_t>(n);
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
      // The peer may have answered early and closed its reading side: the answer counts.
      if (errno == EPIPE || errno == ECONNRESET) {
        out.clear();
        out_at = 0;
        pieces_done = true;
        return true;
      }
      fail(PINTLE_UNAVAILABLE, std::string("write: ") + std::generic_category().message(errno));
      return false;
    }
  }

  void read_some() {
    char buffer[kReadSize];
    for (int i = 0; i < kReadsPerTurn && !over && !paused && !peer_closed; ++i) {
      const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
      if (n > 0) {
        in.append(buffer, static_cast<size_t>(n));
        understand();
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      peer_closed = true;
      if (n < 0 && errno != ECONNRESET) return fail(PINTLE_UNAVAILABLE, std::string("read: ") + std::generic_category().message(errno));
    }
    if (peer_closed && !over && !paused) finish_at_close();
  }
  void finish_at_close() {
    understand();
    if (over || paused) return;
    if (!head_done) return fail(PINTLE_UNAVAILABLE, "the connection was closed before an answer came");
    if (mode == Body::kUntilClose) return end({});
    fail(PINTLE_UNAVAILABLE, "the connection was closed in the middle of the body");
  }

  void understand() {
    if (!head_done && !read_head()) return;
    if (!over) read_body();
  }

  // true: the headers are complete.
  bool read_head() {
    for (;;) {
      const size_t end_at = in.find("\r\n\r\n");
      if (end_at == std::string::npos) {
        if (in.size() > kMaxHead) fail(PINTLE_BAD_REQUEST, "the headers are longer than 64 KiB");
        else if (in.size() >= 5 && in.compare(0, 5, "HTTP/") != 0) fail(PINTLE_BAD_REQUEST, "the answer is not HTTP");
        return false;
      }
      const std::string head = in.substr(0, end_at + 2);
      in.erase(0, end_at + 4);
      if (head.compare(0, 7, "HTTP/1.") != 0 || head.size() < 12) {
        fail(PINTLE_BAD_REQUEST, "the answer is not HTTP/1");
        return false;
      }
      const auto status = number(std::string_view(head).substr(9, 3), 10);
      if (!status || *status < 100) {
        fail(PINTLE_BAD_REQUEST, "the status line has no status");
        return false;
      }
      response = {};
      response.status = static_cast<int>(*status);
      size_t at = head.find("\r\n") + 2;
      while (at < head.size()) {
        const size_t line_end = head.find("\r\n", at);
        const std::string_view line = std::string_view(head).substr(at, line_end - at);
        at = line_end + 2;
        const size_t colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        response.headers.emplace_back(std::string(trim(line.substr(0, colon))), std::string(trim(line.substr(colon + 1))));
      }
      if (response.status >= 200 || response.status == 101) break;
    }
    head_done = true;
    head_timer.reset();
    if (response.status == 101 && !request.hijack) {
      fail(PINTLE_BAD_REQUEST, "the server switched protocols without being asked");
      return false;
    }
    const std::string_view length = response.header("Content-Length"), coding = response.header("Transfer-Encoding");
    if (request.hijack && (response.status == 101 || (response.status == 200 && coding.empty() && length.empty()))) {
      upgrade();
      return false;
    }
    if (request.method == "HEAD" || response.status == 204 || response.status == 304) {
      mode = Body::kNone;
    } else if (same_name(coding, "chunked")) {
      mode = Body::kChunked;
    } else if (!coding.empty()) {
      fail(PINTLE_BAD_REQUEST, "unknown transfer coding \"" + std::string(coding) + "\"");
      return false;
    } else if (!length.empty()) {
      const auto n = number(length, 10);
      if (!n) {
        fail(PINTLE_BAD_REQUEST, "bad Content-Length");
        return false;
      }
      mode = Body::kLength;
      left = *n;
    } else {
      mode = Body::kUntilClose;
    }
    if (handlers.head) handlers.head(response);
    return !over;
  }

  void upgrade() {
    const auto self = shared_from_this();
    auto fn = std::move(handlers.upgraded);
    watch.reset();
    const int mine = std::exchange(fd, -1);
    retire();
    if (fn) fn(std::move(response), mine, std::move(in));
    else ::close(mine);
  }

  // Gives bytes to the owner of the exchange.
  void deliver(std::string_view bytes_) {
    if (!bytes_.empty() && handlers.data && !handlers.data(bytes_)) paused = true;
  }

  void read_body() {
    while (!over && !paused) {
      if (mode == Body::kNone) return end({});
      if (mode == Body::kUntilClose) {
        const std::string now = std::exchange(in, {});
        deliver(now);
        return;
      }
      if (mode == Body::kLength) {
        const size_t n = static_cast<size_t>(std::min<uint64_t>(left, in.size()));
        const std::string now = in.substr(0, n);
        in.erase(0, n);
        left -= n;
        deliver(now);
        if (over) return;
        if (left == 0) return end({});
        return;
      }
      if (!read_chunk()) return;
    }
  }

  // One step of the chunked coding; false: more bytes are needed (or it is over).
  bool read_chunk() {
    if (chunk == Chunk::kData) {
      if (in.empty()) return false;
      const size_t n = static_cast<size_t>(std::min<uint64_t>(left, in.size()));
      const std::string now = in.substr(0, n);
      in.erase(0, n);
      left -= n;
      if (left == 0) chunk = Chunk::kDataEnd;
      deliver(now);
      return !over;
    }
    const size_t eol = in.find("\r\n");
    if (eol == std::string::npos) {
      if (in.size() > 4096) fail(PINTLE_BAD_REQUEST, "bad chunk");
      return false;
    }
    const std::string line = in.substr(0, eol);
    in.erase(0, eol + 2);
    if (chunk == Chunk::kDataEnd) {
      if (!line.empty()) {
        fail(PINTLE_BAD_REQUEST, "a chunk is longer than it says");
        return false;
      }
      chunk = Chunk::kSize;
    } else if (chunk == Chunk::kSize) {
      const auto n = number(trim(std::string_view(line).substr(0, line.find(';'))), 16);
      if (!n) {
        fail(PINTLE_BAD_REQUEST, "bad chunk size");
        return false;
      }
      left = *n;
      chunk = left ? Chunk::kData : Chunk::kTrailer;
    } else if (line.empty()) {  // the trailers' end
      end({});
      return false;
    }
    return true;
  }

  void go_on() {
    if (over || !paused) return;
    const auto self = shared_from_this();
    paused = false;
    if (head_done) read_body();
    if (!over && !paused && peer_closed) finish_at_close();
    if (!over && !paused) rearm();
  }

  void cancel() {
    strand.close();
    const auto self = shared_from_this();
    retire();
  }
};

HttpClient::HttpClient(const Host& host) : shared_(std::make_shared<Shared>(host)) {}
HttpClient::~HttpClient() { close(); }

HttpExchange HttpClient::stream(HttpRequest request, HttpHandlers handlers) {
  auto state = std::make_shared<HttpExchange::State>(shared_, std::move(request), std::move(handlers));
  HttpExchange out;
  {
    std::lock_guard lock(shared_->mutex);
    if (!shared_->closed) {
      shared_->open[state.get()] = state;
      out.state_ = state;
    }
  }
  // Not kept by the client: after close() there is nobody who may be told.
  if (out.state_.expired()) return out;
  state->strand.post([weak = std::weak_ptr(state)] {
    if (auto s = weak.lock()) s->begin();
  });
  return out;
}

HttpExchange HttpClient::request(HttpRequest request, std::function<void(Result<HttpResponse>)> done) {
  struct Collected {
    HttpResponse response;
    std::weak_ptr<HttpExchange::State> state;
    size_t max;
  };
  auto c = std::make_shared<Collected>();
  c->max = request.max_body;
  request.hijack = false;
  HttpHandlers h;
  h.head = [c](const HttpResponse& r) { c->response = r; };
  h.data = [c](std::string_view bytes_) {
    if (c->response.body.size() + bytes_.size() > c->max) {
      if (auto s = c->state.lock()) s->fail(PINTLE_TOO_LARGE, "the body is longer than " + std::to_string(c->max) + " bytes");
      return true;
    }
    c->response.body.append(bytes_);
    return true;
  };
  h.ended = [c, done = std::move(done)](const Result<void>& r) {
    if (r) done(std::move(c->response));
    else done(r.error());
  };
  auto state = std::make_shared<HttpExchange::State>(shared_, std::move(request), std::move(h));
  c->state = state;
  HttpExchange out;
  {
    std::lock_guard lock(shared_->mutex);
    if (shared_->closed) return out;
    shared_->open[state.get()] = state;
    out.state_ = state;
  }
  state->strand.post([weak = std::weak_ptr(state)] {
    if (auto s = weak.lock()) s->begin();
  });
  return out;
}

void HttpClient::close() {
  std::map<HttpExchange::State*, std::shared_ptr<HttpExchange::State>> open;
  {
    std::lock_guard lock(shared_->mutex);
    shared_->closed = true;
    open.swap(shared_->open);
  }
  for (auto& [raw, state] : open) state->cancel();
}

void HttpExchange::cancel() {
  if (auto s = state_.lock()) s->cancel();
}
void HttpExchange::resume() {
  if (auto s = state_.lock())
    s->strand.post([weak = std::weak_ptr(s)] {
      if (auto t = weak.lock()) t->go_on();
    });
}

}  // namespace pintle

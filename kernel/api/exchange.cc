#include "kernel/api/exchange.h"

#include <algorithm>

#include "kernel/api/front/target.h"
#include "kernel/api/object_text.h"

namespace pintle::kernel {
namespace {
constexpr size_t kGzipFrom = 128 << 10;
constexpr size_t kPrettyUpTo = 16 << 20;
}  // namespace

Exchange::Exchange(Executor& executor, std::shared_ptr<RequestMetrics> metrics, HttpRequest&& r, std::shared_ptr<Responder> responder)
    : request(std::move(r)), out(std::move(responder)), executor_(executor), metrics_(std::move(metrics)), started_(executor.now()) {
  metrics_->started();
  audit_id_ = request.header("audit-id");
  const bool odd = std::any_of(audit_id_.begin(), audit_id_.end(), [](unsigned char c) { return c < 33 || c > 126; });
  if (audit_id_.empty() || audit_id_.size() > 64 || odd) audit_id_ = uuid4(executor);
}

Exchange::~Exchange() {
  claim(500);
}

void Exchange::limit(uint64_t ns) {
  std::weak_ptr<Exchange> weak = weak_from_this();
  const TimerId id = executor_.after(ns, [weak] {
    if (auto self = weak.lock()) {
      self->fail(Error(PINTLE_TIMEOUT, "Timeout: request did not complete within the allotted timeout"));
    }
  });
  const std::lock_guard lock(mutex_);
  timer_ = id;
}

bool Exchange::claim(int code, bool stream) {
  if (claimed_.exchange(true)) return false;
  TimerId timer = 0;
  {
    const std::lock_guard lock(mutex_);
    timer = std::exchange(timer_, 0);
  }
  if (timer) executor_.cancel(timer);
  const std::string verb = api.resource.empty() ? request.method : verb_name(api.verb);
  metrics_->finished(verb, api.resource, code, executor_.now() - started_, stream);
  return true;
}

Headers Exchange::headers(const std::string& content_type) const {
  Headers h;
  h.emplace_back("Audit-Id", audit_id_);
  h.emplace_back("Cache-Control", "no-cache, private");
  if (!content_type.empty()) h.emplace_back("Content-Type", content_type);
  size_t room = 4096;
  for (const std::string& w : warnings) {
    std::string text = "299 - \"";
    for (const char c : w) {
      if (c == '"' || c == '\\') text += '\\';
      text += static_cast<unsigned char>(c) < 32 ? ' ' : c;
    }
    text += '"';
    if (text.size() > room) break;
    room -= text.size();
    h.emplace_back("Warning", std::move(text));
  }
  return h;
}

void Exchange::send(int code, const std::string& content_type, std::string body, Headers more) {
  if (!claim(code)) return;
  Headers h = headers(content_type);
  for (auto& [name, value] : more) {
    const auto same = std::find_if(h.begin(), h.end(), [&](const auto& p) { return p.first == name; });
    if (same != h.end() && name != "Warning") {
      same->second = std::move(value);
    } else {
      h.emplace_back(name, std::move(value));
    }
  }
  if (request.method == "HEAD") body.clear();
  const bool encoded = std::any_of(h.begin(), h.end(), [](const auto& p) { return p.first == "Content-Encoding"; });
  if (!encoded && rep.gzip && body.size() > kGzipFrom) {
    Gzip gzip;
    body = gzip.add(body, true);
    h.emplace_back("Content-Encoding", "gzip");
  }
  out->send(code, std::move(h), std::move(body));
}

void Exchange::send_json(int code, std::string json) {
  if (rep.yaml) {
    send(code, "application/yaml", to_yaml(json::parse_or_null(json)));
  } else if (rep.pretty && json.size() < kPrettyUpTo) {
    send(code, "application/json", json::parse_or_null(json).dump(true));
  } else {
    send(code, "application/json", std::move(json));
  }
}

void Exchange::send_json(int code, const json::Value& value) {
  if (rep.yaml) return send(code, "application/yaml", to_yaml(value));
  send(code, "application/json", value.dump(rep.pretty));
}

void Exchange::fail(const Error& error) {
  json::Value status = status_object(error);
  // A plugin may have put any bytes into its words. (What a request holds is checked when it comes.)
  if (const std::string_view message = status["message"].as_string(); !is_utf8(message)) {
    std::string readable(message);
    std::replace_if(readable.begin(), readable.end(), [](unsigned char c) { return c >= 0x80; }, '?');
    status.set("message", std::move(readable));
  }
  const int code = static_cast<int>(status["code"].as_int(500));
  Headers more;
  if (const int64_t after = status["details"]["retryAfterSeconds"].as_int(); after > 0) more.emplace_back("Retry-After", std::to_string(after));
  if (code == 401) more.emplace_back("WWW-Authenticate", "Bearer");
  if (rep.yaml) return send(code, "application/yaml", to_yaml(status), std::move(more));
  send(code, "application/json", status.dump(rep.pretty), std::move(more));
}

void Exchange::on_gone(std::function<void()> fn) {
  bool listen = false;
  {
    const std::lock_guard lock(mutex_);
    on_gone_ = std::move(fn);
    listen = !std::exchange(listening_, true);
  }
  if (listen) {
    out->on_closed([weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self) return;
      std::function<void()> tell;
      {
        const std::lock_guard lock(self->mutex_);
        self->gone_ = true;
        tell = std::move(self->on_gone_);
        self->on_gone_ = nullptr;
      }
      if (tell) tell();
    });
    return;
  }
  std::function<void()> tell;
  {
    const std::lock_guard lock(mutex_);
    if (gone_) tell = std::exchange(on_gone_, nullptr);
  }
  if (tell) tell();
}

}  // namespace pintle::kernel

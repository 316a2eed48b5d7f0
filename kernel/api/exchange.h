// One HTTP request under way: what was asked, by whom, and the one answer it gets.
#pragma once
#include <atomic>
#include <mutex>

#include "kernel/api/front/http.h"
#include "kernel/api/metrics.h"
#include "kernel/api/negotiate.h"
#include "kernel/api/pipeline.h"

namespace pintle::kernel {

// Threads: any; the first answer counts, later ones are dropped (a timeout may be quicker than a hook).
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(Executor& executor, std::shared_ptr<RequestMetrics> metrics, HttpRequest&& request, std::shared_ptr<Responder> responder);
  ~Exchange();

  HttpRequest request;
  const std::shared_ptr<Responder> out;
  Identity identity;
  ApiRequest api;
  Representation rep;
  std::vector<std::string> warnings;

  // Answers 504 after `ns`, unless an answer was begun before.
  void limit(uint64_t ns);
  // True for the one who may answer. `code`, `stream` are for the metrics.
  bool claim(int code, bool stream = false);

  Headers headers(const std::string& content_type) const;
  void send(int code, const std::string& content_type, std::string body, Headers more = {});
  // Canonical JSON, turned into what the client asked for.
  void send_json(int code, std::string json);
  void send_json(int code, const json::Value& value);
  void fail(const Error& error);

  // Called once when the client has gone. The present watcher replaces the one before.
  void on_gone(std::function<void()> fn);
  bool gone() const { return gone_; }

 private:
  Executor& executor_;
  std::shared_ptr<RequestMetrics> metrics_;
  const uint64_t started_;
  std::string audit_id_;
  std::atomic<bool> claimed_{false}, gone_{false};
  std::mutex mutex_;
  TimerId timer_ = 0;
  std::function<void()> on_gone_;
  bool listening_ = false;
};
using ExchangeRef = std::shared_ptr<Exchange>;

}  // namespace pintle::kernel

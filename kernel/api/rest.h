// The API over HTTP: URL to ApiRequest, authentication, negotiation, documents, lists, watches, streams.
//
// One RestServer serves all connections of all fronts. It keeps no state per client except for what is in flight.
// Threads: handle() from any; add_* before the first handle().
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "kernel/api/front/http.h"
#include "kernel/api/pipeline.h"
#include "kernel/bus/bus.h"

namespace pintle::kernel {

struct RestOptions {
  std::string version;        // the product's, "0.1.0"
  std::string advertise;      // "10.0.0.5:6443", told to clients in /api
  std::string token_file;     // CSV `token,user,uid,"group1,group2"`, read again when it changes; "" = none
  uint64_t request_timeout_ns = 60ull * 1000000000;
  uint64_t bookmark_ns = 60ull * 1000000000;
  size_t max_body_bytes = 3 << 20;
};

class RestServer {
 public:
  // All references must outlive the server and every answer that is under way.
  RestServer(Pipeline& pipeline, Bus& bus, Executor& executor, HookCaller& hooks, RestOptions options);
  ~RestServer();
  void handle(HttpRequest&& request, std::shared_ptr<Responder> responder);

  // A line of /readyz, and of /livez when `live`. The check runs inline: it must only look.
  void add_check(const std::string& name, bool live, std::function<Result<void>()> check);
  // Appends metrics in Prometheus' text form.
  void add_metrics(std::function<void(std::string& out)> provider);

  struct State;  // the parts' common ground, opaque to users

 private:
  std::shared_ptr<State> state_;
};

}  // namespace pintle::kernel

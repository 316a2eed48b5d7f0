// What the parts of the REST server share.
#pragma once
#include <map>

#include "kernel/api/authenticate.h"
#include "kernel/api/documents.h"
#include "kernel/api/exchange.h"
#include "kernel/api/face.h"
#include "kernel/api/frames.h"
#include "kernel/api/rest.h"
#include "kernel/api/selection.h"
#include "kernel/api/table.h"

namespace pintle::kernel {

struct RestServer::State : std::enable_shared_from_this<RestServer::State> {
  State(Pipeline& p, Bus& b, Executor& e, HookCaller& h, RestOptions o);

  Pipeline& pipeline;
  Bus& bus;
  Executor& executor;
  HookCaller& hooks;
  const RestOptions options;
  Authenticator authenticator;
  std::shared_ptr<RequestMetrics> metrics = std::make_shared<RequestMetrics>();
  Documents documents;
  FrameCache frames;
  struct Check {
    std::string name;
    bool live;
    std::function<Result<void>()> run;
  };
  std::vector<Check> checks;
  std::vector<std::function<void(std::string&)>> providers;
  struct Routes {
    json::Value list;
    uint64_t until = 0;
  };
  std::mutex routes_mutex;
  std::map<std::string, Routes> routes;  // by plugin

  // rest.cc
  void handle(const ExchangeRef& ex);
  void authenticated(const ExchangeRef& ex);
  void object_request(const ExchangeRef& ex);
  void answer(const ExchangeRef& ex, ApiAnswer a);
  // rest_documents.cc: false = no such path
  bool open_path(const ExchangeRef& ex);  // health and version: no authentication
  bool document(const ExchangeRef& ex);
  void health(const ExchangeRef& ex, const std::string& which, const std::string& only);
  void send_document(const ExchangeRef& ex, const Document& doc, const std::string& content_type, Headers more);
  // rest_list.cc
  void list(const ExchangeRef& ex);
  // watch_stream.cc
  void watch(const ExchangeRef& ex);
  // rest_routes.cc
  void route(const ExchangeRef& ex);
  Async<json::Value> routes_of(std::string plugin);
  // connect.cc
  void connect(const ExchangeRef& ex, std::shared_ptr<const Kind> kind, const Subresource& sub);
};

// Objects with their text in the asked version.
Async<Result<std::vector<Shown>>> show(Pipeline& pipeline, Face face, std::vector<ObjectRef> objects);

}  // namespace pintle::kernel

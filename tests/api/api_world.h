// A whole API server in memory, on a virtual clock: store, bus, pipeline, REST, and widgets.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "kernel/api/rest.h"
#include "kernel/run/simulated_executor.h"
#include "tests/api/widget_hooks.h"

namespace pintle::kernel {

// Where the widgets of namespace default are served.
inline const std::string kWidgets = "/apis/test.example.com/v1/namespaces/default/widgets";

// Remembers what it was told; `stuck` makes the client stop reading.
class Recorder final : public Responder {
 public:
  explicit Recorder(Executor& executor) : executor_(executor) {}
  void send(int c, Headers h, std::vector<Chunk> parts) override;
  void start(int c, Headers h) override;
  size_t write(Chunk chunk) override;
  void finish() override { done = true; }
  void abort() override { aborted = done = true; }
  size_t queued() const override { return queued_; }
  void on_drained(size_t low_water, std::function<void()> fn) override;
  void on_closed(std::function<void()> fn) override { closed_ = std::move(fn); }
  void upgrade(Headers h, std::function<void(std::string_view)> on_data) override;
  void pause() override {}
  void resume() override {}

  void read_on();  // the client reads everything that is queued
  void go_away();
  std::string header(const std::string& name) const;
  // The frames of a watch that are complete, as JSON.
  std::vector<json::Value> events() const;

  int code = 0;
  Headers headers;
  std::string body;
  bool started = false, done = false, aborted = false, stuck = false;
  size_t largest_queue = 0;

 private:
  Executor& executor_;
  size_t queued_ = 0;
  std::function<void()> drained_, closed_;
};

struct Reply {
  int code = 0;
  Headers headers;
  std::string body;
  json::Value json;
};

class World {
 public:
  World();
  ~World();  // all clients leave first
  // As a member of system:masters unless `token` says somebody else; runs until answered.
  Reply call(const std::string& method, const std::string& target, const std::string& body = "", Headers headers = {},
             const std::string& token = "admin-token");
  std::shared_ptr<Recorder> open(const std::string& method, const std::string& target, Headers headers = {}, const std::string& body = "",
                                 const std::string& token = "admin-token", bool stuck = false);
  void settle() { executor.run_until_idle(); }

  SimulatedExecutor executor{7};
  std::string token_file;
  std::unique_ptr<Store> store;
  Registry registry;
  WidgetHooks hooks{executor};
  std::unique_ptr<Pipeline> pipeline;
  std::unique_ptr<Bus> bus;
  std::unique_ptr<RestServer> rest;
  std::optional<ClientCertificate> certificate;  // of the clients from now on

 private:
  std::vector<std::weak_ptr<Recorder>> clients_;
};

json::Value read_yaml(const std::string& path);
// "" when every member of `wanted` is in `got` (lists: same length); else where they differ. A string "re:x" is a pattern.
std::string differs(const json::Value& wanted, const json::Value& got, const std::string& path = "");

}  // namespace pintle::kernel

// A runtime driver that keeps its pods and containers in memory. Replace the bodies by what your runtime does; the messages
// are described in <pintle/if/runtime.h>, the rules in writing-a-plugin.md.
#include <map>

#include "pintle/sdk.h"

namespace {

using pintle::Call;
using pintle::Error;
using pintle::json::Value;

class @Class@ final : public pintle::Plugin, public pintle::RuntimeProvider {
 public:
  @Class@(pintle::Host h, const Value& config)
      : Plugin(h), strand_(h), start_latency_ms_(static_cast<uint64_t>(config["startLatencyMs"].as_int(0))) {}

  void stop() override {
    strand_.close();
    timers_.clear();
  }

  void info(Value, Call call) override {
    call.reply(Value::object({{"name", "@name@"},
                              {"version", "0.1.0"},
                              {"ready", true},
                              {"capabilities", Value::array({"network:pod"})}}));
  }
  void status(Value, Call call) override { call.reply(Value::object({{"ready", true}, {"networkReady", true}})); }
  void recover(Value, Call call) override { call.reply(); }
  void image_list(Value, Call call) override { call.reply(Value::object({{"images", Value::array()}})); }
  void pull(Value request, Call call) override {
    call.reply(Value::object({{"id", request["image"]}, {"size", 0}}));
  }

  void create_pod(Value request, Call call) override {
    on_strand(std::move(request), std::move(call), [this](const Value& rq) {
      const std::string uid(rq["uid"].as_string());
      Value& pod = pods_[uid];  // created twice = the same pod
      if (pod.is_null()) {
        pod = Value::object({{"id", "pod-" + uid}, {"uid", uid}, {"namespace", rq["namespace"]}, {"name", rq["name"]},
                             {"attempt", rq["attempt"]}, {"state", "ready"}, {"createdAt", host.wall()},
                             {"ips", Value::array({"127.0.0.1"})}, {"labels", rq["labels"]}});
        changed(uid, "");
      }
      return Value::object({{"id", pod["id"]}, {"ips", pod["ips"]}});
    });
  }
  void start_pod(Value request, Call call) override {
    on_strand(std::move(request), std::move(call), [](const Value&) { return Value::object({{"ips", Value::array({"127.0.0.1"})}}); });
  }

  void create(Value request, Call call) override {
    on_strand(std::move(request), std::move(call), [this](const Value& rq) {
      const std::string id = std::string(rq["podUid"].as_string()) + "/" + std::string(rq["name"].as_string()) + "/" +
                             std::to_string(rq["attempt"].as_int());
      Value& c = containers_[id];
      if (c.is_null())
        c = Value::object({{"id", id}, {"podId", rq["podId"]}, {"podUid", rq["podUid"]}, {"name", rq["name"]},
                           {"attempt", rq["attempt"]}, {"image", rq["image"]}, {"imageId", rq["image"]}, {"state", "created"},
                           {"createdAt", host.wall()}, {"labels", rq["labels"]}});
      return Value::object({{"id", id}});
    });
  }

  void start_container(Value request, Call call) override {
    // An answer may come later: move the Call to where it is given.
    const std::string id(request["id"].as_string());
    auto shared = std::make_shared<Call>(std::move(call));
    strand_.post([this, id, shared] {
      if (!containers_.count(id)) return shared->fail(PINTLE_NOT_FOUND, "container \"" + id + "\" not found");
      timers_[id] = host.after(start_latency_ms_ * 1000000, strand_.wrap([this, id, shared] {
        Value& c = containers_[id];
        c.set("state", "running");
        c.set("startedAt", host.wall());
        changed(std::string(c["podUid"].as_string()), id);
        shared->reply();
      }));
    });
  }

  void stop_container(Value request, Call call) override { finish(std::move(request), std::move(call)); }
  void kill(Value request, Call call) override { finish(std::move(request), std::move(call)); }

  void remove(Value request, Call call) override {
    on_strand(std::move(request), std::move(call), [this](const Value& rq) {
      containers_.erase(std::string(rq["id"].as_string()));
      return Value::object();
    });
  }
  void remove_pod(Value request, Call call) override {
    on_strand(std::move(request), std::move(call), [this](const Value& rq) {
      std::erase_if(pods_, [&](const auto& p) { return p.second["id"] == rq["id"]; });
      std::erase_if(containers_, [&](const auto& c) { return c.second["podId"] == rq["id"]; });
      return Value::object();
    });
  }

  void list(Value request, Call call) override {
    on_strand(std::move(request), std::move(call), [this](const Value&) {
      Value out = Value::object({{"pods", Value::array()}, {"containers", Value::array()}});
      for (const auto& [uid, pod] : pods_) out.set("pods").push(pod);
      for (const auto& [id, c] : containers_) out.set("containers").push(c);
      return out;
    });
  }

  // A stream of changes: partial answers until the caller cancels.
  void events(Value, Call call) override {
    auto shared = std::make_shared<Call>(std::move(call));
    strand_.post([this, shared] {
      const uint64_t id = ++last_listener_;
      listeners_[id] = shared;
      std::string hello = R"({"type":"sync"})";
      shared->emit(hello);
      shared->on_cancel(strand_.wrap([this, id, shared] {
        listeners_.erase(id);
        shared->fail(PINTLE_CANCELLED, "cancelled");
      }));
    });
  }

  void drain(Call done) override {
    auto shared = std::make_shared<Call>(std::move(done));
    strand_.post([this, shared] {
      for (auto& [id, listener] : listeners_) listener->fail(PINTLE_UNAVAILABLE, "the driver is being stopped");
      listeners_.clear();
      shared->reply();
    });
  }

 private:
  template <class F>
  void on_strand(Value request, Call call, F fn) {
    auto shared = std::make_shared<Call>(std::move(call));
    strand_.post([rq = std::move(request), shared, fn = std::move(fn)] { shared->reply(fn(rq)); });
  }

  void finish(Value request, Call call) {
    on_strand(std::move(request), std::move(call), [this](const Value& rq) {
      const auto it = containers_.find(std::string(rq["id"].as_string()));
      if (it != containers_.end() && it->second["state"].as_string() == "running") {
        it->second.set("state", "exited");
        it->second.set("exitCode", 0);
        it->second.set("reason", "Completed");
        it->second.set("finishedAt", host.wall());
        changed(std::string(it->second["podUid"].as_string()), it->first);
      }
      return Value::object();
    });
  }

  void changed(const std::string& pod_uid, const std::string& container) {
    for (auto& [id, listener] : listeners_) {
      std::string event = Value::object({{"type", "changed"}, {"podUid", pod_uid}, {"containerId", container}}).dump();
      listener->emit(event);
    }
  }

  pintle::Strand strand_;  // everything below is touched on it only
  const uint64_t start_latency_ms_;
  std::map<std::string, Value> pods_, containers_;  // by uid, by id
  std::map<std::string, pintle::Timer> timers_;
  std::map<uint64_t, std::shared_ptr<Call>> listeners_;
  uint64_t last_listener_ = 0;
};

}  // namespace

PINTLE_PLUGIN(@Class@)

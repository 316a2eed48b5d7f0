// A plugin for tests: good or bad as its configuration asks.
#include <cstring>
#include <stdexcept>

#include "pintle/plugin.h"

namespace pintle::probe {

class Probe final : public Plugin, public StreamProvider, public ControllerProvider {
 public:
  Probe(Host h, const json::Value& config)
      : Plugin(h), behaviour_(config["behaviour"].as_string()), text_(config["text"].as_string()), slots_(h.path("spec.provider")) {
    if (behaviour_ == "throw-create") throw std::runtime_error("thrown by the constructor");
  }

  void start() override {
    if (behaviour_ == "fail-start") throw Error(PINTLE_UNAVAILABLE, "nobody listens on the other side");
    if (behaviour_ == "leak-timer") timer_ = host.after(3600ull * 1000000000, [] {});
    if (behaviour_ == "owes") {
      host.report(PINTLE_HEALTH_STARTING, "five seconds of work");
      timer_ = host.after(5ull * 1000000000, [this] { host.report(PINTLE_HEALTH_READY); });
    }
    if (behaviour_ == "degraded") host.report(PINTLE_HEALTH_DEGRADED, "nothing to drive; plug one in");
    if (behaviour_ == "leak-watch") {
      auto watch = host.watch({.kind = "slots.pintle.dev"}, [](const Event&) {});
      if (watch) watch_ = std::move(*watch);
    }
  }

  void activate(std::string_view slot, uint64_t epoch) override {
    if (behaviour_ == "refuse-activate") throw Error(PINTLE_UNAVAILABLE, "does not want to");
    slot_ = slot;
    epoch_ = epoch;
  }

  // {"do":"echo"|"late"|"never"|"throw"|"parts"|"twice"|"post", ...}
  void open(json::Value request, Call call) override {
    const std::string_view what = request["do"].as_string("echo");
    if (what == "throw") throw std::runtime_error("thrown by a method");
    if (what == "never") {
      std::lock_guard lock(mutex_);
      kept_.push_back(std::move(call));
      return;
    }
    if (what == "parts") {
      for (int i = 0; i < 3; ++i) {
        std::string part = "part " + std::to_string(i);
        call.emit(part);
      }
      return call.reply();
    }
    if (what == "twice") {
      // As C code could: the SDK's Call does not let it happen.
      // Its first two words are the table and the call.
      pintle_call* words[2];
      static_assert(sizeof(Call) >= sizeof words);
      memcpy(static_cast<void*>(words), static_cast<const void*>(&call), sizeof words);
      call.reply();
      host.call_api()->complete(words[1], PINTLE_OK, nullptr, {});
      return;
    }
    if (what == "post") {
      auto held = std::make_shared<Call>(std::move(call));
      host.post([held] { held->reply(); });
      return;
    }
    call.reply(json::Value::object({{"text", text_}, {"slot", slot_}, {"epoch", epoch_.load()}, {"n", request["n"]}}));
  }

  void describe(json::Value, Call call) override {
    call.reply(json::parse_or_null(R"({"controllers":[{"name":"probe","workers":2,"watches":[{"kind":"slots.pintle.dev","map":"self"}]}]})"));
  }
  void reconcile(json::Value request, Call call) override {
    reconciled_ += request["keys"].size();
    json::Value results = json::Value::array();
    for (const auto& key : request["keys"].items()) results.push(json::Value::object({{"key", key}, {"result", "done"}}));
    call.reply(json::Value::object({{"results", std::move(results)}}));
  }

  void drain(Call done) override {
    std::vector<Call> kept;
    {
      std::lock_guard lock(mutex_);
      if (behaviour_ == "hang-drain") {
        kept_.push_back(std::move(done));
        return;
      }
      kept.swap(kept_);
    }
    for (auto& c : kept) c.fail(PINTLE_UNAVAILABLE, "draining");
    done.reply();
  }
  void stop() override {
    if (behaviour_ == "leak-timer" || behaviour_ == "leak-watch") return;
    timer_.reset();
    watch_.reset();
  }

 private:
  const std::string behaviour_, text_;
  const uint32_t slots_;
  std::string slot_;
  std::atomic<uint64_t> epoch_{0}, reconciled_{0};
  std::mutex mutex_;
  std::vector<Call> kept_;
  Timer timer_;
  Watch watch_;
};

}  // namespace pintle::probe

PINTLE_PLUGIN(pintle::probe::Probe)

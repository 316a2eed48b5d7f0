// The plugin `namespace`: one controller over the namespaces; the work is in terminator.
#include <memory>
#include <mutex>

#include "pintle/plugin.h"
#include "plugins/namespace/terminator.h"

namespace pintle::ns {

class Namespace final : public Plugin, public ControllerProvider {
 public:
  Namespace(Host h, const json::Value&) : Plugin(h), terminator_(h) {}
  void start() override { terminator_.start(); }
  void stop() override { terminator_.stop(); }

  void describe(json::Value, Call call) override {
    const json::Value watch = json::Value::object(
        {{"kind", "namespaces"},
         {"map", "self"},
         {"fields", json::Value::array({"metadata.deletionTimestamp", "spec.finalizers", "status.phase"})}});
    call.reply(json::Value::object(
        {{"controllers", json::Value::array({json::Value::object(
                             {{"name", "namespace"}, {"workers", 4}, {"watches", json::Value::array({watch})}})})}}));
  }

  void reconcile(json::Value request, Call call) override {
    struct Batch {
      explicit Batch(Call c) : call(std::move(c)) {}
      Call call;
      std::mutex mutex;
      json::Value results = json::Value::array();
      size_t left = 0;
    };
    const json::Value keys = request["keys"];
    if (keys.empty()) return call.reply(json::Value::object({{"results", json::Value::array()}}));
    auto batch = std::make_shared<Batch>(std::move(call));
    batch->left = keys.size();
    for (const auto& k : keys.items()) {
      const std::string name(k.as_string());
      terminator_.reconcile(name, [batch, name](json::Value result) {
        result.set("key", name);
        std::lock_guard lock(batch->mutex);
        batch->results.push(std::move(result));
        if (--batch->left == 0) batch->call.reply(json::Value::object({{"results", std::move(batch->results)}}));
      });
    }
  }

 private:
  Terminator terminator_;
};

}  // namespace pintle::ns

PINTLE_PLUGIN(pintle::ns::Namespace)

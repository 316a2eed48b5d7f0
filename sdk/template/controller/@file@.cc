// A controller: writes the number of keys of each ConfigMap into an annotation. The messages are described in
// <pintle/if/controller.h>. Look at the state, never at the event: a reconcile may be merged, repeated or lost.
#include "pintle/sdk.h"

namespace {

using pintle::Call;
using pintle::json::Value;

class @Class@ final : public pintle::Plugin, public pintle::ControllerProvider {
 public:
  @Class@(pintle::Host h, const Value&) : Plugin(h) {}

  void describe(Value, Call call) override {
    call.reply(Value::object({{"controllers",
                               Value::array({Value::object(
                                   {{"name", "@name@"},
                                    {"workers", 1},
                                    {"watches", Value::array({Value::object({{"kind", "configmaps"}, {"map", "self"}})})}})})}}));
  }

  void reconcile(Value request, Call call) override {
    std::vector<pintle::Op> ops;
    for (const Value& key : request["keys"].items()) {
      const std::string text(key.as_string());
      const size_t slash = text.find('/');
      const std::string ns = text.substr(0, slash), name = text.substr(slash + 1);
      auto object = host.get_object("configmaps", ns, name);
      if (!object) continue;  // gone: nothing to do
      const Value map = object->json();
      const std::string wanted = std::to_string(map["data"].size());
      if (map.at("metadata.annotations[example.org/keys]").as_string() == wanted) continue;
      Value patch;
      patch.make("metadata.annotations[example.org/keys]") = wanted;
      ops.push_back(pintle::Op::merge("configmaps", ns, name, patch));
    }
    if (ops.empty()) return call.reply();
    host.commit(ops, [call = std::make_shared<Call>(std::move(call))](pintle::CommitResult r) {
      if (const auto* failed = r.failed()) return call->fail(failed->code, failed->text);  // tried again, with back-off
      call->reply();
    }, PINTLE_COMMIT_INDEPENDENT);
  }
};

}  // namespace

PINTLE_PLUGIN(@Class@)

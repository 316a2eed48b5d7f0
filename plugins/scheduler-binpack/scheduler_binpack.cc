// Fills nodes: the fullest node that still has room wins, so that whole nodes stay empty and can be removed.
#include "pintle/plugin.h"
#include "pintle/scheduling/engine.h"

namespace pintle::scheduler_binpack {

scheduling::Policy policy() {
  using namespace scheduling;
  // Every node is looked at: stopping early would open a node although a fuller one has room. What users wish for in
  // words (affinity, taints) still moves the choice, but never outweighs filling by itself.
  return {standard_filters(), {most_allocated(10), node_affinity(2), taint_toleration(3), pod_affinity(2)}, 100};
}

class SchedulerBinpack final : public Plugin, public SchedulerProvider {
 public:
  SchedulerBinpack(Host h, const json::Value&) : Plugin(h), engine_(policy()) {}

  void observe(json::Value request, Call call) override {
    engine_.observe(request);
    call.reply();
  }
  void schedule(json::Value request, Call call) override { call.reply(engine_.schedule(request)); }
  void explain(json::Value request, Call call) override { call.reply(engine_.explain(request)); }

 private:
  scheduling::Engine engine_;
};

}  // namespace pintle::scheduler_binpack

PINTLE_PLUGIN(pintle::scheduler_binpack::SchedulerBinpack)

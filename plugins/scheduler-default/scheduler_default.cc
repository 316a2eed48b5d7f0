// The default scheduler: hard rules as filters, then the emptiest and most evenly used node, away from equal pods.
#include "pintle/plugin.h"
#include "pintle/scheduling/engine.h"

namespace pintle::scheduler_default {

scheduling::Policy policy(const json::Value& config) {
  using namespace scheduling;
  // Weights as in kube-scheduler's default profile.
  return {standard_filters(),
          {least_allocated(1), balanced_allocation(1), node_affinity(2), taint_toleration(3), pod_affinity(2), topology_spread(2),
           image_locality(1)},
          config["percentageOfNodesToScore"].as_int(0)};
}

class SchedulerDefault final : public Plugin, public SchedulerProvider {
 public:
  SchedulerDefault(Host h, const json::Value& config) : Plugin(h), engine_(policy(config)) {}

  void observe(json::Value request, Call call) override {
    engine_.observe(request);
    call.reply();
  }
  void schedule(json::Value request, Call call) override { call.reply(engine_.schedule(request)); }
  void explain(json::Value request, Call call) override { call.reply(engine_.explain(request)); }

 private:
  scheduling::Engine engine_;
};

}  // namespace pintle::scheduler_default

PINTLE_PLUGIN(pintle::scheduler_default::SchedulerDefault)

// The probes of one running container: when they run, what their results mean.
//
// Threads: everything on the strand that was given.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "action.h"

namespace pintle::node_agent {

// Counts results against the thresholds. Pure.
class ProbeJudge {
 public:
  ProbeJudge(int64_t success_threshold, int64_t failure_threshold, bool initially);
  // One more result; true when the verdict changed, or when a failing verdict is confirmed by a further full run of failures.
  bool add(bool success);
  bool verdict() const { return verdict_; }

 private:
  const int64_t success_, failure_;
  int64_t run_ = 0;
  bool last_, verdict_;
};

class Probes : public std::enable_shared_from_this<Probes> {
 public:
  struct Events {
    std::function<void()> changed;                                        // started() or ready() did
    std::function<void(const char* kind, const std::string& text)> unhealthy;  // "Liveness", one failed probe
    std::function<void(const char* kind)> must_restart;                   // liveness or startup gave up
  };
  // `was_ready`: of an adopted container, so that a restart of the agent takes nobody out of service.
  Probes(Context& context, const Strand& strand, const json::Value& container, ActionTarget target, bool adopted, bool was_ready, Events events);
  ~Probes() { stop(); }
  void start();
  void stop();  // no callback comes afterwards
  // The container is being stopped: nothing restarts it any more, but while it serves it is as ready as it says. A pod that ends is out of its Services, except
  // when none of their pods is ready: then those that still serve are asked (https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#serving).
  void keep_readiness();
  bool started() const { return started_; }
  bool ready() const { return started_ && ready_; }
  const std::string& container_id() const { return target_.container_id; }

 private:
  struct One {
    const char* kind;  // Startup, Liveness, Readiness
    json::Value spec;
    ProbeJudge judge;
    Timer timer;
    bool running = false;
  };
  void schedule(One& one, uint64_t delay_ns);
  void run(size_t index);
  void result(size_t index, const ActionResult& r);
  void begin_others();

  Context& context_;
  const Strand& strand_;
  ActionTarget target_;
  Events events_;
  std::vector<One> all_;
  bool started_ = true, ready_ = true, stopped_ = false, only_readiness_ = false;
  uint64_t begun_ = 0;
};

}  // namespace pintle::node_agent

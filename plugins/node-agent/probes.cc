#include "probes.h"

#include <cstring>
#include "pintle/timestamp.h"

namespace pintle::node_agent {

using json::Value;
using Outcome = ActionResult::Outcome;

ProbeJudge::ProbeJudge(int64_t success_threshold, int64_t failure_threshold, bool initially)
    : success_(std::max<int64_t>(1, success_threshold)), failure_(std::max<int64_t>(1, failure_threshold)), last_(initially), verdict_(initially) {}

bool ProbeJudge::add(bool success) {
  if (run_ > 0 && success == last_) ++run_;
  else run_ = 1;
  last_ = success;
  if (run_ < (success ? success_ : failure_)) return false;
  if (success == verdict_ && success) return false;
  const bool changed = verdict_ != success;
  verdict_ = success;
  if (!success) run_ = 0;  // after a restart that did not come it counts anew
  return changed || !success;
}

Probes::Probes(Context& context, const Strand& strand, const Value& container, ActionTarget target, bool adopted, bool was_ready, Events events)
    : context_(context), strand_(strand), target_(std::move(target)), events_(std::move(events)) {
  const auto add = [&](const char* kind, const char* key, bool initially) {
    if (const Value* p = container.find(key); p && !p->empty())
      all_.push_back({kind, *p, ProbeJudge((*p)["successThreshold"].as_int(1), (*p)["failureThreshold"].as_int(3), initially), {}, false});
  };
  add("Startup", "startupProbe", false);
  add("Liveness", "livenessProbe", true);
  add("Readiness", "readinessProbe", false);
  for (const auto& one : all_) {
    if (std::strcmp(one.kind, "Startup") == 0) started_ = adopted && was_ready;
    if (std::strcmp(one.kind, "Readiness") == 0) ready_ = adopted && was_ready;
  }
}

void Probes::start() {
  begun_ = context_.host.now();
  for (auto& one : all_) {
    const bool startup = std::strcmp(one.kind, "Startup") == 0;
    if (startup ? started_ : !started_) continue;
    schedule(one, static_cast<uint64_t>(one.spec["initialDelaySeconds"].as_int(0)) * kSecond);
  }
}

void Probes::begin_others() {
  const uint64_t age = context_.host.now() - begun_;
  for (auto& one : all_) {
    if (std::strcmp(one.kind, "Startup") == 0) continue;
    const uint64_t delay = static_cast<uint64_t>(one.spec["initialDelaySeconds"].as_int(0)) * kSecond;
    schedule(one, delay > age ? delay - age : 0);
  }
}

void Probes::stop() {
  stopped_ = true;
  for (auto& one : all_) one.timer.reset();
}

void Probes::keep_readiness() {
  only_readiness_ = true;
  for (auto& one : all_)
    if (std::strcmp(one.kind, "Readiness") != 0) one.timer.reset();
}

void Probes::schedule(One& one, uint64_t delay_ns) {
  if (stopped_ || (only_readiness_ && std::strcmp(one.kind, "Readiness") != 0)) return;
  const size_t index = static_cast<size_t>(&one - all_.data());
  one.timer = context_.host.after(delay_ns, strand_.wrap([weak = weak_from_this(), index] {
    if (const auto self = weak.lock()) self->run(index);
  }));
}

void Probes::run(size_t index) {
  One& one = all_[index];
  if (stopped_ || one.running) return;
  if (context_.draining) return schedule(one, kSecond);
  one.running = true;
  const auto timeout = static_cast<uint64_t>(std::max<int64_t>(1, one.spec["timeoutSeconds"].as_int(1))) * kSecond;
  run_action(context_, strand_, one.spec, target_, timeout, [weak = weak_from_this(), index](ActionResult r) {
    if (const auto self = weak.lock()) self->result(index, r);
  });
}

void Probes::result(size_t index, const ActionResult& r) {
  One& one = all_[index];
  one.running = false;
  if (stopped_ || (only_readiness_ && std::strcmp(one.kind, "Readiness") != 0)) return;
  schedule(one, static_cast<uint64_t>(std::max<int64_t>(1, one.spec["periodSeconds"].as_int(10))) * kSecond);
  const bool startup = std::strcmp(one.kind, "Startup") == 0, readiness = std::strcmp(one.kind, "Readiness") == 0;
  // What could not be tried (the driver is being replaced) says nothing about a container: what was known of it holds.
  if (r.outcome == Outcome::kError) {
    events_.unhealthy(one.kind, "probe errored: " + r.text);
    return;
  }
  const bool success = r.outcome == Outcome::kSuccess;
  const auto keep = shared_from_this();
  if (!success) events_.unhealthy(one.kind, "probe failed: " + r.text);
  if (!one.judge.add(success) || stopped_) return;
  if (readiness) {
    // Judged against what is believed now: an adopted container counts as ready until it fails.
    ready_ = one.judge.verdict();
    events_.changed();
  } else if (startup && success) {
    started_ = true;
    one.timer.reset();
    begin_others();
    events_.changed();
  } else if (!success) {
    keep_readiness();
    events_.must_restart(one.kind);
  }
}

}  // namespace pintle::node_agent

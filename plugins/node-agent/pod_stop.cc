#include "pod_worker.h"
#include "pintle/connection_tracking.h"
#include "pintle/timestamp.h"

namespace pintle::node_agent {

using json::Value;
using State = ContainerView::State;

namespace {
constexpr int64_t kLeastGrace = 2;  // after a preStop hook that used it all up
}  // namespace

int64_t PodWorker::grace_seconds() const {
  const Value& meta = pod_["metadata"];
  if (meta["deletionGracePeriodSeconds"].is_int()) return std::max<int64_t>(1, meta["deletionGracePeriodSeconds"].as_int());
  if (gone_) return kLeastGrace;  // removed by force
  return pod_["spec"]["terminationGracePeriodSeconds"].as_int(30);
}

void PodWorker::end_step() {
  const int64_t grace = grace_seconds();
  // Nothing restarts a container now, but while it serves it is as ready as it says; also for an agent that comes while a pod ends.
  for (const auto& c : containers_of(pod_)) {
    const ContainerView* v = view_.latest(c.name());
    if (!v || v->state != State::kRunning || c.type == ContainerType::kInit) continue;
    watch_container(c, *v);
    memory(c.name()).probes->keep_readiness();
  }
  if (stage_ == Stage::kNone) {
    stage_ = Stage::kStop;
    if (!gone_ && view_.anything_running()) {
      stage_ = Stage::kGate;
      gate_ = std::make_shared<EndpointGate>(context_, site_.strand(), str(pod_["metadata"]["namespace"]), uid_);
      gate_->wait(std::min<uint64_t>(context_.config.proxy_wait_ns, static_cast<uint64_t>(grace) * kSecond), [weak = weak_from_this()](bool in_time) {
        const auto self = weak.lock();
        if (!self) return;
        if (!in_time) self->context_.host.info("a pod is stopped before every service proxy confirmed that traffic left it", Value::object({{"pod", pod_key(self->object_.json())}}));
        if (self->stage_ == Stage::kGate) self->stage_ = Stage::kStop;
        self->request_sync();
      });
    }
  }
  if (stage_ == Stage::kGate) {
    if (!gone_) return;
    stage_ = Stage::kStop;
  }
  if (stage_ == Stage::kStop) {
    // A second request may shorten the grace of the first.
    if (cut_grace_ >= 0 && grace < cut_grace_)
      cut_ = context_.host.after(static_cast<uint64_t>(grace) * kSecond, site_.strand().wrap([weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self) return;
        for (const auto& c : self->view_.containers)
          if (c.state == State::kRunning)
            self->link_->call(PINTLE_METHOD(pintle_runtime, kill), Value::object({{"node", self->site_.facts().name}, {"id", c.id}, {"signal", "KILL"}}), [](Result<Value>) {});
      }));
    cut_grace_ = grace;
    if (sandbox_busy_ || volumes_ == Volumes::kBusy) return;
    if (!stop_containers(grace)) return;
    stage_ = Stage::kStatus;
  }
  if (stage_ == Stage::kStatus) {
    // How everything ended is written before it is forgotten. write_status() follows this step; a step that has nothing to write comes back here.
    // One that the API refuses does not keep the pod.
    if (!gone_ && !status_refused_) {
      if (status_busy_) return;
      for (const auto& [name, m] : memory_)
        if (m.listening) return;
      write_status();
      if (status_busy_) return;
    }
    stage_ = Stage::kRemove;
    remove_from_runtime();
    return;
  }
  if (stage_ == Stage::kDelete) remove_from_store();
}

bool PodWorker::stop_containers(int64_t grace) {
  bool running = false, mains = false;
  const auto all = containers_of(pod_);
  for (const auto& c : all) {
    const Memory& m = memory(c.name());
    const ContainerView* v = view_.latest(c.name());
    const bool up = m.busy || (v && v->state == State::kRunning);
    running |= up;
    if (c.type != ContainerType::kSidecar) mains |= up;
  }
  if (!running) return true;
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    const ContainerView* v = view_.latest(it->name());
    const bool up = memory(it->name()).busy || (v && v->state == State::kRunning);
    if (!up) continue;
    if (it->type == ContainerType::kSidecar && mains) continue;
    if (!memory(it->name()).busy) stop_container(*it, *v, grace, "");
    if (it->type == ContainerType::kSidecar) break;  // one after the other, the last started first
  }
  return false;
}

void PodWorker::stop_container(const ContainerSpec& c, const ContainerView& v, int64_t grace, const std::string& message) {
  const std::string name(c.name()), id = v.id;
  Memory& m = memory(name);
  m.busy = true;
  if (m.probes) m.probes->keep_readiness();
  if (m.restart_id != id) event("Normal", "Killing", message.empty() ? "Stopping container " + name : message);
  const uint64_t begun = context_.host.now();
  const auto terminate = [weak = weak_from_this(), name, id, grace, begun] {
    const auto self = weak.lock();
    if (!self) return;
    const int64_t used = static_cast<int64_t>((self->context_.host.now() - begun) / kSecond);
    const int64_t left = used == 0 ? grace : std::max(kLeastGrace, grace - used);
    self->link_->call_long(PINTLE_METHOD(pintle_runtime, stop), Value::object({{"node", self->site_.facts().name}, {"id", id}, {"timeoutSeconds", left}}),
                           self->site_.strand().wrap([weak, name](Result<Value> r) {
                             const auto me = weak.lock();
                             if (!me) return;
                             if (!r) {
                               me->context_.host.warn("a container could not be stopped", Value::object({{"pod", pod_key(me->object_.json())}, {"container", name}, {"error", r.error().text}}));
                               me->memory(name).stop_again = me->context_.host.after(kSecond, me->site_.strand().wrap([weak, name] {
                                 if (const auto later = weak.lock()) later->finish(name);
                               }));
                               return;
                             }
                             me->finish(name);
                           }),
                           static_cast<uint64_t>(left + 60) * kSecond);
  };
  const Value& hook = (*c.spec)["lifecycle"]["preStop"];
  if (hook.empty() || gone_) return terminate();
  ActionTarget target{link_, site_.facts().name, id, "", (*c.spec)["ports"]};
  if (pod_["spec"]["hostNetwork"].as_bool()) target.pod_ip = site_.host_ip();
  else if (const SandboxView* s = view_.ready_sandbox(); s && !s->ips.empty()) target.pod_ip = s->ips[0];
  // Whatever comes first: the hook's end or the grace's.
  auto once = std::make_shared<bool>(false);
  auto limit = std::make_shared<Timer>();
  const uint64_t pending = context_.pending.add([limit] { limit->reset(); });
  const auto go = [this_weak = weak_from_this(), once, limit, pending, terminate](const std::string& failure) {
    if (std::exchange(*once, true)) return;
    limit->reset();
    const auto self = this_weak.lock();
    if (!self) return;
    self->context_.pending.remove(pending);
    if (!failure.empty()) self->event("Warning", "FailedPreStopHook", "PreStopHook failed: " + failure);
    terminate();
  };
  *limit = context_.host.after(static_cast<uint64_t>(grace) * kSecond, site_.strand().wrap([go] { go("it took longer than the grace period"); }));
  run_action(context_, site_.strand(), hook, target, static_cast<uint64_t>(grace) * kSecond,
             [go](ActionResult r) { go(r.outcome == ActionResult::Outcome::kSuccess ? "" : r.text.empty() ? "it failed" : r.text); });
}

// Before the pod's address is free: its connections are over, and what the packet filter remembers of them would swallow the SYN of a client that comes back from
// the same port. Docker's engine forgets them too when it takes the network away, but by the client's port: it would cut off the connection that has taken the
// place of one meanwhile, to whatever pod it goes.
void PodWorker::forget_connections(std::function<void()> then) {
  std::vector<std::string> addresses;
  if (link_ && link_->has_network() && !pod_["spec"]["hostNetwork"].as_bool())
    for (const auto& s : view_.sandboxes)
      if (s.ready) addresses.insert(addresses.end(), s.ips.begin(), s.ips.end());  // another one's may be somebody else's by now
  if (addresses.empty()) return then();
  context_.host.post_blocking([host = context_.host, addresses, in_hand = context_.in_hand.begin(), then = std::make_shared<std::function<void()>>(site_.strand().wrap(std::move(then)))] {
    for (const auto& a : addresses)
      if (const auto forgotten = forget_flows({.protocol = 0, .endpoint = a}, [](const TrackedFlow& flow) { return flow.translated(); }); !forgotten)
        host.debug("connections to a pod that has ended are still remembered", Value::object({{"address", a}, {"error", forgotten.error().text}}));
    (*then)();
  });
}

void PodWorker::remove_from_runtime() {
  // Containers of sandboxes that are gone first, then sandboxes with all that is in them.
  auto ids = std::make_shared<std::vector<std::pair<uint32_t, std::string>>>();
  for (const auto& c : view_.containers) {
    bool inside = false;
    for (const auto& s : view_.sandboxes) inside |= s.id == c.pod_id;
    if (!inside) ids->emplace_back(PINTLE_METHOD(pintle_runtime, remove), c.id);
  }
  for (const auto& s : view_.sandboxes) ids->emplace_back(PINTLE_METHOD(pintle_runtime, remove_pod), s.id);
  const auto next = std::make_shared<std::function<void()>>();
  *next = [weak = weak_from_this(), ids, weak_next = std::weak_ptr(next)] {
    const auto self = weak.lock();
    if (!self) return;
    if (ids->empty()) {
      self->site_.release(self->uid_);
      self->stage_ = Stage::kDelete;
      if (!self->link_ || self->link_->can("volumes:none")) return self->request_sync();
      self->context_.host.post_blocking([&context = self->context_, uid = self->uid_, in_hand = self->context_.in_hand.begin(),
                                         done = std::make_shared<std::function<void()>>(self->site_.strand().wrap([weak] {
                                           if (const auto me = weak.lock()) me->request_sync();
                                         }))] {
        remove_pod_files(context.config.root, uid);
        (*done)();
      });
      return;
    }
    const auto [method, id] = ids->back();
    const auto keep = weak_next.lock();
    self->link_->call(method, Value::object({{"node", self->site_.facts().name}, {"id", id}}),
                      self->site_.strand().wrap([weak, ids, keep](Result<Value> r) {
                        const auto me = weak.lock();
                        if (!me) return;
                        if (r) {
                          ids->pop_back();
                          return (*keep)();
                        }
                        me->context_.host.warn("a pod could not be removed from the runtime", Value::object({{"pod", pod_key(me->object_.json())}, {"error", r.error().text}}));
                        me->cut_ = me->context_.host.after(2 * kSecond, me->site_.strand().wrap([keep] { (*keep)(); }));
                      }),
                      120 * kSecond);
  };
  forget_connections([next] { (*next)(); });
}

void PodWorker::remove_from_store() {
  stage_ = Stage::kDone;
  if (gone_) {
    over_ = true;
    return site_.finished(uid_);
  }
  const Value options = Value::object({{"gracePeriodSeconds", 0}, {"preconditions", Value::object({{"uid", uid_}})}});
  context_.host.commit({Op::remove("pods", str(pod_["metadata"]["namespace"]), str(pod_["metadata"]["name"]), uid_, options)},
                       [in_hand = context_.in_hand.begin(), done = std::make_shared<std::function<void(CommitResult)>>(site_.strand().wrap([weak = weak_from_this()](CommitResult r) {
                          const auto self = weak.lock();
                          if (!self) return;
                          const OpResult* failed = r.failed();
                          const pintle_code code = failed ? failed->code : r.code;
                          if (code == PINTLE_OK || code == PINTLE_NOT_FOUND || code == PINTLE_CONFLICT) return;  // stays until the watch tells that it is gone
                          self->context_.host.warn("a pod could not be deleted", Value::object({{"pod", pod_key(self->object_.json())}, {"error", failed ? failed->text : ""}}));
                          self->stage_ = Stage::kDelete;
                          self->wake_ = self->context_.host.after(kSecond, self->site_.strand().wrap([weak] {
                            if (const auto me = weak.lock()) me->request_sync();
                          }));
                        }))](CommitResult r) { (*done)(std::move(r)); });
}

}  // namespace pintle::node_agent

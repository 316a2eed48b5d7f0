#include "pod_worker.h"

#include <algorithm>

#include "pintle/timestamp.h"
#include "unsupported.h"

namespace pintle::node_agent {

using json::Value;
using State = ContainerView::State;

namespace {

// Of a log that stands in for a termination message.
constexpr size_t kLogTail = 2048;
constexpr int kLogTailLines = 80;
constexpr uint64_t kLogTime = 10 * kSecond;

// How long a change of the status that nobody waits for is kept for the next one.
constexpr uint64_t kCompany = kSecond / 5;

// 1 s, 2 s, 4 s, ... 2 minutes.
uint64_t retry_delay(unsigned failures) { return std::min<uint64_t>(120, uint64_t{1} << std::min(7u, failures)) * kSecond; }

std::string uid_of(const Object& o) { return str(o.json()["metadata"]["uid"]); }

std::string seconds_text(uint64_t ns) {
  const uint64_t s = ns / kSecond;
  if (s < 60) return std::to_string(s) + "s";
  return std::to_string(s / 60) + "m" + std::to_string(s % 60) + "s";
}

}  // namespace

PodWorker::PodWorker(Context& context, PodSite& site, Object object)
    : context_(context), site_(site), uid_(uid_of(object)), object_(std::move(object)) {}

void PodWorker::update(Object object) {
  if (object.revision() <= object_.revision()) return;
  // Labels and annotations may be shown in files.
  const Value before = object_.json(), now = object.json();
  if (before["metadata"]["labels"] != now["metadata"]["labels"] || before["metadata"]["annotations"] != now["metadata"]["annotations"]) volumes_dirty_ = true;
  object_ = std::move(object);
  request_sync();
}

void PodWorker::gone() {
  gone_ = true;
  if (stage_ == Stage::kDone) {
    over_ = true;
    return site_.finished(uid_);
  }
  request_sync();
}

void PodWorker::set_view(PodView view) {
  view_ = std::move(view);
  request_sync();
}

void PodWorker::sources_changed() {
  volumes_dirty_ = true;
  retry_volumes_at_ = 0;
  for (auto& [name, m] : memory_)
    if (m.note.waiting_reason == "CreateContainerConfigError") m.retry_at = 0;
  request_sync();
}

void PodWorker::request_sync() {
  if (std::exchange(sync_posted_, true)) return;
  site_.strand().post([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->sync();
  });
}

void PodWorker::stop() {
  stopped_ = true;
  wake_.reset();
  cut_.reset();
  gate_.reset();
  for (auto& [name, m] : memory_) {
    m.stop_again.reset();
    if (m.probes) m.probes->stop();
  }
}

bool PodWorker::was_seen_running() const { return object_.json().at("status.startTime").is_string() || !view_.empty(); }

bool PodWorker::deleting() const { return gone_ || pod_["metadata"].contains("deletionTimestamp"); }
bool PodWorker::ended() const {
  const std::string_view phase = pod_["status"]["phase"].as_string();
  return phase == "Failed" || phase == "Succeeded";
}

void PodWorker::wake(uint64_t in_ns) { wake_in_ = std::min(wake_in_, in_ns); }

void PodWorker::sync() {
  sync_posted_ = false;
  if (over_ || stopped_ || !site_.ready() || context_.draining) return;
  wake_.reset();
  wake_in_ = UINT64_MAX;
  pod_ = object_.json();
  step();
  if (!over_) {
    if (stage_ != Stage::kDelete && stage_ != Stage::kDone && stage_ != Stage::kRemove) write_status();
    if (wake_in_ != UINT64_MAX)
      wake_ = context_.host.after(wake_in_, site_.strand().wrap([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->request_sync();
      }));
  }
  pod_ = Value();
}

void PodWorker::step() {
  if (!link_) {
    std::string handler;
    if (const auto name = pod_["spec"]["runtimeClassName"].as_string(); !name.empty()) {
      const auto found = context_.host.get_object("runtimeclasses.node.k8s.io", "", name);
      if (!found && !deleting()) {
        const std::string text = "RuntimeClass \"" + std::string(name) + "\" not found";
        if (std::exchange(complaint_, text) != text) event("Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: " + text);
        wait_all("ContainerCreating", text);
        return wake(5 * kSecond);
      }
      if (found) handler = str(found->json()["handler"]);
    }
    link_ = site_.runtime(handler);
    if (!handler.empty()) {
      // Its containers, if an earlier run made any, are known to that driver only.
      unseen_ = true;
      site_.refresh(uid_, link_, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) {
          self->unseen_ = false;
          self->request_sync();
        }
      });
    }
  }
  if (unseen_) return;
  for (const auto& c : containers_of(pod_)) {
    if (const ContainerView* v = view_.latest(c.name())) {
      if (v->state == State::kExited) hear_out(c, *v);
      if (v->state != State::kRunning) {
        Memory& m = memory(c.name());
        if (m.probes) m.probes->stop();
        m.probes.reset();
        m.note.started = m.note.ready = false;
      }
    }
  }
  leaving_ = deleting() || ended() || !failed_reason_.empty();
  if (deleting()) return end_step();
  if (leaving_) {
    if (stop_containers(grace_seconds())) site_.release(uid_);
    return;
  }
  if (!admitted_) {
    const auto refusal = site_.admit(pod_, was_seen_running());
    if (refusal.for_now) return wait_all("ContainerCreating", refusal.message);
    if (!refusal.reason.empty()) return fail(refusal.reason, refusal.message);
    admitted_ = true;
  }
  if (const Value& deadline = pod_["spec"]["activeDeadlineSeconds"]; deadline.is_int()) {
    const auto since = parse_time(pod_["status"]["startTime"].as_string());
    const int64_t left = (since ? *since : context_.host.wall()) + deadline.as_int() * 1'000'000'000 - context_.host.wall();
    if (left <= 0) return fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
    wake(static_cast<uint64_t>(left));
  }
  if (std::string text = unsupported(pod_); !text.empty()) {
    if (std::exchange(complaint_, text) != text) event("Warning", "Unsupported", text);
    return wait_all("Unsupported", text);
  }
  const Progress progress = progress_of(pod_, view_);
  if (progress.all_done || progress.init_failed) {
    leaving_ = true;
    // Sidecars live as long as the rest: nothing else will start any more.
    if (stop_containers(grace_seconds())) site_.release(uid_);
    return;
  }
  // What runs already is known before volumes and sandbox are looked at: an adopted container is not unready for that long.
  for (const auto& c : containers_of(pod_))
    if (const ContainerView* v = view_.latest(c.name()); v && v->state == State::kRunning && c.type != ContainerType::kInit && !memory(c.name()).busy) watch_container(c, *v);
  if (prepare()) run_containers();
  remove_old_containers();
}

void PodWorker::fail(std::string reason, std::string message) {
  failed_reason_ = std::move(reason);
  failed_message_ = std::move(message);
  event("Warning", failed_reason_.c_str(), failed_message_);
  if (stop_containers(grace_seconds())) site_.release(uid_);
}

void PodWorker::wait_all(const std::string& reason, const std::string& message) {
  for (const auto& c : containers_of(pod_))
    if (!view_.latest(c.name())) {
      ContainerNote& n = memory(c.name()).note;
      n.waiting_reason = reason;
      n.waiting_message = message;
    }
}

Sources PodWorker::sources(const Value& pod) const {
  Sources s;
  const std::string ns = str(pod["metadata"]["namespace"]);
  const auto get = [host = context_.host, ns](const char* kind) {
    return [host, ns, kind](const std::string& name) -> Result<Value> {
      auto o = host.get_object(kind, ns, name);
      if (!o) return o.error();
      return o->json();
    };
  };
  s.config_map = get("configmaps");
  s.secret = get("secrets");
  if (pod["spec"]["enableServiceLinks"].as_bool(true)) {
    if (const auto list = context_.host.list({.kind = "services", .ns = ns}))
      for (const auto& o : list->objects) s.services.push_back(o.json());
  }
  if (ns != "default" || s.services.empty())
    if (const auto o = context_.host.get_object("services", "default", "kubernetes")) s.services.push_back(o->json());
  if (pod["spec"]["hostNetwork"].as_bool()) s.pod_ips = {site_.host_ip()};
  else if (const SandboxView* sandbox = view_.ready_sandbox()) s.pod_ips = sandbox->ips;
  s.host_ip = site_.host_ip();
  s.allocatable = site_.allocatable();
  return s;
}

bool PodWorker::prepare() {
  // Volumes first: without them no container may start, with them a change of a source is written behind its back.
  if (shown_sources_.empty())
    for (auto& name : volume_sources(pod_)) shown_sources_.insert(std::move(name));
  for (const auto& c : containers_of(pod_)) {
    for (const auto& e : (*c.spec)["envFrom"].items()) {
      if (e.contains("configMapRef")) shown_sources_.insert("c/" + str(e["configMapRef"]["name"]));
      if (e.contains("secretRef")) shown_sources_.insert("s/" + str(e["secretRef"]["name"]));
    }
    for (const auto& e : (*c.spec)["env"].items()) {
      if (e["valueFrom"].contains("configMapKeyRef")) shown_sources_.insert("c/" + str(e["valueFrom"]["configMapKeyRef"]["name"]));
      if (e["valueFrom"].contains("secretKeyRef")) shown_sources_.insert("s/" + str(e["valueFrom"]["secretKeyRef"]["name"]));
    }
  }
  const uint64_t now = context_.host.now();
  const bool need = volumes_ == Volumes::kNone || (volumes_ == Volumes::kReady && volumes_dirty_);
  if (need && now < retry_volumes_at_) wake(retry_volumes_at_ - now);
  if (need && now >= retry_volumes_at_) {
    const bool first = volumes_ == Volumes::kNone;
    auto plan = plan_volumes(pod_, context_.config.root, sources(pod_));
    const auto failed = [this](const Error& e) {
      retry_volumes_at_ = context_.host.now() + retry_delay(volume_failures_++);
      wake(retry_volumes_at_ - context_.host.now());
      event("Warning", "FailedMount", e.text);
      wait_all("ContainerCreating", e.text);
    };
    if (!plan) {
      failed(plan.error());
    } else if (link_->can("volumes:none") || (plan->empty() && containers_of(pod_).empty())) {
      plan_ = std::move(*plan);
      volumes_ = Volumes::kReady;
      volumes_dirty_ = false;
    } else {
      volumes_ = Volumes::kBusy;
      volumes_dirty_ = false;
      char stamp[40];
      std::snprintf(stamp, sizeof stamp, "%lld", static_cast<long long>(context_.host.wall()));
      auto shared = std::make_shared<std::vector<VolumePlan>>(std::move(*plan));
      context_.host.post_blocking([&context = context_, in_hand = context_.in_hand.begin(), weak = weak_from_this(), shared, uid = uid_, stamp = std::string(stamp), first, failed,
                                   finished = std::make_shared<std::function<void(Result<void>)>>(
                                       site_.strand().wrap([weak = weak_from_this(), shared, first, failed](Result<void> r) {
                                         const auto self = weak.lock();
                                         if (!self) return;
                                         self->volumes_ = r || !first ? Volumes::kReady : Volumes::kNone;
                                         if (!r) self->volumes_dirty_ = true;
                                         if (r) {
                                           self->plan_ = std::move(*shared);
                                           self->volume_failures_ = 0;
                                         } else {
                                           self->pod_ = self->object_.json();
                                           failed(r.error());
                                         }
                                         self->request_sync();
                                       }))] {
        (*finished)(put_volumes(context.config.root, uid, *shared, stamp));
      });
    }
  }
  if (volumes_ != Volumes::kReady && plan_.empty() && !(volumes_ == Volumes::kReady)) return false;
  for (auto& [name, m] : memory_)
    if (m.note.waiting_reason == "ContainerCreating") m.note = {};

  if (sandbox_busy_) return false;
  const SandboxView* sandbox = view_.ready_sandbox();
  if (sandbox) return true;
  // A dead sandbox takes its containers with it.
  for (const auto& c : containers_of(pod_))
    if (const ContainerView* v = view_.latest(c.name()); v && v->state == State::kRunning) {
      stop_containers(grace_seconds());
      return false;
    }
  if (now < retry_sandbox_at_) {
    wake(retry_sandbox_at_ - now);
    return false;
  }
  sandbox_busy_ = true;
  if (view_.empty())
    if (std::string text = not_enforced(pod_); !text.empty()) event("Warning", "NotEnforced", text);
  const int64_t attempt = view_.sandboxes.empty() ? 0 : view_.sandboxes.back().attempt + 1;
  const auto over = [weak = weak_from_this()](Result<Value> r) {
    const auto self = weak.lock();
    if (!self) return;
    if (!r) {
      self->retry_sandbox_at_ = self->context_.host.now() + retry_delay(self->sandbox_failures_++);
      self->event("Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: " + r.error().text);
    } else {
      self->sandbox_failures_ = 0;
    }
    self->site_.refresh(self->uid_, self->link_, [weak] {
      if (const auto me = weak.lock()) {
        me->sandbox_busy_ = false;
        me->request_sync();
      }
    });
  };
  const auto& strand = site_.strand();
  NodeFacts facts = site_.facts();
  if (facts.cluster_dns.empty())
    if (const auto dns = context_.host.get_object("services", "kube-system", "kube-dns"))
      if (const std::string ip = str(dns->json()["spec"]["clusterIP"]); ip != "None") facts.cluster_dns = ip;
  link_->call(PINTLE_METHOD(pintle_runtime, create_pod), sandbox_request(pod_, attempt, facts),
              strand.wrap([weak = weak_from_this(), over](Result<Value> made) {
                const auto self = weak.lock();
                if (!self || !made) return over(std::move(made));
                self->link_->call(PINTLE_METHOD(pintle_runtime, start_pod), Value::object({{"node", self->site_.facts().name}, {"id", (*made)["id"]}}),
                                  self->site_.strand().wrap([over](Result<Value> started) {
                                    if (!started && started.error().code == PINTLE_UNSUPPORTED) return over(Value::object());
                                    over(std::move(started));
                                  }),
                                  120 * kSecond);
              }),
              120 * kSecond);
  return false;
}

void PodWorker::run_containers() {
  const SandboxView sandbox = *view_.ready_sandbox();
  bool mains_exist = false;
  for (const auto& c : containers_of(pod_))
    if (const ContainerView* v = view_.latest(c.name()); c.type == ContainerType::kMain && v && v->pod_id == sandbox.id) mains_exist = true;
  for (const auto& c : containers_of(pod_)) {
    if (c.type == ContainerType::kInit && mains_exist) continue;  // done, also when the runtime has forgotten it
    const bool go_on = run_container(c, sandbox);
    if (c.type != ContainerType::kMain && !go_on && !mains_exist) return;
  }
}

bool PodWorker::run_container(const ContainerSpec& c, const SandboxView& sandbox) {
  const std::string name(c.name());
  Memory& m = memory(name);
  const ContainerView* v = view_.latest(name);
  const uint64_t now = context_.host.now();
  if (m.busy || m.listening) return false;
  if (v && v->state == State::kRunning) {
    m.note.waiting_reason.clear();
    m.note.waiting_message.clear();
    const bool replaced = !v->hash.empty() && v->hash != container_hash(*c.spec);
    if (replaced || m.restart_id == v->id) {
      stop_container(c, *v, m.restart_grace.value_or(grace_seconds()), replaced ? "Container " + name + " definition changed, will be restarted" : "");
      return false;
    }
    if (c.type == ContainerType::kInit) return false;  // until it has ended
    watch_container(c, *v);
    return m.note.started;
  }
  if (m.retry_at > now) {
    wake(m.retry_at - now);
    return false;
  }
  if (const uint64_t wait = m.pull_failed_at ? m.pull_backoff.remaining(m.pull_failed_at, now) : 0) {
    if (m.note.waiting_reason == "ErrImagePull") event("Normal", "BackOff", "Back-off pulling image \"" + str((*c.spec)["image"]) + "\"");
    m.note.waiting_reason = "ImagePullBackOff";
    m.note.waiting_message = "Back-off pulling image \"" + str((*c.spec)["image"]) + "\": ErrImagePull: " + m.pull_error;
    wake(wait);
    return false;
  }
  if (v && v->state == State::kCreated && v->pod_id == sandbox.id) {
    resume_container(c, *v);
    return false;
  }
  // Numbers go on where the status is, when the runtime has forgotten what was before.
  const char* list = c.type == ContainerType::kMain ? "containerStatuses" : "initContainerStatuses";
  int64_t next = v ? v->attempt + 1 : 0;
  if (!v)
    for (const auto& s : pod_["status"][list].items())
      if (s["name"].as_string() == name && s["containerID"].is_string()) next = s["restartCount"].as_int() + 1;
  if (!v) {
    start_container(c, next, sandbox);
    return false;
  }
  const int code = v->state == State::kUnknown ? 137 : v->exit_code;
  const std::string_view policy = restart_policy(pod_, c);
  const bool elsewhere = v->pod_id != sandbox.id && c.type != ContainerType::kMain;  // init containers run again in a new sandbox
  if (!elsewhere && c.type == ContainerType::kInit && code == 0 && v->state == State::kExited) return true;
  if (!elsewhere && (policy == "Never" || (policy == "OnFailure" && code == 0))) return false;
  const bool wanted_restart = m.restart_id == v->id || (!v->hash.empty() && v->hash != container_hash(*c.spec));
  const int64_t age = std::max<int64_t>(0, context_.host.wall() - v->finished_ns);
  const uint64_t failed_at = now > static_cast<uint64_t>(age) ? now - static_cast<uint64_t>(age) : 0;
  if (const uint64_t wait = wanted_restart ? 0 : m.backoff.remaining(failed_at, now)) {
    m.note.waiting_reason = "CrashLoopBackOff";
    m.note.waiting_message = "back-off " + seconds_text(m.backoff.delay()) + " restarting failed container=" + name + " pod=" + pod_tag(pod_);
    if (std::exchange(m.told_back_off, v->id) != v->id)
      event("Warning", "BackOff", "Back-off restarting failed container " + name + " in pod " + pod_tag(pod_));
    wake(wait);
    return false;
  }
  if (!wanted_restart) m.backoff.tried(now);
  m.restart_id.clear();
  m.restart_grace.reset();
  start_container(c, next, sandbox);
  return false;
}

void PodWorker::watch_container(const ContainerSpec& c, const ContainerView& v) {
  Memory& m = memory(c.name());
  if (m.probes && m.probes->container_id() == v.id) return;
  const bool adopted = m.started_id != v.id;
  bool was_ready = false;
  if (adopted)
    for (const char* list : {"containerStatuses", "initContainerStatuses"})
      for (const auto& s : pod_["status"][list].items())
        if (s["name"].as_string() == c.name() && s["ready"].as_bool() && s["containerID"].as_string().ends_with("://" + v.id)) was_ready = true;
  ActionTarget target{link_, site_.facts().name, v.id, "", (*c.spec)["ports"]};
  if (pod_["spec"]["hostNetwork"].as_bool()) target.pod_ip = site_.host_ip();
  else if (const SandboxView* s = view_.ready_sandbox(); s && !s->ips.empty()) target.pod_ip = s->ips[0];
  const std::string name(c.name());
  Probes::Events events;
  const auto weak = weak_from_this();
  const auto note = [](PodWorker& w, const std::string& container) {
    Memory& mem = w.memory(container);
    if (!mem.probes) return;
    mem.note.started = mem.probes->started();
    mem.note.ready = mem.probes->ready();
  };
  events.changed = [weak, name, note] {
    if (const auto self = weak.lock()) {
      note(*self, name);
      self->request_sync();
    }
  };
  events.unhealthy = [weak](const char* kind, const std::string& text) {
    if (const auto self = weak.lock()) self->event("Warning", "Unhealthy", std::string(kind) + " " + text);
  };
  std::map<std::string, int64_t> graces;
  for (const auto& [kind, key] : {std::pair{"Liveness", "livenessProbe"}, std::pair{"Startup", "startupProbe"}})
    if (const Value& own = (*c.spec)[key]["terminationGracePeriodSeconds"]; own.is_int()) graces[kind] = own.as_int();
  events.must_restart = [weak, name, graces, id = v.id](const char* kind) {
    const auto self = weak.lock();
    if (!self) return;
    std::string lower(kind);
    lower[0] = static_cast<char>(lower[0] + 32);
    self->event("Normal", "Killing", "Container " + name + " failed " + lower + " probe, will be restarted");
    self->memory(name).restart_id = id;
    if (const auto own = graces.find(kind); own != graces.end()) self->memory(name).restart_grace = own->second;
    self->request_sync();
  };
  m.probes = std::make_shared<Probes>(context_, site_.strand(), *c.spec, std::move(target), adopted, was_ready, std::move(events));
  note(*this, name);
  m.probes->start();
}

// The container's last words, read once: its termination message, or the end of its log when it failed and wants that. Until they are
// read neither the status is written nor the container restarted.
void PodWorker::hear_out(const ContainerSpec& c, const ContainerView& v) {
  Memory& m = memory(c.name());
  if (std::exchange(m.heard_out, v.id) == v.id) return;
  std::erase_if(m.note.last_words, [&](const auto& w) {
    return std::none_of(view_.containers.begin(), view_.containers.end(), [&](const auto& known) { return known.id == w.first; });
  });
  std::string& words = m.note.last_words[v.id];
  if (!link_->can("volumes:none")) words = read_termination_file(context_.config.root, uid_, std::string(c.name()), v.attempt);
  if (!words.empty() || v.exit_code == 0 || v.started_ns == 0 || (*c.spec)["terminationMessagePolicy"].as_string() != "FallbackToLogsOnError") return;
  m.listening = true;
  auto log = std::make_shared<std::string>();
  const auto part = [log](std::string_view piece) {
    log->append(piece);
    if (log->size() > 2 * kLogTail) log->erase(0, log->size() - kLogTail);
    return true;
  };
  link_->stream(PINTLE_METHOD(pintle_runtime, logs), Value::object({{"node", site_.facts().name}, {"id", v.id}, {"tailLines", kLogTailLines}}), part,
                site_.strand().wrap([weak = weak_from_this(), name = std::string(c.name()), id = v.id, log](Result<Value> r) {
                  const auto self = weak.lock();
                  if (!self) return;
                  Memory& mine = self->memory(name);
                  mine.listening = false;
                  if (!r && log->empty()) *log = "the end of the log could not be read: " + r.error().text;
                  if (log->size() > kLogTail) log->erase(0, log->size() - kLogTail);
                  mine.note.last_words[id] = as_text(std::move(*log));
                  self->request_sync();
                }),
                kLogTime);
}

// The last run and the one before it are kept: their logs can be asked for.
void PodWorker::remove_old_containers() {
  for (const auto& c : view_.containers) {
    if (c.state == State::kRunning) continue;
    const ContainerView *latest = view_.latest(c.name), *before = view_.before_latest(c.name);
    if (c.id == latest->id || (before && c.id == before->id)) continue;
    link_->call(PINTLE_METHOD(pintle_runtime, remove), Value::object({{"node", site_.facts().name}, {"id", c.id}}), [](Result<Value>) {});
  }
  // Sandboxes that were replaced, once nothing of what is kept lies in them.
  for (const auto& s : view_.sandboxes) {
    if (s.ready || s.id == view_.sandboxes.back().id) continue;
    bool used = false;
    for (const auto& c : view_.containers) used |= c.pod_id == s.id && c.id == view_.latest(c.name)->id;
    if (!used) link_->call(PINTLE_METHOD(pintle_runtime, remove_pod), Value::object({{"node", site_.facts().name}, {"id", s.id}}), [](Result<Value>) {});
  }
}

void PodWorker::finish(const std::string& container) {
  site_.refresh(uid_, link_, [weak = weak_from_this(), container] {
    if (const auto self = weak.lock()) {
      self->memory(container).busy = false;
      self->request_sync();
    }
  });
}

void PodWorker::write_status() {
  if (status_busy_ || gone_) return;
  if (unseen_ && was_seen_running()) return;  // what an earlier agent said holds until this one has looked
  for (const auto& [name, m] : memory_)
    if (m.listening) return;
  std::map<std::string, ContainerNote, std::less<>> notes;
  for (const auto& [name, m] : memory_) notes[name] = m.note;
  StatusInputs in;
  in.pod = &pod_;
  in.view = &view_;
  in.notes = &notes;
  in.node_name = site_.facts().name;
  in.host_ip = site_.host_ip();
  in.runtime_name = link_ ? link_->name() : "runtime";
  in.now = context_.host.wall();
  in.failed_reason = failed_reason_;
  in.failed_message = failed_message_;
  in.containers_ready_to_start = view_.ready_sandbox() != nullptr;
  const Value status = pod_status(in);
  Value patch = merge_patch(pod_["status"], status);
  if (patch.is_null()) {
    status_due_ = 0;
    return;
  }
  const uint64_t now = context_.host.now();
  if (stage_ != Stage::kStatus && !is_pressing(pod_["status"], status)) {
    if (status_due_ == 0) status_due_ = now + kCompany;
    if (status_due_ > now) return wake(status_due_ - now);
  }
  status_due_ = 0;
  status_busy_ = true;
  Op op = Op::merge("pods", str(pod_["metadata"]["namespace"]), str(pod_["metadata"]["name"]), Value::object({{"status", std::move(patch)}}), "status");
  op.if_uid = uid_;
  op.if_revision = object_.revision();  // conditions are one list: what another wrote meanwhile must not be lost
  context_.host.commit({std::move(op)}, [in_hand = context_.in_hand.begin(), done = std::make_shared<std::function<void(CommitResult)>>(site_.strand().wrap(
                                             [weak = weak_from_this()](CommitResult r) {
                                               const auto self = weak.lock();
                                               if (!self) return;
                                               self->status_busy_ = false;
                                               if (r.ok()) {
                                                 self->status_refused_ = false;
                                                 if (r.ops[0].object.revision() > self->object_.revision()) self->object_ = r.ops[0].object;
                                                 return self->request_sync();
                                               }
                                               const OpResult* failed = r.failed();
                                               const pintle_code code = failed ? failed->code : r.code;
                                               if (code == PINTLE_NOT_FOUND) return;  // its end comes over the watch
                                               self->status_refused_ = code == PINTLE_INVALID || code == PINTLE_BAD_REQUEST || code == PINTLE_TOO_LARGE;
                                               if (code != PINTLE_CONFLICT)
                                                 self->context_.host.warn("the status of a pod could not be written",
                                                                          Value::object({{"pod", pod_key(self->object_.json())}, {"error", failed ? failed->text : ""}}));
                                               self->wake_ = self->context_.host.after(code == PINTLE_CONFLICT ? kSecond / 5 : kSecond,
                                                                                       self->site_.strand().wrap([weak] {
                                                                                         if (const auto me = weak.lock()) me->request_sync();
                                                                                       }));
                                             }))](CommitResult r) { (*done)(std::move(r)); });
}

}  // namespace pintle::node_agent

#include "scheduling.h"

#include "messages.h"
#include "pintle/timestamp.h"

namespace pintle::scheduling_plugin {
namespace {

uint64_t fingerprint_of(std::initializer_list<std::string_view> parts) {
  uint64_t h = 1469598103934665603ull;
  for (const std::string_view p : parts) {
    for (const char c : p) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    h = (h ^ 0xff) * 1099511628211ull;
  }
  return h;
}

PendingQueue::Options queue_options(const json::Value& config) {
  return {static_cast<uint64_t>(config["backoffSeconds"].as_int(1)) * kSecond,
          static_cast<uint64_t>(config["maxBackoffSeconds"].as_int(10)) * kSecond};
}

}  // namespace

Scheduling::Scheduling(Host h, const json::Value& config)
    : Plugin(h),
      batch_(static_cast<size_t>(config["batch"].as_int(100))),
      strand_(h),
      recorder_(h, "scheduling"),
      queue_(queue_options(config)),
      path_uid_(h.path("metadata.uid")),
      path_node_(h.path("spec.nodeName")),
      path_spec_(h.path("spec")),
      path_labels_(h.path("metadata.labels")),
      path_phase_(h.path("status.phase")),
      path_deleted_(h.path("metadata.deletionTimestamp")),
      path_scheduler_(h.path("spec.schedulerName")),
      path_conditions_(h.path("status.conditions")),
      pending_metric_(h.metric(PINTLE_GAUGE, "pintle_scheduling_pending_pods", "Pods without a node")),
      parked_metric_(h.metric(PINTLE_GAUGE, "pintle_scheduling_parked_pods", "Pods that fit nowhere and wait for a change")),
      binds_metric_(h.metric(PINTLE_COUNTER, "pintle_scheduling_binds_total", "Pods bound to nodes")),
      conflicts_metric_(h.metric(PINTLE_COUNTER, "pintle_scheduling_bind_conflicts_total", "Binds that the store refused")) {}

void Scheduling::start() {
  strand_.post([this] {
    watch_nodes();
    watch_namespaces();
    watch_pods();
    watch_slots();
  });
}

void Scheduling::activate(std::string_view, uint64_t) {
  strand_.post([this] {
    active_ = true;
    pump();
  });
}

void Scheduling::drain(Call done) {
  auto call = std::make_shared<Call>(std::move(done));
  strand_.post([this, call] {
    draining_ = true;
    drained_ = call;
    for (auto& [name, p] : profiles_)
      for (auto& q : p.questions) q.call->fail(PINTLE_UNAVAILABLE, "scheduling is stopping");
    for (auto& [name, p] : profiles_) p.questions.clear();
    if (outstanding_ == 0 && drained_) std::exchange(drained_, nullptr)->reply();
  });
}

void Scheduling::stop() {
  pod_watch_.reset();
  node_watch_.reset();
  namespace_watch_.reset();
  slot_watch_.reset();
  strand_.close();
  recorder_.close();
  wake_.reset();
  poll_.reset();
  again_.clear();
}

void Scheduling::subresource(json::Value request, Call call) {
  auto shared = std::make_shared<Call>(std::move(call));
  strand_.post([this, shared, request = std::move(request)] { hook(request, std::move(*shared)); });
}

void Scheduling::later(uint64_t delay_ns, std::function<void()> fn) {
  std::erase_if(again_, [](const Timer& t) { return !t; });
  again_.push_back(host.after(delay_ns, strand_.wrap(std::move(fn))));
}

void Scheduling::settled() {
  --outstanding_;
  if (draining_ && outstanding_ == 0 && drained_) std::exchange(drained_, nullptr)->reply();
}

// ---- watches. A watch that ends is started again from the whole state; what it does not show any more is gone.

void Scheduling::watch_pods() {
  ++pod_round_;
  auto w = host.watch({.kind = "pods"}, strand_.wrap([this](const Event& e) { on_pod(e); }));
  if (w.ok()) {
    pod_watch_ = std::move(*w);
    return;
  }
  host.warn("pods cannot be watched, trying again: " + w.error().text);
  later(kSecond, [this] { watch_pods(); });
}

void Scheduling::watch_nodes() {
  ++node_round_;
  auto w = host.watch({.kind = "nodes"}, strand_.wrap([this](const Event& e) { on_node(e); }));
  if (w.ok()) {
    node_watch_ = std::move(*w);
    return;
  }
  host.warn("nodes cannot be watched, trying again: " + w.error().text);
  later(kSecond, [this] { watch_nodes(); });
}

void Scheduling::watch_namespaces() {
  auto w = host.watch({.kind = "namespaces"}, strand_.wrap([this](const Event& e) { on_namespace(e); }));
  if (w.ok()) {
    namespace_watch_ = std::move(*w);
    return;
  }
  host.warn("namespaces cannot be watched, trying again: " + w.error().text);
  later(kSecond, [this] { watch_namespaces(); });
}

void Scheduling::watch_slots() {
  auto w = host.watch({.kind = "slots.pintle.dev"}, strand_.wrap([this](const Event& e) {
    if (e.type == PINTLE_EVENT_CLOSED) return watch_slots();
    happened_ |= kSlotHolder;
    pump();
  }));
  if (w.ok()) slot_watch_ = std::move(*w);
  else host.debug("slots cannot be watched, their holders are polled: " + w.error().text);
}

void Scheduling::on_pod(const Event& e) {
  switch (e.type) {
    case PINTLE_EVENT_ADDED:
    case PINTLE_EVENT_MODIFIED: pod_seen(e.object); break;
    case PINTLE_EVENT_DELETED: pod_gone(std::string(e.object.text(path_uid_))); break;
    case PINTLE_EVENT_SYNCED: {
      std::vector<std::string> gone;
      for (const auto& [uid, p] : pods_)
        if (p.round != pod_round_) gone.push_back(uid);
      for (const auto& uid : gone) pod_gone(uid);
      pods_synced_ = true;
      break;
    }
    case PINTLE_EVENT_CLOSED: watch_pods(); return;
  }
  flush_conditions();
  pump();
}

void Scheduling::pod_seen(const Object& object) {
  const std::string uid(object.text(path_uid_));
  PodState& p = pods_[uid];
  if (p.object && p.object.revision() > object.revision()) {  // a bind's answer was faster than its event
    p.round = pod_round_;
    return;
  }
  const std::string_view phase = object.text(path_phase_);
  const bool deleted = !object.field(path_deleted_).empty();
  const bool done = phase == "Succeeded" || phase == "Failed";
  const uint64_t print = fingerprint_of({object.field(path_spec_), object.field(path_labels_), deleted ? "d" : "", done ? "f" : ""});
  const bool fresh = !p.object;
  p.object = object;
  p.round = pod_round_;
  if (!fresh && p.fingerprint == print) return;
  p.fingerprint = print;
  const json::Value pod = object.json();
  const std::string before = p.node;
  p.ns = pod.at("metadata.namespace").as_string();
  p.name = pod.at("metadata.name").as_string();
  p.node = pod.at("spec.nodeName").as_string();
  p.scheduler = pod.at("spec.schedulerName").as_string("default-scheduler");
  if (!p.node.empty()) {
    queue_.remove(uid);
    if (done) return pod_released(uid);
    ledger_.put(uid, p.node, scheduling::pod_requests(pod["spec"]), false);
    tell_all([&](News& n) { n.pods.insert(uid), n.removed_pods.erase(uid); });
    happened_ |= kPodAssigned;
    return;
  }
  if (deleted || done) {
    queue_.remove(uid);
    return;
  }
  if (gated(pod)) {
    queue_.remove(uid);
    if (active_)
      set_condition(p, scheduled_condition(pod, false, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates",
                                           format_time(host.wall())));
    return;
  }
  queue_.add(uid, p.scheduler, pod.at("spec.priority").as_int());
}

void Scheduling::pod_released(const std::string& uid) {
  if (ledger_.remove(uid).empty()) return;
  tell_all([&](News& n) { n.removed_pods.insert(uid), n.pods.erase(uid); });
  happened_ |= kPodGone;
}

void Scheduling::pod_gone(const std::string& uid) {
  queue_.remove(uid);
  pod_released(uid);
  pods_.erase(uid);
}

void Scheduling::on_node(const Event& e) {
  switch (e.type) {
    case PINTLE_EVENT_ADDED:
    case PINTLE_EVENT_MODIFIED: {
      const json::Value node = e.object.json();
      json::Value message = node_message(node);
      const std::string name(message["name"].as_string());
      NodeState& s = nodes_[name];
      s.round = node_round_;
      s.uid = node.at("metadata.uid").as_string();
      if (s.message == message) return;  // a heartbeat
      happened_ |= node_happening(s.message, message);
      s.message = std::move(message);
      ledger_.set_node(name, scheduling::Amounts::from_numbers(s.message["allocatable"]));
      tell_all([&](News& n) { n.nodes.insert(name), n.removed_nodes.erase(name); });
      break;
    }
    case PINTLE_EVENT_DELETED: node_gone(std::string(e.object.json().at("metadata.name").as_string())); break;
    case PINTLE_EVENT_SYNCED: {
      std::vector<std::string> gone;
      for (const auto& [name, n] : nodes_)
        if (n.round != node_round_) gone.push_back(name);
      for (const auto& name : gone) node_gone(name);
      nodes_synced_ = true;
      break;
    }
    case PINTLE_EVENT_CLOSED: watch_nodes(); return;
  }
  pump();
}

void Scheduling::node_gone(const std::string& name) {
  nodes_.erase(name);
  ledger_.remove_node(name);
  tell_all([&](News& n) { n.removed_nodes.insert(name), n.nodes.erase(name); });
}

void Scheduling::on_namespace(const Event& e) {
  if (e.type == PINTLE_EVENT_CLOSED) return watch_namespaces();
  if (e.type == PINTLE_EVENT_SYNCED) return;
  const json::Value ns = e.object.json();
  const std::string name(ns.at("metadata.name").as_string());
  if (e.type == PINTLE_EVENT_DELETED) {
    namespaces_.erase(name);
    return;
  }
  json::Value labels = ns.at("metadata.labels");
  if (!labels.is_object()) labels = json::Value::object();
  const auto [it, fresh] = namespaces_.try_emplace(name);
  if (!fresh && it->second == labels) return;
  it->second = std::move(labels);
  tell_all([&](News& n) { n.namespaces.insert(name); });
  if (!fresh) happened_ |= kNamespaceLabels;
  pump();
}

void Scheduling::pump() {
  if (!active_ || draining_ || !pods_synced_ || !nodes_synced_) return;
  const uint64_t now = host.now();
  if (happened_) queue_.happened(std::exchange(happened_, 0u), now);
  arm(queue_.tick(now));
  std::set<std::string> names = queue_.schedulers_with_ready();
  for (auto& [name, p] : profiles_)
    if (!p.questions.empty() || p.news.size() >= 1000) names.insert(name);
  for (const auto& name : names) run(profile(name));
  flush_conditions();
  pending_metric_.set(static_cast<double>(queue_.size()));
  parked_metric_.set(static_cast<double>(queue_.parked()));
}

void Scheduling::arm(uint64_t next) {
  if (next == 0 || (wake_ && wake_at_ <= next && wake_at_ > host.now())) return;
  wake_at_ = next;
  const uint64_t now = host.now();
  wake_ = host.after(next > now ? next - now : 1, strand_.wrap([this] {
    wake_at_ = 0;
    pump();
  }));
}

void Scheduling::forget_assumed(const Wish& w) {
  if (ledger_.assumed(w.uid)) ledger_.remove(w.uid);
  tell_all([&](News& n) { n.removed_pods.insert(w.uid), n.pods.erase(w.uid); });
}

}  // namespace pintle::scheduling_plugin

PINTLE_PLUGIN(pintle::scheduling_plugin::Scheduling)

// Calls to schedulers: what they have to know, pods to decide on, questions.
#include <algorithm>

#include "messages.h"
#include "pintle/timestamp.h"
#include "scheduling.h"

namespace pintle::scheduling_plugin {
namespace {

constexpr uint64_t kDeadline = 30 * kSecond;
constexpr uint64_t kPoll = 1 * kSecond;  // how often an empty slot is looked at, should no event tell

}  // namespace

Scheduling::Profile& Scheduling::profile(const std::string& name) {
  Profile& p = profiles_[name];
  if (p.slot.empty()) {
    p.name = name;
    p.slot = "scheduler." + name;
  }
  return p;
}

void Scheduling::run(Profile& p) {
  if (p.busy || draining_) return;
  const uint64_t epoch = host.epoch(p.slot);
  if (epoch == 0) return nobody_decides(p);
  p.unheld = false;
  p.busy = true;
  ++outstanding_;
  const bool fresh = p.told != epoch;
  if (!fresh && p.news.size() == 0) return ask(p.name, epoch);
  const json::Value request = observation(p, epoch);
  host.invoke(p.slot, PINTLE_SCHEDULER, PINTLE_METHOD(pintle_scheduler, observe), request,
              strand_.wrap([this, name = p.name, epoch](const Result<std::string>& reply, const std::vector<int>&) {
                if (reply.ok()) return ask(name, epoch);
                Profile& who = profile(name);
                host.warn("scheduler \"" + name + "\" cannot be told about the cluster: " + reply.error().text);
                who.told = 0;
                who.busy = false;
                settled();
                later(kPoll, [this] { pump(); });
              }),
              {}, {}, host.now() + kDeadline);
}

json::Value Scheduling::observation(Profile& p, uint64_t epoch) {
  const bool reset = p.told != epoch;
  json::Value nodes = json::Value::array(), pods = json::Value::array(), namespaces = json::Value::array();
  json::Value removed_nodes = json::Value::array(), removed_pods = json::Value::array();
  const auto add_pod = [&](const std::string& uid) {
    const std::string node = ledger_.node_of(uid);
    const auto it = pods_.find(uid);
    if (!node.empty() && it != pods_.end()) pods.push(pod_message(it->second.object.json(), node));
  };
  const auto add_namespace = [&](const std::string& name, const json::Value& labels) {
    namespaces.push(json::Value::object({{"name", name}, {"labels", labels}}));
  };
  if (reset) {
    for (const auto& [name, n] : nodes_) nodes.push(n.message);
    for (const auto& [uid, pod] : pods_) add_pod(uid);
    for (const auto& [name, labels] : namespaces_) add_namespace(name, labels);
  } else {
    for (const auto& name : p.news.nodes)
      if (const auto it = nodes_.find(name); it != nodes_.end()) nodes.push(it->second.message);
    for (const auto& name : p.news.removed_nodes) removed_nodes.push(name);
    for (const auto& uid : p.news.pods) add_pod(uid);
    for (const auto& uid : p.news.removed_pods) removed_pods.push(uid);
    for (const auto& name : p.news.namespaces)
      if (const auto it = namespaces_.find(name); it != namespaces_.end()) add_namespace(name, it->second);
  }
  p.news = {};
  p.told = epoch;
  return json::Value::object({{"reset", reset},
                              {"nodes", std::move(nodes)},
                              {"removedNodes", std::move(removed_nodes)},
                              {"pods", std::move(pods)},
                              {"removedPods", std::move(removed_pods)},
                              {"namespaces", std::move(namespaces)}});
}

void Scheduling::ask(const std::string& name, uint64_t epoch) {
  Profile& p = profile(name);
  if (!p.questions.empty()) {
    Profile::Question q = std::move(p.questions.front());
    p.questions.pop_front();
    const std::string pod = std::string(q.pod["namespace"].as_string()) + "/" + std::string(q.pod["name"].as_string());
    host.invoke(p.slot, PINTLE_SCHEDULER, PINTLE_METHOD(pintle_scheduler, explain), json::Value::object({{"pod", q.pod}}),
                strand_.wrap([this, name, pod, call = q.call](const Result<std::string>& reply, const std::vector<int>&) {
                  answer_question(name, call, pod, reply);
                }),
                {}, {}, host.now() + kDeadline);
    return;
  }
  const std::vector<std::string> uids = queue_.take(name, batch_);
  json::Value pods = json::Value::array();
  for (const auto& uid : uids) pods.push(pending_message(pods_.at(uid).object.json()));
  if (uids.empty()) {
    p.busy = false;
    return settled();
  }
  host.invoke(p.slot, PINTLE_SCHEDULER, PINTLE_METHOD(pintle_scheduler, schedule), json::Value::object({{"pods", std::move(pods)}}),
              strand_.wrap([this, name, epoch, uids](const Result<std::string>& reply, const std::vector<int>&) {
                decided(name, epoch, uids, reply);
              }),
              {}, {}, host.now() + kDeadline);
}

void Scheduling::decided(const std::string& name, uint64_t epoch, const std::vector<std::string>& uids, const Result<std::string>& reply) {
  Profile& p = profile(name);
  p.busy = false;
  const uint64_t now = host.now();
  if (!reply.ok()) {
    host.warn("scheduler \"" + name + "\" did not decide: " + reply.error().text);
    p.told = 0;
    for (const auto& uid : uids) queue_.retry_later(uid, now);
  } else if (host.epoch(p.slot) != epoch) {
    // Somebody else holds the slot now and may have answered without knowing the cluster.
    p.told = 0;
    for (const auto& uid : uids) queue_.retry_now(uid);
  } else {
    const json::Value answer = json::parse_or_null(*reply);
    std::map<std::string, const json::Value*> by_uid;
    for (const auto& d : answer["decisions"].items()) by_uid[std::string(d["uid"].as_string())] = &d;
    for (const auto& uid : uids) {
      const auto it = by_uid.find(uid);
      if (it == by_uid.end()) {
        queue_.retry_later(uid, now);
        continue;
      }
      const json::Value& d = *it->second;
      if (const json::Value* node = d.find("node")) {
        wish({uid, std::string(node->as_string()), name, epoch, 0});
        continue;
      }
      uint32_t helped = 0;
      for (const auto& f : d.at("unschedulable.filters").items()) helped |= helped_by(std::string(f.as_string()));
      unschedulable(uid, std::string(d.at("unschedulable.message").as_string()), helped ? helped : static_cast<uint32_t>(kEverything));
    }
  }
  flush_conditions();
  settled();
  pump();
}

void Scheduling::answer_question(const std::string& name, const SharedCall& call, const std::string& pod, const Result<std::string>& reply) {
  Profile& p = profile(name);
  p.busy = false;
  if (reply.ok()) {
    json::Value answer = json::parse_or_null(*reply);
    json::Value document = json::Value::object({{"text", explain_text(pod, answer)}});
    for (auto& m : answer.make_object()) document.set(m.key, std::move(m.value));
    call->reply(json::Value::object({{"reply", std::move(document)}, {"code", 200}}));
  } else {
    call->fail(reply.error());
  }
  settled();
  pump();
}

void Scheduling::nobody_decides(Profile& p) {
  p.told = 0;
  p.news = {};
  p.unheld = true;
  const std::string message = "no plugin holds the slot \"" + p.slot + "\": nobody decides for schedulerName \"" + p.name + "\"";
  for (const auto& uid : queue_.take(p.name, queue_.size())) unschedulable(uid, message, kSlotHolder);
  for (auto& q : p.questions)
    q.call->reply(json::Value::object(
        {{"reply", json::Value::object({{"text", message + "\n"}, {"message", message}, {"nodes", json::Value::array()}})}, {"code", 200}}));
  p.questions.clear();
  if (!poll_) poll_ = host.after(kPoll, strand_.wrap([this] { poll(); }));
}

// Whether somebody holds the slots now that nobody held: slots may not be watchable.
void Scheduling::poll() {
  bool still = false;
  for (auto& [name, p] : profiles_) {
    if (!p.unheld) continue;
    if (host.epoch(p.slot) != 0) happened_ |= kSlotHolder;
    else still = true;
  }
  if (still) poll_ = host.after(kPoll, strand_.wrap([this] { poll(); }));
  pump();
}

void Scheduling::unschedulable(const std::string& uid, const std::string& message, uint32_t helped) {
  queue_.park(uid, helped, host.now());
  const auto it = pods_.find(uid);
  if (it == pods_.end()) return;
  const json::Value pod = it->second.object.json();
  set_condition(it->second, scheduled_condition(pod, false, "Unschedulable", message, format_time(host.wall())));
  recorder_.warning(EventSubject::of(pod), "FailedScheduling", message);
}

void Scheduling::set_condition(const PodState& pod, const json::Value& condition) {
  if (condition.empty()) return;
  const json::Value conditions = with_condition(json::parse_or_null(pod.object.field(path_conditions_)), condition);
  const json::Value body = json::Value::object({{"status", json::Value::object({{"conditions", conditions}})}});
  Op op = Op::merge("pods", pod.ns, pod.name, body, "status");
  op.if_revision = pod.object.revision();  // it replaces the whole list
  conditions_.push_back(std::move(op));
}

void Scheduling::flush_conditions() {
  if (conditions_.empty()) return;
  // Best effort: a pod that still does not fit is judged again, and then written again.
  host.commit(std::exchange(conditions_, {}), [](CommitResult) {}, PINTLE_COMMIT_INDEPENDENT);
}

}  // namespace pintle::scheduling_plugin

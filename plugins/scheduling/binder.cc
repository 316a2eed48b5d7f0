// The bind: per node one transaction at a time, of pods and the node's ledger, fenced by the slot of the scheduler that decided.
#include <algorithm>

#include "messages.h"
#include "pintle/timestamp.h"
#include "scheduling.h"

namespace pintle::scheduling_plugin {
namespace {

constexpr size_t kMostTogether = 50;  // pods of one transaction
constexpr int kMostTries = 8;
const char* const kLedgers = "nodeledgers.pintle.dev";

}  // namespace

void Scheduling::wish(Wish w) {
  const auto it = pods_.find(w.uid);
  if (it == pods_.end()) return queue_.remove(w.uid);
  if (!it->second.node.empty()) return;  // bound meanwhile by somebody else; its event took it out of the queue
  const scheduling::Amounts requests = scheduling::pod_requests(it->second.object.json()["spec"]);
  std::string why;
  if (!ledger_.fits(w.node, requests, &why)) {
    // The scheduler knew less than the ledger: it hears about it and decides again.
    host.debug("a decision came too late: " + why, json::Value::object({{"pod", it->second.key()}, {"node", w.node}}));
    queue_.retry_later(w.uid, host.now());
    return forget_assumed(w);
  }
  ledger_.put(w.uid, w.node, requests, true);
  const std::string node = w.node;
  work_[node].waiting.push_back(std::move(w));
  bind(node);
}

// Makes the account of a node true as of the revision of its ledger object: the ledger first, then the pods, so that every
// bind up to that revision is seen.
bool Scheduling::read_account(const std::string& node) {
  const auto object = host.get_object(kLedgers, "", node);
  if (!object.ok() && object.error().code != PINTLE_NOT_FOUND) return false;
  const auto list = host.list({.kind = "pods", .field_selector = "spec.nodeName=" + node});
  if (!list.ok()) return false;
  std::set<std::string> there;
  for (const Object& o : list->objects) {
    const json::Value pod = o.json();
    if (finished(pod) || pod.at("spec.nodeName").as_string() != node) continue;
    const std::string uid(pod.at("metadata.uid").as_string());
    there.insert(uid);
    ledger_.put(uid, node, scheduling::pod_requests(pod["spec"]), false);
  }
  Ledger::Account& account = ledger_.mutable_account(node);
  const std::set<std::string> accounted = account.pods;
  for (const auto& uid : accounted)
    if (!there.contains(uid) && !ledger_.assumed(uid)) ledger_.remove(uid);
  account.revision = object.ok() ? (*object).revision() : 0;
  account.binds = object.ok() ? (*object).json()["binds"].as_int() : 0;
  account.known = true;
  return true;
}

json::Value Scheduling::ledger_object(const std::string& node, const Ledger::Account& account) const {
  json::Value meta = json::Value::object({{"name", node}});
  const auto it = nodes_.find(node);
  if (it != nodes_.end())
    meta.set("ownerReferences", json::Value::array({json::Value::object(
                                    {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node}, {"uid", it->second.uid}})}));
  return json::Value::object({{"apiVersion", "pintle.dev/v1"},
                              {"kind", "NodeLedger"},
                              {"metadata", std::move(meta)},
                              {"binds", account.binds},
                              {"allocated", account.used.to_quantities()}});
}

void Scheduling::bind(const std::string& node) {
  NodeWork& work = work_[node];
  if (work.in_flight) return;
  std::vector<Wish> group;
  const auto give_back = [&](const Wish& w) {
    queue_.retry_later(w.uid, host.now());
    forget_assumed(w);
  };
  const Ledger::Account* account = ledger_.account(node);
  if (account && account->exists && !account->known && !read_account(node)) account = nullptr;
  while (!work.waiting.empty() && group.size() < kMostTogether) {
    Wish& w = work.waiting.front();
    if (!group.empty() && (w.profile != group[0].profile || w.epoch != group[0].epoch)) break;
    const auto pod = pods_.find(w.uid);
    const bool usable = pod != pods_.end() && pod->second.node.empty() && ledger_.assumed(w.uid);
    if (!usable) {
      queue_.retry_now(w.uid);
      forget_assumed(w);
    } else if (!account || !account->exists || w.tries >= kMostTries) {
      give_back(w);
    } else {
      group.push_back(std::move(w));
    }
    work.waiting.pop_front();
  }
  // After a look at the store the node may hold more than was known: the last decisions give way.
  for (bool over = true; over && !group.empty();) {
    over = false;
    for (const auto& [resource, used] : account->used.items())
      if (used > account->allocatable.get(resource) &&
          scheduling::pod_requests(pods_.at(group.back().uid).object.json()["spec"]).get(resource) > 0)
        over = true;
    if (!over) break;
    give_back(group.back());
    group.pop_back();
  }
  if (group.empty()) {
    if (work.waiting.empty()) work_.erase(node);
    return;
  }

  Ledger::Account& ours = ledger_.mutable_account(node);
  ours.binds += static_cast<int64_t>(group.size());
  std::vector<Op> ops;
  json::Value ledger = ledger_object(node, ours);
  ledger.set("slot", profile(group[0].profile).slot);
  ledger.set("epoch", group[0].epoch);
  Op ledger_op = ours.revision ? Op::update(kLedgers, "", node, ledger) : Op::create(kLedgers, "", ledger);
  ledger_op.if_revision = ours.revision;
  ops.push_back(std::move(ledger_op));
  const std::string now = format_time(host.wall());
  for (const Wish& w : group) {
    const PodState& p = pods_.at(w.uid);
    Op op = Op::merge("pods", p.ns, p.name, json::Value::object({{"spec", json::Value::object({{"nodeName", node}})}}));
    op.if_revision = p.object.revision();
    op.if_uid = w.uid;
    ops.push_back(std::move(op));
    // In the same transaction: nothing can have changed the conditions since the revision that the op before compared.
    const json::Value pod = p.object.json();
    const json::Value conditions = with_condition(pod.at("status.conditions"), scheduled_condition(pod, true, "", "", now));
    const json::Value status = json::Value::object({{"status", json::Value::object({{"conditions", conditions}})}});
    op = Op::merge("pods", p.ns, p.name, status, "status");
    op.if_uid = w.uid;
    ops.push_back(std::move(op));
  }
  work.in_flight = true;
  ++outstanding_;
#ifdef PINTLE_PLANT_NO_FENCE  // a bug for the simulation to find; no shipped target defines it
  const std::vector<Fence> fences;
#else
  const std::vector<Fence> fences{{profile(group[0].profile).slot, group[0].epoch}};
#endif
  host.commit(ops, strand_.wrap([this, node, group](const CommitResult& r) { bound(node, group, r); }), PINTLE_COMMIT_ATOMIC, fences);
}

void Scheduling::bound(const std::string& node, const std::vector<Wish>& group, const CommitResult& result) {
  work_[node].in_flight = false;
  if (result.ok()) {
    if (!result.ops.empty() && result.ops[0].object) ledger_.mutable_account(node).revision = result.ops[0].object.revision();
    else ledger_.mutable_account(node).known = false;
    for (size_t i = 0; i < group.size(); ++i) {
      const Wish& w = group[i];
      queue_.remove(w.uid);
      binds_metric_.add();
      const auto it = pods_.find(w.uid);
      if (it == pods_.end()) {  // deleted meanwhile, and its event was faster
        ledger_.remove(w.uid);
        continue;
      }
      PodState& p = it->second;
      const size_t at = 2 + 2 * i;
      const Object after = at < result.ops.size() ? result.ops[at].object : Object();
      const json::Value pod = (after ? after : p.object).json();
      recorder_.normal(EventSubject::of(pod), "Scheduled", "Successfully assigned " + p.key() + " to " + node);
      if (after && after.revision() > p.object.revision()) pod_seen(after);
    }
  } else {
    bind_failed(node, group, result);
  }
  settled();
  bind(node);
  pump();
}

void Scheduling::bind_failed(const std::string& node, std::vector<Wish> group, const CommitResult& result) {
  conflicts_metric_.add();
  Ledger::Account& account = ledger_.mutable_account(node);
  account.known = false;
  const uint64_t now = host.now();
  if (result.code == PINTLE_DEPOSED) {
    // Another scheduler holds the slot: it decides.
    profile(group[0].profile).told = 0;
    for (const Wish& w : group) {
      forget_assumed(w);
      queue_.retry_now(w.uid);
    }
    return;
  }
  size_t failed = 0;
  while (failed < result.ops.size() && result.ops[failed].code == PINTLE_OK) ++failed;
  const pintle_code code = failed < result.ops.size() ? result.ops[failed].code : result.code;
  // Whatever was changed by others: look at the pods as they are now.
  for (const Wish& w : group) {
    const auto it = pods_.find(w.uid);
    if (it == pods_.end()) continue;
    const auto fresh = host.get_object("pods", it->second.ns, it->second.name);
    if (fresh.ok() && (*fresh).text(path_uid_) == w.uid) pod_seen(*fresh);
    else if (fresh.ok() || fresh.error().code == PINTLE_NOT_FOUND) pod_gone(w.uid);
  }
  const bool own_fault = failed >= 1 && failed < result.ops.size() && code != PINTLE_CONFLICT && code != PINTLE_NOT_FOUND;
  const size_t culprit = own_fault ? (failed - 1) / 2 : group.size();
  for (size_t i = 0; i < group.size(); ++i) {
    Wish& w = group[i];
    const bool again = pods_.contains(w.uid) && ledger_.assumed(w.uid) &&
                       (code == PINTLE_CONFLICT || code == PINTLE_ALREADY_EXISTS || code == PINTLE_NOT_FOUND || own_fault);
    if (i == culprit || !again) {
      if (i == culprit)
        host.warn("a pod could not be bound: " + result.ops[failed].text,
                  json::Value::object({{"node", node}, {"pod", pods_.contains(w.uid) ? pods_.at(w.uid).key() : w.uid}}));
      forget_assumed(w);
      queue_.retry_later(w.uid, now);
      continue;
    }
    ++w.tries;
    work_[node].waiting.push_front(std::move(w));
  }
  if (code != PINTLE_CONFLICT && code != PINTLE_ALREADY_EXISTS && code != PINTLE_NOT_FOUND && !own_fault)
    host.warn("pods could not be bound: " + (failed < result.ops.size() ? result.ops[failed].text : std::string("the commit failed")),
              json::Value::object({{"node", node}}));
}

}  // namespace pintle::scheduling_plugin

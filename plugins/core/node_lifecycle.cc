#include "plugins/core/node_lifecycle.h"

#include <algorithm>
#include <optional>

#include "pintle/timestamp.h"

namespace pintle::core {
namespace {

constexpr const char* kNotReady = "node.kubernetes.io/not-ready";
constexpr const char* kUnreachable = "node.kubernetes.io/unreachable";
constexpr const char* kUnschedulable = "node.kubernetes.io/unschedulable";
constexpr uint64_t kBurial = 40 * kSecond;  // how long a missing node is waited for

const json::Value& condition(const json::Value& object, std::string_view type) {
  for (const auto& c : object["status"]["conditions"].items())
    if (c["type"].as_string() == type) return c;
  return object["status"]["conditions"]["none"];  // the shared null
}

json::Value after(uint64_t ns) {
  return json::Value::object({{"result", "after"}, {"afterMs", std::max<uint64_t>(ns / 1000000, 100)}});
}
json::Value retry(std::string text) { return json::Value::object({{"result", "retry"}, {"message", std::move(text)}}); }

// "retry" when a write failed for another reason than that the object changed or went away.
std::optional<json::Value> trouble(const CommitResult& r) {
  for (const auto& op : r.ops)
    if (op.code != PINTLE_OK && op.code != PINTLE_NOT_FOUND && op.code != PINTLE_CONFLICT) return retry(op.text);
  if (r.code != PINTLE_OK && r.ops.empty()) return retry("the write failed");
  return {};
}

}  // namespace

json::Value wanted_taints(const json::Value& node, bool evict, const std::string& now) {
  struct Wish {
    const char *key, *effect;
  };
  std::vector<Wish> wishes;
  const auto ready = condition(node, "Ready")["status"].as_string();
  if (ready == "False" || ready == "Unknown") {
    const char* which = ready == "False" ? kNotReady : kUnreachable;
    wishes.push_back({which, "NoSchedule"});
    if (evict) wishes.push_back({which, "NoExecute"});
  }
  if (node["spec"]["unschedulable"].as_bool()) wishes.push_back({kUnschedulable, "NoSchedule"});
  const bool judged = !ready.empty();
  json::Value out = json::Value::array();
  const auto is = [](const json::Value& t, const Wish& w) {
    return t["key"].as_string() == w.key && t["effect"].as_string() == w.effect;
  };
  for (const auto& t : node["spec"]["taints"].items()) {
    const auto k = t["key"].as_string();
    const bool ours = k == kUnschedulable || (judged && (k == kNotReady || k == kUnreachable));
    const bool wished = std::any_of(wishes.begin(), wishes.end(), [&](const Wish& w) { return is(t, w); });
    if (!ours || wished) out.push(t);
  }
  for (const auto& w : wishes) {
    const auto& items = out.items();
    if (std::any_of(items.begin(), items.end(), [&](const json::Value& t) { return is(t, w); })) continue;
    out.push(json::Value::object({{"key", w.key}, {"effect", w.effect}, {"timeAdded", now}}));
  }
  return out;
}

int64_t tolerated_seconds(const json::Value& tolerations, const json::Value& taint) {
  int64_t best = 0;
  bool limited = false;
  for (const auto& t : tolerations.items()) {
    const auto effect = t["effect"].as_string(), k = t["key"].as_string(), op = t["operator"].as_string();
    if (!effect.empty() && effect != taint["effect"].as_string()) continue;
    if (k.empty() ? op != "Exists" : k != taint["key"].as_string()) continue;
    if (op != "Exists" && t["value"].as_string() != taint["value"].as_string()) continue;
    if (!t.contains("tolerationSeconds")) {
      if (!limited) best = -1;
      continue;
    }
    const int64_t n = std::max<int64_t>(t["tolerationSeconds"].as_int(), 0);
    best = limited && best >= 0 ? std::min(best, n) : n;
    limited = true;
  }
  return best;
}

json::Value NodeLifecycle::map(const json::Value& request) {
  json::Value keys = json::Value::array();
  const auto node = request["object"]["spec"]["nodeName"].as_string();
  if (!node.empty() && request["type"].as_string() != "DELETED") keys.push(std::string(node));
  return json::Value::object({{"keys", std::move(keys)}});
}

uint64_t NodeLifecycle::silent_for(const std::string& node, const json::Value& object) {
  std::string beat(condition(object, "Ready")["lastHeartbeatTime"].as_string());
  if (const auto lease = host_.get_object("leases.coordination.k8s.io", "kube-node-lease", node)) {
    const json::Value spec = lease->json()["spec"];
    beat += '|';
    beat += spec["renewTime"].as_string();
  }
  const uint64_t now = host_.now();
  std::lock_guard lock(mutex_);
  Seen& s = seen_[node];
  s.gone_at = 0;
  if (s.at == 0 || s.beat != beat) {
    s.beat = beat;
    s.at = now;
  }
  return now - s.at;
}

bool NodeLifecycle::any_ready() const {
  const auto nodes = host_.list({.kind = "nodes"});
  if (!nodes) return false;
  for (const auto& n : nodes->objects)
    if (condition(n.json(), "Ready")["status"].as_string() == "True") return true;
  return false;
}

void NodeLifecycle::bury(const std::string& node, Answered answered) {
  const auto pods = host_.list({.kind = "pods", .field_selector = "spec.nodeName=" + node});
  if (!pods) return answered(retry(pods.error().text));
  const uint64_t now = host_.now();
  uint64_t waited = 0;
  {
    std::lock_guard lock(mutex_);
    if (pods->objects.empty()) {
      seen_.erase(node);
    } else {
      Seen& s = seen_[node];
      if (!s.gone_at) s.gone_at = now;
      waited = now - s.gone_at;
    }
  }
  if (pods->objects.empty()) return answered(json::Value::object({{"result", "done"}}));
  if (waited < kBurial) return answered(after(kBurial - waited));
  std::vector<Op> ops;
  for (const auto& p : pods->objects) {
    const json::Value pod = p.json();
    ops.push_back(Op::remove("pods", std::string(pod["metadata"]["namespace"].as_string()),
                             std::string(pod["metadata"]["name"].as_string()), std::string(pod["metadata"]["uid"].as_string()),
                             json::Value::object({{"gracePeriodSeconds", 0}})));
  }
  host_.info("removing the pods of a node that is gone", json::Value::object({{"node", node}, {"pods", ops.size()}}));
  host_.commit(
      ops, [answered = std::move(answered)](CommitResult r) { answered(trouble(r).value_or(after(5 * kSecond))); },
      PINTLE_COMMIT_INDEPENDENT);
}

void NodeLifecycle::write_unknown(const Object& stored, json::Value node, Answered answered) {
  const std::string now = format_time(host_.wall()), name(node["metadata"]["name"].as_string());
  json::Value& list = node.make("status.conditions");
  bool ready = false;
  for (auto& c : list.make_array()) {
    const auto type = c["type"].as_string();
    ready = ready || type == "Ready";
    if (type != "Ready" && type != "MemoryPressure" && type != "DiskPressure" && type != "PIDPressure") continue;
    if (c["status"].as_string() != "Unknown") c.set("lastTransitionTime", now);
    c.set("status", "Unknown");
    c.set("reason", "NodeStatusUnknown");
    c.set("message", "The node agent stopped posting node status.");
  }
  if (!ready)
    list.push(json::Value::object({{"type", "Ready"},
                                   {"status", "Unknown"},
                                   {"lastHeartbeatTime", node["metadata"]["creationTimestamp"]},
                                   {"lastTransitionTime", now},
                                   {"reason", "NodeStatusNeverUpdated"},
                                   {"message", "The node agent never posted node status."}}));
  host_.warn("node does not answer", json::Value::object({{"node", name}}));
  Op op = Op::update("nodes", "", name, node, "status");
  op.if_revision = stored.revision();
  host_.commit({op}, [answered = std::move(answered)](CommitResult r) {
    answered(trouble(r).value_or(after(kSecond)));
  });
}

void NodeLifecycle::settle_pods(const json::Value& node, const json::Value& ready, uint64_t again_ns, Answered answered) {
  const std::string name(node["metadata"]["name"].as_string());
  std::vector<json::Value> evictions;
  for (const auto& t : node["spec"]["taints"].items())
    if (t["effect"].as_string() == "NoExecute") evictions.push_back(t);
  const bool unready = ready["status"].as_string() == "Unknown" || ready["status"].as_string() == "False";
  if (evictions.empty() && !unready) return answered(after(again_ns));
  const auto pods = host_.list({.kind = "pods", .field_selector = "spec.nodeName=" + name});
  if (!pods) return answered(retry(pods.error().text));
  const int64_t wall = host_.wall();
  std::vector<Op> ops;
  for (const auto& stored : pods->objects) {
    const json::Value pod = stored.json();
    const std::string ns(pod["metadata"]["namespace"].as_string()), pod_name(pod["metadata"]["name"].as_string()),
        uid(pod["metadata"]["uid"].as_string());
    const auto phase = pod["status"]["phase"].as_string();
    if (phase == "Succeeded" || phase == "Failed") continue;
    if (unready && condition(pod, "Ready")["status"].as_string() == "True") {
      json::Value conditions = pod["status"]["conditions"];
      for (auto& c : conditions.make_array())
        if (c["type"].as_string() == "Ready") {
          c.set("status", "False");
          c.set("lastTransitionTime", format_time(wall));
          c.set("reason", "NodeNotReady");
        }
      Op op = Op::merge("pods", ns, pod_name, json::Value::object({{"status", json::Value::object({{"conditions", conditions}})}}), "status");
      op.if_revision = stored.revision();
      ops.push_back(std::move(op));
      again_ns = std::min<uint64_t>(again_ns, kSecond);
    }
    if (pod["metadata"].contains("deletionTimestamp")) continue;
    for (const auto& taint : evictions) {
      const int64_t seconds = tolerated_seconds(pod["spec"]["tolerations"], taint);
      if (seconds < 0) continue;
      const int64_t until = parse_time(taint["timeAdded"].as_string()).value_or(wall) + seconds * static_cast<int64_t>(kSecond);
      if (until > wall) {
        again_ns = std::min(again_ns, static_cast<uint64_t>(until - wall));
        continue;
      }
      host_.info("evicting a pod: its node is tainted",
                 json::Value::object({{"namespace", ns}, {"pod", pod_name}, {"node", name}, {"taint", taint["key"]}}));
      ops.push_back(Op::remove("pods", ns, pod_name, uid));
      break;
    }
  }
  if (ops.empty()) return answered(after(again_ns));
  host_.commit(
      ops, [answered = std::move(answered), again_ns](CommitResult r) { answered(trouble(r).value_or(after(again_ns))); },
      PINTLE_COMMIT_INDEPENDENT);
}

void NodeLifecycle::reconcile(const std::string& name, Answered answered) {
  const auto stored = host_.get_object("nodes", "", name);
  if (!stored) {
    if (stored.error().code == PINTLE_NOT_FOUND) return bury(name, std::move(answered));
    return answered(retry(stored.error().text));
  }
  json::Value node = stored->json();
  const uint64_t silent = silent_for(name, node);
  const json::Value ready = condition(node, "Ready");
  const auto status = ready["status"].as_string();
  if (silent >= grace_ && status != "Unknown") return write_unknown(*stored, std::move(node), std::move(answered));
  const bool trouble_here = status == "False" || status == "Unknown";
  const bool evict = trouble_here && any_ready();
  json::Value taints = wanted_taints(node, evict, format_time(host_.wall()));
  if (taints != node["spec"]["taints"] && !(taints.empty() && node["spec"]["taints"].empty())) {
    if (taints.empty()) node.make("spec").erase("taints");
    else node.make("spec.taints") = std::move(taints);
    Op op = Op::update("nodes", "", name, node);
    op.if_revision = stored->revision();
    return host_.commit({op}, [answered = std::move(answered)](CommitResult r) { answered(trouble(r).value_or(after(kSecond))); });
  }
  const uint64_t again = silent >= grace_ ? 5 * kSecond : std::min<uint64_t>(grace_ - silent, 10 * kSecond);
  settle_pods(node, ready, again, std::move(answered));
}

}  // namespace pintle::core

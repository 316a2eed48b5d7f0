#include "tests/simulation/watcher.h"

#include <algorithm>

#include "pintle/labels.h"
#include "pintle/workload.h"

namespace pintle::kernel::simulation {
namespace {

constexpr uint64_t kMs = 1000000;
constexpr uint64_t kStale = 50 * kMs;     // how old a status may be that a controller acts on
constexpr uint64_t kSettle = 1000 * kMs;  // how long pods may lag behind what their sets wish for

int64_t amount(const json::Value& v, int64_t total, bool up) {
  if (v.is_int()) return v.as_int();
  return (std::atoll(std::string(v.as_string("25%")).c_str()) * total + (up ? 99 : 0)) / 100;
}

std::string key_of(const Key& k) { return k.ns + "/" + k.name; }

}  // namespace

Watcher::Watcher(Store& store, SimulatedExecutor& executor) : store_(store), executor_(executor) {
  auto r = store_.subscribe(0, [this](const std::vector<ChangeRef>& changes, Revision) {
    for (const auto& c : changes) see(*c);
  });
  if (r.ok()) subscription_ = *r;
  else wrong("no change log: " + r.error().text);
}

Watcher::~Watcher() { store_.unsubscribe(subscription_); }

void Watcher::wrong(const std::string& text) {
  if (violations_.size() < 20)
    violations_.push_back("at " + std::to_string((executor_.now() - SimulatedExecutor::kStart) / kMs) + " ms: " + text);
}

void Watcher::see(const Change& c) {
  const auto mix = [this](const void* data, size_t n) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (size_t i = 0; i < n; ++i) hash_ = (hash_ ^ p[i]) * 0x100000001b3ull;
  };
  ++changes_;
  const Key& k = c.object->key();
  const uint64_t now = executor_.now();
  mix(&now, sizeof now);
  mix(&c.type, sizeof c.type);
  mix(k.kind.data(), k.kind.size());
  mix(c.object->json().data(), c.object->json().size());
  if (trace)
    trace(std::to_string((now - SimulatedExecutor::kStart) / kMs) + " " + (c.type == ChangeType::kAdded ? "+" : c.type == ChangeType::kDeleted ? "-" : "~") + " " +
          k.kind + " " + key_of(k) + " " + std::string(c.object->json()));
  if (k.kind == "pods") see_pod(c, json::parse_or_null(c.object->json()));
  else if (k.kind == "replicasets.apps") see_set(c, json::parse_or_null(c.object->json()));
  else if (k.kind == "deployments.apps") see_deployment(c, json::parse_or_null(c.object->json()));
  else if (k.kind == "nodeledgers.pintle.dev") see_ledger(c, json::parse_or_null(c.object->json()));
  else if (k.kind == "services") see_service(c, json::parse_or_null(c.object->json()));
  else if (k.kind == "nodes") {
    if (c.type == ChangeType::kDeleted) allocatable_.erase(k.name);
    else allocatable_[k.name] = scheduling::Amounts::from_quantities(json::parse_or_null(c.object->json()).at("status.allocatable"));
  }
  check_bounds();
}

void Watcher::see_pod(const Change& c, const json::Value& o) {
  const std::string key = key_of(c.object->key()), node(o.at("spec.nodeName").as_string()), uid(o.at("metadata.uid").as_string());
  const auto before = pods_.find(key);
  if (before != pods_.end()) {
    if (before->second.uid == uid && !before->second.node.empty() && before->second.node != node)
      wrong("pod " + key + " moved from " + before->second.node + " to '" + node + "'");
    if (!before->second.node.empty()) on_node_[before->second.node].erase(key);
    if (c.type == ChangeType::kDeleted) {
      pods_.erase(before);
      return;
    }
  } else if (c.type == ChangeType::kDeleted) {
    return;
  }
  Pod p;
  p.uid = uid;
  p.ns = c.object->key().ns;
  p.node = node;
  p.owner = controller_uid(o);
  p.ip = o.at("status.podIP").as_string();
  for (const auto& [name, value] : o.at("metadata.labels").members()) p.labels[std::string(name)] = std::string(value.as_string());
  p.requests = scheduling::pod_requests(o["spec"]);
  p.active = pod_active(o);
  p.finished = pod_finished(o);
  p.ready = pod_ready(o);
  pods_[key] = std::move(p);
  if (node.empty()) return;
  on_node_[node].insert(key);
  check_node(node);
}

void Watcher::check_node(const std::string& node) {
  const auto room = allocatable_.find(node);
  if (room == allocatable_.end()) return;
  scheduling::Amounts used;
  for (const auto& key : on_node_[node])
    if (const Pod& p = pods_.at(key); !p.finished) used.add(p.requests);
  for (const auto& [resource, n] : used.items())
    if (n > room->second.get(resource))
      wrong("node " + node + " is over-committed: " + std::to_string(n) + " of " + std::to_string(room->second.get(resource)) + " " + resource);
}

int64_t Watcher::available(const Set& s) const {
  int64_t n = 0;
  for (const auto& [since, count] : s.available) n = std::max(n, count);
  return std::min(n, s.wished);
}

int64_t Watcher::most(const Rollout& r) const {
  int64_t n = 0;
  for (const auto& w : r.wishes) n = std::max(n, w.replicas + w.surge);
  return n;
}

int64_t Watcher::least(const Rollout& r) const {
  int64_t n = INT64_MAX;
  for (const auto& w : r.wishes) n = std::min(n, w.rolling ? w.replicas - w.unavailable : 0);
  return n;
}

void Watcher::see_set(const Change& c, const json::Value& o) {
  const std::string uid(o.at("metadata.uid").as_string());
  if (c.type == ChangeType::kDeleted) {
    sets_.erase(uid);
    return;
  }
  const bool known = sets_.contains(uid);
  Set& s = sets_[uid];
  const Set before = s;
  const uint64_t now = executor_.now();
  const auto number = [&](const char* name) {
    const std::string text(o.at("metadata.annotations")[name].as_string());
    return text.empty() ? int64_t{-1} : static_cast<int64_t>(std::atoll(text.c_str()));
  };
  s.owner = controller_uid(o);
  s.name = c.object->key().name;
  s.wished = o.at("spec.replicas").as_int(1);
  s.noted = number("deployment.kubernetes.io/desired-replicas");
  s.most = number("deployment.kubernetes.io/max-replicas");
  if (!known || s.available.back().second != o.at("status.availableReplicas").as_int())
    s.available.emplace_back(now, o.at("status.availableReplicas").as_int());
  // The last entry older than that was still true then.
  for (auto& [u, other] : sets_)
    while (other.available.size() > 1 && other.available[1].first + kStale < now) other.available.pop_front();
  const auto r = rollouts_.find(s.owner);
  if (!known || r == rollouts_.end() || s.wished >= before.wished) return;
  // A new number of replicas is shared out whatever is available; the bound is one of rollouts.
  if (s.noted != before.noted || s.most != before.most) return;
  // Pods that the controller may have seen unavailable go first and are nobody's loss, also while less is available than promised (a pod has
  // just failed, or more replicas were asked for a moment ago): so the least of the recent past counts for this set, the most for the others.
  int64_t certain = INT64_MAX, left = 0;
  for (const auto& [since, count] : s.available) certain = std::min(certain, count);
  for (const auto& [u, other] : sets_)
    if (other.owner == s.owner) left += available(other);
  if (std::min(certain, before.wished) > s.wished && left < least(r->second))
    wrong("rollout of " + r->second.name + ": " + s.name + " from " + std::to_string(before.wished) + " to " + std::to_string(s.wished) + " leaves " +
          std::to_string(left) + " available, " + std::to_string(least(r->second)) + " are promised");
}

void Watcher::see_deployment(const Change& c, const json::Value& o) {
  const std::string uid(o.at("metadata.uid").as_string());
  if (c.type == ChangeType::kDeleted) {
    rollouts_.erase(uid);
    return;
  }
  Rollout& r = rollouts_[uid];
  r.name = c.object->key().name;
  Wish w;
  w.since = executor_.now();
  w.replicas = o.at("spec.replicas").as_int(1);
  w.rolling = o.at("spec.strategy.type").as_string("RollingUpdate") == "RollingUpdate";
  if (w.rolling) {
    w.surge = amount(o.at("spec.strategy.rollingUpdate.maxSurge"), w.replicas, true);
    w.unavailable = amount(o.at("spec.strategy.rollingUpdate.maxUnavailable"), w.replicas, false);
    if (w.surge == 0 && w.unavailable == 0) w.unavailable = 1;
  }
  if (r.wishes.empty() || r.wishes.back().replicas != w.replicas) r.wishes.push_back(w);
}

void Watcher::check_bounds() {
  const uint64_t now = executor_.now();
  std::map<std::string, int64_t> active, wished;
  for (const auto& [uid, s] : sets_) wished[s.owner] += s.wished;
  for (const auto& [key, p] : pods_) {
    const auto s = p.active && !p.owner.empty() ? sets_.find(p.owner) : sets_.end();
    if (s != sets_.end()) ++active[s->second.owner];
  }
  for (auto& [uid, r] : rollouts_) {
    while (r.wishes.size() > 1 && r.wishes[1].since + kStale < now) r.wishes.pop_front();
    const auto lasting = [&](int64_t have, uint64_t& since, uint64_t limit, const char* what) {
      if (have <= most(r)) since = 0;
      else if (since == 0) since = now;
      else if (now > since + limit) {
        wrong("deployment " + r.name + " has " + std::to_string(have) + " " + what + ", at most " + std::to_string(most(r)) + " are allowed");
        since = now;
      }
    };
    lasting(active[uid], r.pods_over_since, kSettle, "pods");
    lasting(wished[uid], r.wished_over_since, kSettle, "wished pods");
  }
}

// The store makes changes visible before an epoch that was raised after them: its epochs are those of this change.
void Watcher::see_ledger(const Change& c, const json::Value& o) {
  const std::string slot(o["slot"].as_string());
  const uint64_t decided = static_cast<uint64_t>(o["epoch"].as_int()), now = store_.epoch(slot);
  if (c.type != ChangeType::kDeleted && !slot.empty() && decided != now)
    wrong("a bind to node " + c.object->key().name + " was decided under epoch " + std::to_string(decided) + " of slot " + slot + ", which is at " +
          std::to_string(now));
}

void Watcher::see_service(const Change& c, const json::Value& o) {
  const std::string key = key_of(c.object->key()), ip(o.at("spec.clusterIP").as_string());
  for (auto it = addresses_.begin(); it != addresses_.end();) it = it->second == key ? addresses_.erase(it) : std::next(it);
  if (c.type == ChangeType::kDeleted || ip.empty() || ip == "None") return;
  if (const auto [it, fresh] = addresses_.emplace(ip, key); !fresh) wrong("services " + it->second + " and " + key + " have the same address " + ip);
}

const std::string& Watcher::unfinished() {
  if (judged_ != changes_) {
    judged_ = changes_;
    verdict_ = judge();
  }
  return verdict_;
}

std::string Watcher::judge() const {
  const auto objects = [this](const char* kind) {
    ListQuery q;
    q.kind = kind;
    std::vector<json::Value> out;
    if (auto page = store_.list(q); page.ok())
      for (const auto& o : page->objects) out.push_back(json::parse_or_null(o->json()));
    return out;
  };
  for (const auto& d : objects("deployments.apps")) {
    const json::Value& s = d["status"];
    const int64_t n = d.at("spec.replicas").as_int(1);
    if (s["observedGeneration"].as_int() < d.at("metadata.generation").as_int() || s["replicas"].as_int() != n || s["updatedReplicas"].as_int() != n ||
        s["availableReplicas"].as_int() != n)
      return "deployment " + std::string(d.at("metadata.name").as_string()) + " wants " + std::to_string(n) + " and is " + s.dump();
    int64_t have = 0;
    for (const auto& [key, p] : pods_)
      if (const auto set = sets_.find(p.owner); p.active && set != sets_.end() && set->second.owner == d.at("metadata.uid").as_string()) ++have;
    if (have != n) return "deployment " + std::string(d.at("metadata.name").as_string()) + " wants " + std::to_string(n) + " and has " + std::to_string(have) + " pods";
  }
  std::map<std::string, std::set<std::string>> named;
  for (const auto& slice : objects("endpointslices.discovery.k8s.io"))
    for (const auto& e : slice["endpoints"].items())
      if (e.at("conditions.ready").as_bool(true))
        for (const auto& a : e["addresses"].items())
          named[std::string(slice.at("metadata.namespace").as_string()) + "/" + std::string(slice.at("metadata.labels[kubernetes.io/service-name]").as_string())].insert(
              std::string(a.as_string()));
  for (const auto& service : objects("services")) {
    const json::Value& selector = service.at("spec.selector");
    if (selector.size() == 0) continue;
    const std::string ns(service.at("metadata.namespace").as_string()), key = ns + "/" + std::string(service.at("metadata.name").as_string());
    std::set<std::string> ready;
    for (const auto& [name, p] : pods_) {
      bool chosen = p.active && p.ready && p.ns == ns;
      for (const auto& [label, value] : selector.members()) {
        const auto it = p.labels.find(std::string(label));
        chosen = chosen && it != p.labels.end() && it->second == value.as_string();
      }
      if (chosen) ready.insert(p.ip);
    }
    if (ready != named[key])
      return "service " + key + ": " + std::to_string(ready.size()) + " pods are ready, its slices name " + std::to_string(named[key].size());
  }
  return "";
}

}  // namespace pintle::kernel::simulation

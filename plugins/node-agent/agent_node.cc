#include "agent_node.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "pintle/quantity.h"
#include "pintle/timestamp.h"

namespace pintle::node_agent {

using json::Value;

AgentNode::AgentNode(Context& context, const NodeConfig& config, Links links)
    : context_(context), config_(config), links_(std::move(links)), strand_(context.host) {
  for (const auto& m : config_.allocatable.members()) room_[m.key] = resource_amount(m.key, m.value.as_string()).value_or(0);
}

AgentNode::~AgentNode() { stop(); }

void AgentNode::activate() {
  strand_.post([this] {
    active_ = true;
    sync_all();
  });
}

void AgentNode::pod(Object object) {
  strand_.post([this, object = std::move(object)] { take(object, false); });
}
void AgentNode::pod_gone(Object object) {
  strand_.post([this, object = std::move(object)] { take(object, true); });
}

void AgentNode::take(Object object, bool gone) {
  const std::string uid = str(object.json()["metadata"]["uid"]);
  auto it = workers_.find(uid);
  if (gone) {
    if (it == workers_.end()) return;
    it->second->update(std::move(object));
    it->second->gone();
    return;
  }
  if (it != workers_.end()) return it->second->update(std::move(object));
  auto worker = std::make_shared<PodWorker>(context_, *this, std::move(object));
  workers_[uid] = worker;
  if (auto v = views_.find(uid); v != views_.end()) {
    worker->set_view(std::move(v->second));
    views_.erase(v);
  }
  if (ready()) worker->request_sync();
}

void AgentNode::pods_known(std::shared_ptr<const std::set<std::string>> uids) {
  strand_.post([this, uids] {
    for (auto& [uid, worker] : workers_)
      if (!uids->count(uid)) worker->gone();
    pods_known_ = true;
    sync_all();
  });
}

// What ran before comes first, so that a newcomer cannot take its room.
void AgentNode::sync_all() {
  if (!ready()) return;
  for (auto& [uid, worker] : workers_)
    if (worker->was_seen_running()) worker->request_sync();
  for (auto& [uid, worker] : workers_) worker->request_sync();
  remove_orphans();
}

void AgentNode::runtime_synced(const std::string& slot) {
  strand_.post([this, slot] {
    if (auto link = links_(slot)) list_all(link);
  });
}

void AgentNode::list_all(const std::shared_ptr<RuntimeLink>& link) {
  link->call(PINTLE_METHOD(pintle_runtime, list), Value::object({{"node", config_.name}}), strand_.wrap([this, link](Result<Value> r) {
               if (!r) {
                 again_ = context_.host.after(kSecond, strand_.wrap([this, link] { list_all(link); }));
                 return;
               }
               auto views = read_list(*r);
               // Of a machine that several nodes share only what is ours.
               std::set<std::string> others;
               for (const auto& p : (*r)["pods"].items())
                 if (const auto node = p["labels"][kLabelNode].as_string(); !node.empty() && node != config_.name) others.insert(str(p["uid"]));
               const bool own = link->slot() == config_.runtime;
               if (own) views_.clear();
               for (auto& [uid, worker] : workers_) {
                 if (worker->link() ? worker->link() != link : !own) continue;
                 const auto it = views.find(uid);
                 worker->set_view(it == views.end() ? PodView() : std::move(it->second));
               }
               for (auto& [uid, view] : views)
                 if (!workers_.count(uid) && !others.count(uid)) views_[uid] = std::move(view);
               if (own) listed_ = true;
               sync_all();
             }));
}

void AgentNode::runtime_changed(const std::string& uid) {
  strand_.post([this, uid] {
    const auto it = workers_.find(uid);
    if (it != workers_.end() && it->second->link()) refresh(uid, it->second->link(), [] {});
  });
}

void AgentNode::refresh(const std::string& uid, const std::shared_ptr<RuntimeLink>& link, std::function<void()> done) {
  Refresh& r = refreshes_[uid];
  r.link = link;
  r.next.push_back(std::move(done));
  if (!r.busy) begin_refresh(uid);
}

void AgentNode::begin_refresh(const std::string& uid) {
  Refresh& r = refreshes_[uid];
  r.busy = true;
  r.waiting.insert(r.waiting.end(), std::make_move_iterator(r.next.begin()), std::make_move_iterator(r.next.end()));
  r.next.clear();
  // "podUid" is a hint: a driver may list everything.
  r.link->call(PINTLE_METHOD(pintle_runtime, list), Value::object({{"node", config_.name}, {"podUid", uid}}), strand_.wrap([this, uid](Result<Value> answer) {
                 const auto it = refreshes_.find(uid);
                 if (it == refreshes_.end()) return;
                 if (!answer) {
                   it->second.busy = false;
                   again_refresh_ = context_.host.after(kSecond, strand_.wrap([this] {
                     std::vector<std::string> idle;
                     for (const auto& [u, f] : refreshes_)
                       if (!f.busy) idle.push_back(u);
                     for (const auto& u : idle) begin_refresh(u);
                   }));
                   return;
                 }
                 auto views = read_list(*answer);
                 if (const auto w = workers_.find(uid); w != workers_.end()) w->second->set_view(std::move(views[uid]));
                 const auto waiting = std::exchange(it->second.waiting, {});
                 const bool more = !it->second.next.empty();
                 if (more) begin_refresh(uid);
                 else refreshes_.erase(it);
                 for (const auto& fn : waiting) fn();
               }));
}

void AgentNode::source_changed(const std::string& ns, const std::string& source) {
  strand_.post([this, ns, source] {
    for (auto& [uid, worker] : workers_)
      if (worker->shown_sources().count(source) && worker->object().json()["metadata"]["namespace"].as_string() == ns) worker->sources_changed();
  });
}

NodeFacts AgentNode::facts() const {
  NodeFacts f;
  f.name = config_.name;
  f.root = context_.config.root;
  f.cluster_domain = context_.config.cluster_domain;
  f.cluster_dns = context_.config.cluster_dns;
  if (const auto it = room_.find("memory"); it != room_.end()) f.memory = it->second;
  return f;
}

std::shared_ptr<RuntimeLink> AgentNode::runtime(const std::string& handler) { return links_(handler.empty() ? config_.runtime : "runtime." + handler); }

PodSite::Refusal AgentNode::refuse(const Admitted& mine, bool but_leaving) const {
  std::map<std::string, int64_t> used;
  std::vector<const Admitted*> others;
  for (const auto& [other, a] : admitted_) {
    const auto worker = workers_.find(other);
    if (but_leaving && (worker == workers_.end() || worker->second->leaving())) continue;
    others.push_back(&a);
    for (const auto& [k, v] : a.requests) used[k] += v;
  }
  for (const auto& [k, v] : mine.requests) {
    const int64_t have = room_.count(k) ? room_.at(k) : 0;
    if (v > 0 && used[k] + v > have)
      return {"OutOf" + k, "Pod was rejected: Node didn't have enough resource: " + k + ", requested: " + std::to_string(v) + ", used: " + std::to_string(used[k]) + ", capacity: " + std::to_string(have)};
  }
  for (const Admitted* a : others)
    for (const auto& theirs : a->ports)
      for (const auto& ours : mine.ports)
        if (ports_collide(ours, theirs)) return {"NodePorts", "Pod was rejected: host port " + std::to_string(ours.port) + "/" + ours.protocol + " is in use on this node"};
  return {};
}

void AgentNode::release(const std::string& uid) {
  if (!admitted_.erase(uid)) return;
  for (const auto& waiting : std::exchange(crowded_, {}))
    if (const auto it = workers_.find(waiting); it != workers_.end()) it->second->request_sync();
}

PodSite::Refusal AgentNode::admit(const Value& pod, bool already) {
  const std::string uid = str(pod["metadata"]["uid"]);
  if (admitted_.count(uid)) return {};
  Admitted mine{pod_requests(pod), host_ports(pod)};
  mine.requests["pods"] = 1;
  if (!already) {
    Refusal refusal = refuse(mine, false);
    // A pod that was deleted by force is gone for the scheduler while its containers are still being stopped here: an answer of "Failed" would
    // have it replaced and sent back at once, again and again.
    refusal.for_now = !refusal.reason.empty() && refuse(mine, true).reason.empty();
    if (refusal.for_now) crowded_.insert(uid);
    if (!refusal.reason.empty()) return refusal;
  }
  admitted_[uid] = std::move(mine);
  return {};
}

void AgentNode::finished(const std::string& uid) {
  strand_.post([this, uid] {
    const auto it = workers_.find(uid);
    if (it == workers_.end() || !it->second->over()) return;
    it->second->stop();
    workers_.erase(it);
    release(uid);
    refreshes_.erase(uid);
  });
}

// What the runtime has of pods that are no more: left by a crash, or deleted while nobody was looking.
void AgentNode::remove_orphans() {
  const auto link = links_(config_.runtime);
  for (const auto& [uid, view] : views_) {
    context_.host.info("removes what is left of a pod that no longer exists", Value::object({{"node", config_.name}, {"uid", uid}}));
    for (const auto& c : view.containers) {
      bool inside = false;
      for (const auto& s : view.sandboxes) inside |= s.id == c.pod_id;
      if (!inside) link->call(PINTLE_METHOD(pintle_runtime, remove), Value::object({{"node", config_.name}, {"id", c.id}}), [](Result<Value>) {});
    }
    for (const auto& s : view.sandboxes)
      link->call(PINTLE_METHOD(pintle_runtime, remove_pod), Value::object({{"node", config_.name}, {"id", s.id}}), [](Result<Value>) {}, 120 * kSecond);
  }
  views_.clear();
  if (std::exchange(cleaned_, true) || config_.simulated) return;
  auto known = std::make_shared<std::set<std::string>>();
  for (const auto& [uid, worker] : workers_) known->insert(uid);
  // With several nodes on one machine the directory is shared: then a node cannot tell whose a pod is.
  if (std::count_if(context_.config.nodes.begin(), context_.config.nodes.end(), [](const auto& n) { return !n.simulated; }) > 1) return;
  context_.host.post_blocking([&context = context_, known, in_hand = context_.in_hand.begin()] {
    std::error_code e;
    for (std::filesystem::directory_iterator it(context.config.root + "/pods", e), end; !e && it != end; it.increment(e))
      if (const std::string uid = it->path().filename().string(); !known->count(uid)) remove_pod_files(context.config.root, uid);
  });
}

void AgentNode::find(std::string ns, std::string name, std::string uid, std::string container, bool previous, std::function<void(Target)> done) {
  strand_.post([this, ns = std::move(ns), name = std::move(name), uid = std::move(uid), container = std::move(container), previous, done = std::move(done)] {
    Target t;
    t.node = config_.name;
    const PodWorker* worker = nullptr;
    for (const auto& [id, w] : workers_) {
      if (!uid.empty() ? id != uid : pod_key(w->object().json()) != ns + "/" + name) continue;
      worker = w.get();
    }
    if (!worker) {
      t.trouble = "pod \"" + name + "\" is not on node \"" + config_.name + "\"";
      return done(std::move(t));
    }
    t.link = worker->link();
    if (const SandboxView* s = worker->view().ready_sandbox()) t.sandbox_id = s->id;
    if (!container.empty()) {
      const ContainerView* c = previous ? worker->view().before_latest(container) : worker->view().latest(container);
      // Logs of a container that is being set up again are those of its last run.
      if (c) {
        t.container_id = c->id;
        t.attempt = c->attempt;
      } else if (previous) {
        t.trouble = "previous terminated container \"" + container + "\" in pod \"" + name + "\" not found";
      } else {
        std::string reason = "ContainerCreating";
        const Value pod = worker->object().json();
        for (const char* list : {"containerStatuses", "initContainerStatuses"})
          for (const auto& s : pod["status"][list].items())
            if (s["name"].as_string() == container && s.at("state.waiting").is_object()) reason = str(s.at("state.waiting.reason"));
        t.trouble = "container \"" + container + "\" in pod \"" + name + "\" is waiting to start: " + reason;
      }
    }
    if (!t.link) t.trouble = "pod \"" + name + "\" has not started yet";
    done(std::move(t));
  });
}

void AgentNode::stop() {
  strand_.close();
  again_.reset();
  again_refresh_.reset();
  for (auto& [uid, worker] : workers_) worker->stop();
  workers_.clear();
}

}  // namespace pintle::node_agent

// The plugin: nodes by configuration, one way to each runtime, the watches that feed the nodes.
#include <set>

#include "agent_node.h"
#include "pintle/sdk.h"
#include "pod_streams.h"
#include "registration.h"
#include "pintle/timestamp.h"

namespace pintle::node_agent {
namespace {

using json::Value;

constexpr size_t kWatchesPerNode = 16;  // up to so many nodes each has a watch of its own, by the index

AgentConfig config_or_throw(const Value& config) {
  auto c = read_config(config, read_host_facts(std::string(config["root"].as_string("/"))));
  if (!c) throw c.error();
  return std::move(*c);
}

class NodeAgent final : public Plugin, public StreamProvider {
 public:
  NodeAgent(Host h, const Value& config)
      : Plugin(h), context_(h, config_or_throw(config)), registration_(context_, read_host_facts(context_.config.root)), streams_(context_), strand_(h) {
    path_node_ = h.path("spec.nodeName");
    path_uid_ = h.path("metadata.uid");
    path_ns_ = h.path("metadata.namespace");
    path_name_ = h.path("metadata.name");
    for (const auto& n : context_.config.nodes) {
      auto node = std::make_unique<AgentNode>(context_, n, [this](const std::string& slot) { return link(slot); });
      by_name_[n.name] = node.get();
      nodes_.push_back(std::move(node));
    }
  }

  static Result<void> validate(const Value& config) {
    if (auto c = read_config(config, HostFacts{}); !c) return c.error();
    return {};
  }

  void start() override {
    const bool each = nodes_.size() <= kWatchesPerNode;
    for (const auto& n : nodes_) {
      if (!each) break;
      feeds_.push_back(std::make_unique<Feed>());
      feeds_.back()->query = {.kind = "pods", .field_selector = "spec.nodeName=" + n->config().name};
      feeds_.back()->node = n.get();
    }
    if (!each) {
      feeds_.push_back(std::make_unique<Feed>());
      feeds_.back()->query = {.kind = "pods"};
    }
    for (auto& f : feeds_) watch_pods(*f);
    for (const char* kind : {"configmaps", "secrets"}) {
      sources_.push_back(std::make_unique<Feed>());
      sources_.back()->query = {.kind = kind};
      watch_source(*sources_.back());
    }
  }

  void activate(std::string_view slot, uint64_t) override {
    std::vector<const NodeConfig*> active;
    for (const auto& n : nodes_)
      if (slot == "node-agent.*" || slot == "node-agent." + n->config().name) active.push_back(&n->config());
    if (active.empty()) throw Error(PINTLE_INVALID, "slot \"" + std::string(slot) + "\" names no node of this agent");
    registration_.activate(active);
    for (const NodeConfig* c : active) {
      link(c->runtime);
      by_name_.at(c->name)->activate();
    }
  }

  void open(Value request, Call call) override {
    // By the pod: one agent, many nodes.
    std::string name(request["node"].as_string());
    if (name.empty())
      if (const auto pod = host.get_object("pods", request["namespace"].as_string(), request["name"].as_string())) name = std::string(pod->text(path_node_));
    const auto it = by_name_.find(name);
    if (it == by_name_.end()) return call.fail(PINTLE_NOT_FOUND, "no node of this agent runs pod \"" + std::string(request["name"].as_string()) + "\"");
    streams_.open(*it->second, request, std::move(call));
  }

  void drain(Call done) override {
    context_.draining = true;
    streams_.close();
    for (auto& l : links()) l->close();
    auto shared = std::make_shared<Call>(std::move(done));
    drained(shared);
  }

  void stop() override {
    context_.draining = true;
    for (auto& f : feeds_) f->end();
    for (auto& f : sources_) f->end();
    streams_.close();
    for (auto& l : links()) l->close();
    strand_.close();
    registration_.stop();
    for (auto& n : nodes_) n->stop();
    context_.pending.end_all();
    context_.http.close();
    context_.events.close();
    std::lock_guard lock(mutex_);
    links_.clear();
  }

 private:
  struct Feed {
    Query query;
    AgentNode* node = nullptr;  // null: of all
    Watch watch;
    Timer again;
    bool telling = true;               // the initial state is being told
    std::map<std::string, std::set<std::string>> seen;  // by node: uids of the initial state
    void end() {
      watch.reset();
      again.reset();
    }
  };

  // What has ended may have left its next step on a strand, and what was there before the drain may begin one: there is nothing in hand when there was nothing
  // before all strands came to this point and nothing after.
  void drained(const std::shared_ptr<Call>& call) {
    context_.in_hand.when_none([this, call] {
      pass(0, [this, call] {
        if (context_.in_hand.none()) call->reply();
        else drained(call);
      });
    });
  }
  void pass(size_t node, std::function<void()> then) {
    if (node == nodes_.size()) return registration_.strand().post(std::move(then));
    nodes_[node]->strand().post([this, node, then = std::move(then)]() mutable { pass(node + 1, std::move(then)); });
  }

  std::vector<std::shared_ptr<RuntimeLink>> links() {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<RuntimeLink>> out;
    for (auto& [slot, l] : links_) out.push_back(l);
    return out;
  }

  std::shared_ptr<RuntimeLink> link(const std::string& slot) {
    std::shared_ptr<RuntimeLink> made;
    {
      std::lock_guard lock(mutex_);
      auto& l = links_[slot];
      if (l) return l;
      made = l = std::make_shared<RuntimeLink>(context_, slot);
    }
    RuntimeLink::Listener listener;
    listener.synced = [this, slot] {
      for (auto& n : nodes_) n->runtime_synced(slot);
    };
    listener.changed = [this](const std::string& node, const std::string& uid) {
      if (node.empty()) {
        for (auto& n : nodes_) n->runtime_changed(uid);
      } else if (const auto it = by_name_.find(node); it != by_name_.end()) {
        it->second->runtime_changed(uid);
      }
    };
    listener.state = [this, slot, weak = std::weak_ptr(made)](bool ready, const std::string& message) {
      const auto l = weak.lock();
      if (!l) return;
      if (!ready) host.warn("a runtime is not ready", Value::object({{"slot", slot}, {"reason", message}}));
      registration_.runtime_state(slot, {true, ready, message, l->name(), l->version()});
    };
    made->connect(std::move(listener));
    return made;
  }

  void watch_pods(Feed& f) {
    f.telling = true;
    f.seen.clear();
    auto w = host.watch(f.query, [this, &f](const Event& e) { pod_event(f, e); });
    if (w) f.watch = std::move(*w);
    else again(f, w.error().text, [this, &f] { watch_pods(f); });
  }
  void again(Feed& f, const std::string& why, std::function<void()> fn) {
    host.warn("a watch could not be opened", Value::object({{"kind", f.query.kind}, {"error", why}}));
    f.again = host.after(kSecond, std::move(fn));
  }

  void pod_event(Feed& f, const Event& e) {
    if (e.type == PINTLE_EVENT_CLOSED) {
      f.again = host.after(kSecond / 10, [this, &f] { watch_pods(f); });
      return;
    }
    if (e.type == PINTLE_EVENT_SYNCED) {
      f.telling = false;
      for (auto& n : nodes_)
        if (!f.node || f.node == n.get()) n->pods_known(std::make_shared<const std::set<std::string>>(f.seen[n->config().name]));
      f.seen.clear();
      return;
    }
    const auto it = by_name_.find(std::string(e.object.text(path_node_)));
    if (it == by_name_.end() || (f.node && f.node != it->second)) return;
    if (f.telling) f.seen[it->first].insert(std::string(e.object.text(path_uid_)));
    if (e.type == PINTLE_EVENT_DELETED) it->second->pod_gone(e.object);
    else it->second->pod(e.object);
  }

  void watch_source(Feed& f) {
    f.telling = true;
    auto w = host.watch(f.query, [this, &f](const Event& e) {
      if (e.type == PINTLE_EVENT_CLOSED) {
        f.again = host.after(kSecond, [this, &f] { watch_source(f); });
      } else if (e.type == PINTLE_EVENT_SYNCED) {
        f.telling = false;
      } else if (!f.telling || active_sources()) {
        const std::string source = (f.query.kind == "secrets" ? "s/" : "c/") + std::string(e.object.text(path_name_)), ns(e.object.text(path_ns_));
        for (auto& n : nodes_) n->source_changed(ns, source);
      }
    });
    if (w) f.watch = std::move(*w);
    else again(f, w.error().text, [this, &f] { watch_source(f); });
  }
  // After a gap in the watch everything may have changed; at the start nobody shows anything yet.
  bool active_sources() const { return host.now() - begun_ > 10 * kSecond; }

  Context context_;
  Registration registration_;
  PodStreams streams_;
  Strand strand_;
  std::vector<std::unique_ptr<AgentNode>> nodes_;
  std::map<std::string, AgentNode*> by_name_;
  std::vector<std::unique_ptr<Feed>> feeds_, sources_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<RuntimeLink>> links_;  // by slot
  uint32_t path_node_ = 0, path_uid_ = 0, path_ns_ = 0, path_name_ = 0;
  const uint64_t begun_ = host.now();
};

}  // namespace
}  // namespace pintle::node_agent

PINTLE_PLUGIN(pintle::node_agent::NodeAgent)

// The plugin: watches pods and nodes, asks schedulers, binds.
//
// Everything here runs on one strand; hooks and callbacks come in through it. The parts:
//   queue.h     who is next                      ledger.h    who has room
//   messages.h  objects <-> scheduler messages   binder.cc   the bind transaction
//   asking.cc   observe, schedule, explain       hooks.cc    pods/binding, pods/eviction, pods/explain
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ledger.h"
#include "pintle/event_recorder.h"
#include "pintle/plugin.h"
#include "queue.h"

namespace pintle::scheduling_plugin {

class Scheduling final : public Plugin, public ResourceProvider {
 public:
  Scheduling(Host h, const json::Value& config);
  void start() override;
  void activate(std::string_view slot, uint64_t epoch) override;
  void drain(Call done) override;
  void stop() override;
  void subresource(json::Value request, Call call) override;

 private:
  using SharedCall = std::shared_ptr<Call>;

  struct PodState {
    Object object;
    std::string ns, name, node, scheduler;
    uint64_t fingerprint = 0;  // of what scheduling looks at
    uint64_t round = 0;        // of the watch that saw it last
    std::string key() const { return ns + "/" + name; }
  };
  struct NodeState {
    json::Value message;
    std::string uid;
    uint64_t round = 0;
  };
  // What a scheduler has not been told yet.
  struct News {
    std::set<std::string> nodes, removed_nodes, pods, removed_pods, namespaces;
    size_t size() const { return nodes.size() + removed_nodes.size() + pods.size() + removed_pods.size() + namespaces.size(); }
  };
  struct Profile {
    std::string name, slot;
    uint64_t told = 0;  // epoch of the holder that knows the cluster; 0 = nobody does
    bool busy = false;  // one call at a time
    bool unheld = false;
    News news;
    struct Question {
      json::Value pod;
      SharedCall call;
    };
    std::deque<Question> questions;
  };
  struct Wish {  // a decision on its way into the store
    std::string uid, node, profile;
    uint64_t epoch = 0;
    int tries = 0;
  };
  struct NodeWork {
    bool in_flight = false;
    std::deque<Wish> waiting;
  };

  // scheduling.cc
  void watch_pods();
  void watch_nodes();
  void watch_namespaces();
  void watch_slots();
  void on_pod(const Event& e);
  void on_node(const Event& e);
  void on_namespace(const Event& e);
  void pod_seen(const Object& object);
  void pod_gone(const std::string& uid);
  void pod_released(const std::string& uid);
  void node_gone(const std::string& name);
  void pump();
  void arm(uint64_t next);
  void later(uint64_t delay_ns, std::function<void()> fn);  // on the strand
  void settled();  // one outstanding operation less
  template <class F>
  void tell_all(F f) {
    for (auto& [name, p] : profiles_)
      if (p.told) f(p.news);
  }
  void forget_assumed(const Wish& wish);

  // asking.cc
  Profile& profile(const std::string& name);
  void run(Profile& p);
  json::Value observation(Profile& p, uint64_t epoch);
  void ask(const std::string& name, uint64_t epoch);
  void decided(const std::string& name, uint64_t epoch, const std::vector<std::string>& uids, const Result<std::string>& reply);
  void answer_question(const std::string& name, const SharedCall& call, const std::string& pod, const Result<std::string>& reply);
  void nobody_decides(Profile& p);
  void poll();
  void unschedulable(const std::string& uid, const std::string& message, uint32_t helped);
  void set_condition(const PodState& pod, const json::Value& condition);
  void flush_conditions();

  // binder.cc
  void wish(Wish w);
  void bind(const std::string& node);
  bool read_account(const std::string& node);
  void bound(const std::string& node, const std::vector<Wish>& group, const CommitResult& result);
  void bind_failed(const std::string& node, std::vector<Wish> group, const CommitResult& result);
  json::Value ledger_object(const std::string& node, const Ledger::Account& account) const;

  // hooks.cc
  void hook(const json::Value& request, Call call);
  void binding_hook(const json::Value& request, Call call);
  void eviction_hook(const json::Value& request, Call call);
  void explain_hook(const json::Value& request, Call call);

  const size_t batch_;
  Strand strand_;
  EventRecorder recorder_;
  PendingQueue queue_;
  Ledger ledger_;
  bool active_ = false, draining_ = false;
  SharedCall drained_;
  size_t outstanding_ = 0;  // peer calls and binds
  uint32_t happened_ = 0;
  uint64_t pod_round_ = 0, node_round_ = 0;
  bool pods_synced_ = false, nodes_synced_ = false;
  std::map<std::string, PodState> pods_;    // by uid
  std::map<std::string, NodeState> nodes_;  // by name
  std::map<std::string, json::Value> namespaces_;
  std::map<std::string, Profile> profiles_;
  std::map<std::string, NodeWork> work_;
  std::vector<Op> conditions_;
  Watch pod_watch_, node_watch_, namespace_watch_, slot_watch_;
  Timer wake_, poll_;
  std::vector<Timer> again_;
  uint64_t wake_at_ = 0;
  uint32_t path_uid_, path_node_, path_spec_, path_labels_, path_phase_, path_deleted_, path_scheduler_, path_conditions_;
  Metric pending_metric_, parked_metric_, binds_metric_, conflicts_metric_;
};

}  // namespace pintle::scheduling_plugin

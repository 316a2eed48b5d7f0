#include "registration.h"

#include "pintle/timestamp.h"
#include "pod_status.h"

namespace pintle::node_agent {

using json::Value;

namespace {

constexpr const char* kVersion = "v1.35.0";
constexpr size_t kBuckets = 100;

const char* const kConditions[][4] = {{"MemoryPressure", "False", "KubeletHasSufficientMemory", "the node has sufficient memory available"},
                                      {"DiskPressure", "False", "KubeletHasNoDiskPressure", "the node has no disk pressure"},
                                      {"PIDPressure", "False", "KubeletHasSufficientPID", "the node has sufficient PID available"}};

Value condition(const Value& old, std::string_view type, std::string_view status, std::string_view reason, std::string_view message, int64_t now) {
  const Value& before = status_condition(old["status"], type);
  const bool same = before["status"].as_string() == status;
  return Value::object({{"type", type}, {"status", status}, {"lastHeartbeatTime", format_time(now)},
                        {"lastTransitionTime", same && before["lastTransitionTime"].is_string() ? before["lastTransitionTime"] : Value(format_time(now))},
                        {"reason", reason}, {"message", message}});
}

}  // namespace

Value node_object(const NodeConfig& config, const HostFacts& host, const RuntimeState& runtime, const Value& old, int64_t now) {
  Value node = old.is_object() ? old : Value::object({{"apiVersion", "v1"}, {"kind", "Node"}, {"metadata", Value::object({{"name", config.name}})}, {"spec", Value::object()}});
  for (const auto& m : config.labels.members()) node.make("metadata.labels").set(m.key, m.value);
  for (const auto& m : config.annotations.members()) node.make("metadata.annotations").set(m.key, m.value);
  if (!old.is_object() && !config.taints.empty()) node.make("spec.taints") = config.taints;
  Value& s = node.make("status");
  s.set("capacity", config.capacity);
  s.set("allocatable", config.allocatable);
  Value conditions = Value::array();
  for (const auto& c : kConditions) conditions.push(condition(old, c[0], c[1], c[2], c[3], now));
  const Value& before = status_condition(old["status"], "Ready");
  conditions.push(!runtime.known && !before.is_null() ? before
                  : runtime.ready ? condition(old, "Ready", "True", "KubeletReady", "the node agent is ready", now)
                                  : condition(old, "Ready", "False", "KubeletNotReady", runtime.message.empty() ? "the runtime has not answered yet" : runtime.message, now));
  for (const auto& c : old["status"]["conditions"].items()) {
    bool ours = c["type"].as_string() == "Ready";
    for (const auto& k : kConditions) ours |= c["type"].as_string() == k[0];
    if (!ours) conditions.push(c);
  }
  s.set("conditions", std::move(conditions));
  s.set("addresses", Value::array({Value::object({{"type", "InternalIP"}, {"address", config.ip}}), Value::object({{"type", "Hostname"}, {"address", config.hostname}})}));
  const Value told = old.at("status.nodeInfo.containerRuntimeVersion");
  const Value runtime_version = !runtime.known && told.is_string() ? told : Value(runtime.name + "://" + runtime.version);
  s.set("daemonEndpoints", Value::object({{"kubeletEndpoint", Value::object({{"Port", 0}})}}));
  s.set("nodeInfo", Value::object({{"machineID", config.simulated ? config.name : host.machine_id}, {"systemUUID", config.simulated ? config.name : host.machine_id},
                                   {"bootID", host.boot_id}, {"kernelVersion", host.kernel}, {"osImage", host.os_image},
                                   {"containerRuntimeVersion", runtime_version}, {"kubeletVersion", kVersion}, {"kubeProxyVersion", ""},
                                   {"operatingSystem", "linux"}, {"architecture", host.arch}}));
  return node;
}

void Registration::activate(const std::vector<const NodeConfig*>& nodes) {
  strand_.post([this, nodes] {
    for (const NodeConfig* n : nodes) {
      bool known = false;
      for (const auto& o : nodes_) known |= o->config == n;
      if (known) continue;
      auto one = std::make_unique<One>();
      one->config = n;
      register_node(*one);
      nodes_.push_back(std::move(one));
    }
    if (!std::exchange(ticking_, true)) tick();
  });
}

void Registration::runtime_state(const std::string& slot, RuntimeState state) {
  strand_.post([this, slot, state = std::move(state)]() mutable {
    runtimes_[slot] = std::move(state);
    for (const auto& o : nodes_)
      if (o->config->runtime == slot) {
        o->dirty = true;
        register_node(*o);
      }
  });
}

RuntimeState Registration::state_of(const NodeConfig& config) const {
  const auto it = runtimes_.find(config.runtime);
  return it == runtimes_.end() ? RuntimeState{false, false, "", "runtime", ""} : it->second;
}

// Creates the Node, or brings labels and status up to date. One at a time per node.
void Registration::register_node(One& one) {
  if (one.busy) return;
  one.busy = true;
  one.dirty = false;
  const NodeConfig& config = *one.config;
  const int64_t now = context_.host.wall();
  const auto existing = context_.host.get_object("nodes", "", config.name);
  std::vector<Op> ops;
  if (!existing && existing.error().code != PINTLE_NOT_FOUND) {
    one.busy = false;
    one.dirty = true;
    context_.host.warn("a node could not be read", Value::object({{"node", config.name}, {"error", existing.error().text}}));
    return;
  }
  const Value old = existing ? existing->json() : Value();
  const Value node = node_object(config, host_, state_of(config), old, now);
  if (!existing) {
    Value bare = node;
    bare.erase("status");
    ops.push_back(Op::create("nodes", "", bare));
  } else if (Value patch = merge_patch(old["metadata"], node["metadata"]); !patch.is_null()) {
    ops.push_back(Op::merge("nodes", "", config.name, Value::object({{"metadata", std::move(patch)}})));
  }
  // A new Node gets its status by the next round: independent operations have no order.
  const bool fresh = !existing;
  if (!fresh) ops.push_back(Op::merge("nodes", "", config.name, Value::object({{"status", node["status"]}}), "status"));
  context_.host.commit(
      ops,
      [in_hand = context_.in_hand.begin(), done = std::make_shared<std::function<void(CommitResult)>>(strand_.wrap([this, &one, fresh](CommitResult r) {
         one.busy = false;
         const OpResult* failed = r.failed();
         if (fresh && (r.ok() || (failed && failed->code == PINTLE_ALREADY_EXISTS))) return register_node(one);
         if (r.ok()) {
           if (!one.registered) context_.host.info("registered a node", Value::object({{"node", one.config->name}}));
           one.registered = true;
           one.status_at = context_.host.now();
           if (one.dirty && !context_.draining) register_node(one);  // the runtime's state changed meanwhile
         } else {
           one.dirty = true;
           const pintle_code code = failed ? failed->code : r.code;
           if (code != PINTLE_CONFLICT && code != PINTLE_ALREADY_EXISTS)
             context_.host.warn("a node could not be written", Value::object({{"node", one.config->name}, {"error", failed ? failed->text : ""}}));
         }
         if (one.registered && !one.leased) beat({&one});
       }))](CommitResult r) { (*done)(std::move(r)); },
      PINTLE_COMMIT_INDEPENDENT);
}

void Registration::tick() {
  // Every node once per interval, in buckets of equal size.
  const size_t buckets = std::max<size_t>(1, std::min(kBuckets, nodes_.size()));
  const size_t share = (nodes_.size() + buckets - 1) / buckets;
  std::vector<One*> batch;
  if (!context_.draining)
    for (size_t i = 0; i < share && i < nodes_.size(); ++i) {
      if (next_ >= nodes_.size()) next_ = 0;
      One& one = *nodes_[next_++];
      if (one.dirty || !one.registered || context_.host.now() - one.status_at > kStatusEvery) register_node(one);
      if (one.registered) batch.push_back(&one);
    }
  if (!batch.empty()) beat(std::move(batch));
  timer_ = context_.host.after(context_.config.heartbeat_ns / buckets, strand_.wrap([this] { tick(); }));
}

void Registration::beat(std::vector<One*> batch) {
  std::vector<Op> ops;
  const std::string now = format_micro_time(context_.host.wall());
  for (One* one : batch) {
    const std::string& name = one->config->name;
    const Value spec = Value::object({{"holderIdentity", name}, {"leaseDurationSeconds", 40}, {"renewTime", now}});
    if (one->leased) {
      ops.push_back(Op::merge("leases.coordination.k8s.io", "kube-node-lease", name, Value::object({{"spec", spec}})));
      continue;
    }
    Value lease = Value::object({{"apiVersion", "coordination.k8s.io/v1"}, {"kind", "Lease"}, {"metadata", Value::object({{"name", name}, {"namespace", "kube-node-lease"}})}, {"spec", spec}});
    if (const auto node = context_.host.get_object("nodes", "", name))
      lease.find("metadata")->set("ownerReferences", Value::array({Value::object({{"apiVersion", "v1"}, {"kind", "Node"}, {"name", name}, {"uid", node->json()["metadata"]["uid"]}})}));
    ops.push_back(Op::create("leases.coordination.k8s.io", "kube-node-lease", lease));
  }
  context_.host.commit(
      ops,
      [in_hand = context_.in_hand.begin(), done = std::make_shared<std::function<void(CommitResult)>>(strand_.wrap([this, batch](CommitResult r) {
         for (size_t i = 0; i < batch.size() && i < r.ops.size(); ++i) {
           One& one = *batch[i];
           const pintle_code code = r.ops[i].code;
           if (code == PINTLE_OK || code == PINTLE_ALREADY_EXISTS) one.leased = true;
           else if (code == PINTLE_NOT_FOUND) {
             // The node may have been deleted: then it comes back as a new one.
             one.leased = false;
             one.dirty = true;
           } else {
             context_.host.warn("a heartbeat could not be written", Value::object({{"node", one.config->name}, {"error", r.ops[i].text}}));
           }
         }
       }))](CommitResult r) { (*done)(std::move(r)); },
      PINTLE_COMMIT_INDEPENDENT);
}

void Registration::stop() {
  strand_.close();
  timer_.reset();
}

}  // namespace pintle::node_agent

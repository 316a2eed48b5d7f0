#include "tests/simulation/scenario.h"

#include <map>

#include "tests/cluster/cluster.h"
#include "tests/simulation/watcher.h"

namespace pintle::kernel::simulation {
namespace {

using json::Value;

constexpr int kNodes = 50;
constexpr uint64_t kConvergeSeconds = 60;

class Scenario {
 public:
  explicit Scenario(const ScenarioOptions& options)
      // Not a multiple of draw()'s own step: or else a seed's draws would be those of the seed before, shifted by one.
      : options_(options), random_(options.seed * 0xd1342543de82ef95ull + 0x2545f4914f6cdd1dull), cluster_(options.seed, plugins(), configs(), specs(options.plant)) {}

  Outcome run();

 private:
  struct Work {
    std::vector<Value> templates;  // all it ever had
    bool healthy = true;
  };
  static std::vector<std::string> plugins() {
    return {"core", "namespace", "gc", "replicaset", "deployment", "service", "scheduling", "scheduler-default", "scheduler-binpack", "runtime-sim", "node-agent"};
  }
  static Value agent(int count, const char* prefix) {
    return Value::object({{"simulated", Value::object({{"count", count}, {"prefix", prefix}, {"cpu", "2"}, {"memory", "4Gi"}, {"pods", "20"}, {"taint", false}})}});
  }
  static std::map<std::string, Value> configs() {
    return {{"node-agent", agent(kNodes, "sim-")},
            {"runtime-sim", Value::object({{"startLatencyMs", 200}, {"pullLatencyMs", 100}, {"stopLatencyMs", 300}})}};
  }
  static std::map<std::string, Value> specs(const std::string& plant) {
    std::map<std::string, Value> out;
    if (plant == "off-by-one") out["deployment"] = Value::object({{"path", PINTLE_PLANTED_DIRECTORY "/planted-deployment.so"}});
    if (plant == "forgotten-requeue") out["replicaset"] = Value::object({{"path", PINTLE_PLANTED_DIRECTORY "/planted-replicaset.so"}});
    if (plant == "no-fence") out["scheduling"] = Value::object({{"path", PINTLE_PLANTED_DIRECTORY "/planted-scheduling.so"}});
    return out;
  }

  uint64_t draw(uint64_t below) {  // splitmix64; a generator of its own, so that what it draws depends on nothing that runs
    uint64_t z = (random_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (z ^ (z >> 31)) % below;
  }
  bool chance(uint64_t percent) { return draw(100) < percent; }
  void note(const std::string& text) {
    if (options_.trace) options_.trace("== " + std::to_string((cluster_.executor().now() - SimulatedExecutor::kStart) / 1000000) + " " + text);
  }
  std::string any(const std::vector<Value>& objects) { return objects.empty() ? "" : std::string(objects[draw(objects.size())].at("metadata.name").as_string()); }
  std::string any_work() {
    if (work_.empty()) return "";
    auto it = work_.begin();
    std::advance(it, static_cast<long>(draw(work_.size())));
    return it->first;
  }

  Value pod_template(const std::string& app, bool healthy);
  void deploy();
  void scale();
  void update(bool healthy);
  void roll_back();
  void service();
  void cordon(bool on);
  void delete_pod();
  void outage(bool on);
  void swap_scheduler();
  void interfere();
  void step();
  void heal();

  ScenarioOptions options_;
  uint64_t random_;
  Cluster cluster_;
  std::map<std::string, Work> work_;
  int made_ = 0, versions_ = 0, services_ = 0;
  bool silent_ = false, binpack_ = false;
  std::vector<std::string> cordoned_;
};

Value Scenario::pod_template(const std::string& app, bool healthy) {
  Value notes = Value::object();
  if (!healthy) {
    notes.set("sim.pintle.dev/exit-after", std::to_string(1 + draw(8)) + "s");
    notes.set("sim.pintle.dev/exit-code", "3");
  }
  if (chance(30)) notes.set("sim.pintle.dev/stop-after", std::to_string(1 + draw(3)) + "s");
  Value container = Value::object({{"name", "c"}, {"image", "app:" + std::to_string(++versions_)}});
  container.set("resources", Value::object({{"requests", Value::object({{"cpu", std::to_string(100 + 100 * draw(5)) + "m"}, {"memory", "64Mi"}})}}));
  return Value::object({{"metadata", Value::object({{"labels", Value::object({{"app", app}})}, {"annotations", notes}})},
                        {"spec", Value::object({{"containers", Value::array({container})}})}});
}

void Scenario::deploy() {
  const std::string name = "d" + std::to_string(++made_);
  Value spec = Value::object({{"replicas", static_cast<int64_t>(1 + draw(12))}, {"selector", Value::object({{"matchLabels", Value::object({{"app", name}})}})}});
  spec.set("minReadySeconds", static_cast<int64_t>(draw(4)));
  spec.set("template", pod_template(name, true));
  if (chance(10)) {
    spec.set("strategy", Value::object({{"type", "Recreate"}}));
  } else {
    static constexpr const char* kAmounts[][2] = {{"25%", "25%"}, {"0%", "30%"}, {"30%", "0%"}, {"50%", "25%"}, {"20%", "40%"}};
    const auto& a = kAmounts[draw(5)];
    spec.set("strategy", Value::object({{"type", "RollingUpdate"}, {"rollingUpdate", Value::object({{"maxSurge", a[0]}, {"maxUnavailable", a[1]}})}}));
  }
  note("deploy " + name + " " + spec.dump());
  work_[name].templates.push_back(spec["template"]);
  cluster_.create("deployments.apps", Value::object({{"apiVersion", "apps/v1"}, {"kind", "Deployment"},
                                                     {"metadata", Value::object({{"name", name}, {"namespace", "default"}})}, {"spec", spec}}));
}

void Scenario::scale() {
  const std::string name = any_work();
  if (name.empty()) return;
  const auto replicas = static_cast<int64_t>(draw(15));
  note("scale " + name + " to " + std::to_string(replicas));
  cluster_.patch("deployments.apps", "default", name, Value::object({{"spec", Value::object({{"replicas", replicas}})}}));
}

void Scenario::update(bool healthy) {
  const std::string name = any_work();
  if (name.empty()) return;
  // A merge patch keeps annotations that it does not name: those that make it crash are named.
  Value t = pod_template(name, healthy);
  for (const char* key : {"sim.pintle.dev/exit-after", "sim.pintle.dev/exit-code", "sim.pintle.dev/stop-after"})
    if (t.at("metadata.annotations")[key].is_null()) t.make("metadata.annotations").set(key, Value());
  note(std::string("update ") + name + (healthy ? "" : " to one that crashes"));
  cluster_.patch("deployments.apps", "default", name, Value::object({{"spec", Value::object({{"template", t}})}}));
  work_[name].templates.push_back(t);
  work_[name].healthy = healthy;
}

void Scenario::roll_back() {
  const std::string name = any_work();
  if (name.empty()) return;
  Work& w = work_[name];
  const Value t = w.templates[draw(w.templates.size())];
  note("roll back " + name);
  Value whole = t;
  for (const char* key : {"sim.pintle.dev/exit-after", "sim.pintle.dev/exit-code", "sim.pintle.dev/stop-after"})
    if (whole.at("metadata.annotations")[key].is_null()) whole.make("metadata.annotations").set(key, Value());
  cluster_.patch("deployments.apps", "default", name, Value::object({{"spec", Value::object({{"template", whole}})}}));
  w.healthy = whole.at("metadata.annotations")["sim.pintle.dev/exit-after"].is_null();
}

void Scenario::service() {
  if (services_ > 3 && chance(30)) {
    const std::string name = "s" + std::to_string(1 + draw(static_cast<uint64_t>(services_)));
    note("delete service " + name);
    cluster_.remove("services", "default", name);
    return;
  }
  const std::string name = "s" + std::to_string(++services_), app = any_work();
  if (app.empty()) return;
  note("service " + name + " of " + app);
  cluster_.create("services", Value::object({{"apiVersion", "v1"}, {"kind", "Service"}, {"metadata", Value::object({{"name", name}, {"namespace", "default"}})},
                                             {"spec", Value::object({{"selector", Value::object({{"app", app}})},
                                                                     {"ports", Value::array({Value::object({{"port", 80}})})}})}}));
}

void Scenario::cordon(bool on) {
  if (on) cordoned_.push_back(any(cluster_.list("nodes")));
  if (cordoned_.empty()) return;
  const std::string name = cordoned_.back();
  if (!on) cordoned_.pop_back();
  note((on ? "cordon " : "uncordon ") + name);
  cluster_.patch("nodes", "", name, Value::object({{"spec", Value::object({{"unschedulable", on ? Value(true) : Value()}})}}));
}

void Scenario::delete_pod() {
  const std::string name = any(cluster_.list("pods"));
  if (name.empty()) return;
  const int64_t grace = chance(30) ? 0 : chance(50) ? 2 : -1;
  note("delete pod " + name);
  cluster_.remove("pods", "default", name, grace);
}

void Scenario::outage(bool on) {
  if (on == silent_) return;
  note(on ? "the node agent is gone" : "the agent is back");
  cluster_.patch("plugins.pintle.dev", "", "node-agent", Value::object({{"spec", Value::object({{"enabled", !on}})}}));
  silent_ = on;
}

// Also in the middle of decisions: a moment after there is something to decide.
void Scenario::swap_scheduler() {
  if (chance(60)) {
    scale();
    uint64_t tasks = draw(150);
    cluster_.executor().run_until([&] { return tasks-- == 0; }, 0);
  }
  binpack_ = !binpack_;
  note(binpack_ ? "scheduler-binpack" : "scheduler-default");
  cluster_.patch("slots.pintle.dev", "", "scheduler.default-scheduler",
                 Value::object({{"spec", Value::object({{"provider", binpack_ ? "scheduler-binpack" : "scheduler-default"}})}}));
}

// Somebody else writes what controllers are about to write, or removes what they made.
void Scenario::interfere() {
  static constexpr const char* kKinds[] = {"deployments.apps", "replicasets.apps", "pods", "nodes", "endpointslices.discovery.k8s.io", "services"};
  const std::string kind = kKinds[draw(6)];
  const auto objects = cluster_.list(kind);
  if (objects.empty()) return;
  const Value& o = objects[draw(objects.size())];
  const std::string ns(o.at("metadata.namespace").as_string()), name(o.at("metadata.name").as_string());
  if (kind == "endpointslices.discovery.k8s.io") {
    note("delete " + kind + " " + name);
    cluster_.remove(kind, ns, name);
    return;
  }
  note("annotate " + kind + " " + name);
  for (int i = 0; i < 3; ++i) {
    const Value notes = Value::object({{"example.com/touched", std::to_string(draw(1000))}});
    cluster_.patch(kind, ns, name, Value::object({{"metadata", Value::object({{"annotations", notes}})}}));
  }
}

void Scenario::step() {
  switch (draw(14)) {
    case 0: case 1: made_ < 5 ? deploy() : update(true); break;
    case 2: case 3: scale(); break;
    case 4: case 5: update(true); break;
    case 6: update(false); break;
    case 7: roll_back(); break;
    case 8: service(); break;
    case 9: cordon(chance(60)); break;
    case 10: delete_pod(); break;
    case 11: outage(!silent_); break;
    case 12: swap_scheduler(); break;
    default: interfere(); break;
  }
}

// The end of all faults.
void Scenario::heal() {
  note("faults end");
  outage(false);
  while (!cordoned_.empty()) cordon(false);
  for (auto& [name, w] : work_) {
    if (w.healthy) continue;
    Value t = pod_template(name, true);
    for (const char* key : {"sim.pintle.dev/exit-after", "sim.pintle.dev/exit-code"}) t.make("metadata.annotations").set(key, Value());
    cluster_.patch("deployments.apps", "default", name, Value::object({{"spec", Value::object({{"template", t}})}}));
    w.healthy = true;
  }
}

Outcome Scenario::run() {
  Outcome out;
  if (!cluster_.started()) {
    out.problems.push_back("the cluster does not start: " + cluster_.problem());
    return out;
  }
  Watcher watcher(cluster_.plane().store(), cluster_.executor());
  watcher.trace = options_.trace;
  const auto all_ready = [&] {
    int ready = 0;
    for (const auto& n : cluster_.list("nodes"))
      for (const auto& c : n["status"]["conditions"].items()) ready += c["type"].as_string() == "Ready" && c["status"].as_string() == "True";
    return ready == kNodes && !cluster_.read("namespaces", "", "default").is_null();
  };
  if (!cluster_.until(all_ready, 60)) out.problems.push_back("the nodes do not get ready");
  deploy();
  for (int i = 0; i < options_.steps && out.problems.empty() && watcher.violations().empty(); ++i) {
    step();
    // Bursts, ordinary pauses, and now and then one in which silent nodes are noticed.
    cluster_.run_for(chance(40) ? draw(300) : chance(90) ? 500 + draw(5000) : 45000 + draw(10000));
  }
  heal();
  if (watcher.violations().empty() && !cluster_.until([&] { return watcher.unfinished().empty(); }, kConvergeSeconds))
    out.problems.push_back("not at its goal " + std::to_string(kConvergeSeconds) + " s after the last fault: " + watcher.unfinished());
  for (const auto& v : watcher.violations()) out.problems.push_back(v);
  out.hash = watcher.hash();
  out.changes = watcher.changes();
  out.tasks = cluster_.executor().steps();
  out.simulated_ms = (cluster_.executor().now() - SimulatedExecutor::kStart) / 1000000;
  return out;
}

}  // namespace

Outcome run_scenario(const ScenarioOptions& options) {
  Scenario s(options);
  return s.run();
}

}  // namespace pintle::kernel::simulation

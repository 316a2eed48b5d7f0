#include "tests/cluster/cluster.h"

#include <algorithm>

#include "pintle/quantity.h"
#include "pintle/scheduling/resources.h"
#include "pintle/timestamp.h"
#include "pintle/workload.h"

namespace pintle::kernel {

Cluster::Cluster(uint64_t seed, const std::vector<std::string>& plugins, std::map<std::string, json::Value> configs,
                 std::map<std::string, json::Value> specs)
    : executor_(seed) {
  Config config;
  config.plugin_directories = {PINTLE_PLUGIN_DIRECTORY};
  for (const auto& p : plugins) {
    json::Value spec = specs.count(p) ? specs[p] : json::Value::object();
    if (configs.count(p)) spec.set("config", configs[p]);
    config.plugins.push_back({p, std::move(spec)});
  }
  config.slots["scheduler.default-scheduler"] = "scheduler-default";
  auto plane = ControlPlane::open(executor_, std::move(config));
  if (!plane.ok()) {
    problem_ = plane.error().text;
    return;
  }
  plane_ = std::move(*plane);
  bool done = false;
  plane_->start([&](Result<void> r) {
    done = true;
    started_ = r.ok();
    if (!r.ok()) problem_ = r.error().text;
  });
  executor_.run_until([&] { return done; }, 60ull * 1000000000);
  if (!done) problem_ = "the plane does not settle";
  // One that holds no slot is active a moment after the plane has settled.
  executor_.run_until(
      [&] {
        for (const auto& [name, state] : plane_->plugins().states())
          if (state != PluginState::kActive && std::find(plugins.begin(), plugins.end(), name) != plugins.end()) return false;
        return true;
      },
      10ull * 1000000000);
  for (const auto& [name, state] : plane_->plugins().states())
    // The directory may hold more than this test wants.
    if (state != PluginState::kActive && std::find(plugins.begin(), plugins.end(), name) != plugins.end()) {
      started_ = false;
      problem_ += name + " is " + to_string(state) + "; ";
    }
  if (std::find(plugins.begin(), plugins.end(), "node-agent") == plugins.end()) kubelet();
}

Cluster::~Cluster() {
  *alive_ = false;
  if (!plane_) return;
  bool done = false;
  plane_->stop([&] { done = true; });
  executor_.run_until([&] { return done; }, 120ull * 1000000000);
}

bool Cluster::until(const std::function<bool()>& done, uint64_t limit_s) {
  for (uint64_t ms = 0; ms <= limit_s * 1000; ms += 20) {
    if (done()) return true;
    executor_.run_for(20000000);
  }
  return done();
}

json::Value Cluster::execute(Verb verb, const std::string& kind, const std::string& ns, const std::string& name, const std::string& sub,
                             const std::string& body, const char* content_type) {
  ApiRequest r;
  r.verb = verb;
  const size_t dot = kind.find('.');
  r.resource = kind.substr(0, dot);
  r.group = dot == std::string::npos ? "" : kind.substr(dot + 1);
  r.version = "v1";
  r.subresource = sub;
  r.ns = ns;
  r.name = name;
  r.body = body;
  r.content_type = content_type;
  r.identity.user = "kubernetes-admin";
  r.identity.groups = {"system:masters"};
  bool done = false;
  json::Value out;
  problem_.clear();
  plane_->pipeline().execute(std::move(r), [&](ApiAnswer a) {
    done = true;
    if (!a.ok()) problem_ = a.error.text;
    else out = a.object ? json::parse_or_null(a.object->json()) : a.document;
  });
  executor_.run_until([&] { return done; }, 60ull * 1000000000);
  if (!done) problem_ = "no answer";
  return out;
}

json::Value Cluster::create(const std::string& kind, json::Value object) {
  const std::string ns(object.at("metadata.namespace").as_string());
  return execute(Verb::kCreate, kind, ns, "", "", object.dump(), "application/json");
}

json::Value Cluster::patch(const std::string& kind, const std::string& ns, const std::string& name, const json::Value& merge, const std::string& sub) {
  return execute(Verb::kPatch, kind, ns, name, sub, merge.dump(), "application/merge-patch+json");
}

json::Value Cluster::post(const std::string& kind, const std::string& ns, const std::string& name, const std::string& sub, const json::Value& body) {
  return execute(Verb::kCreate, kind, ns, name, sub, body.dump(), "application/json");
}

json::Value Cluster::read(const std::string& kind, const std::string& ns, const std::string& name, const std::string& sub) {
  if (!sub.empty()) return execute(Verb::kGet, kind, ns, name, sub, "", "");
  const ObjectRef o = plane_->store().get({kind, ns, name});
  return o ? json::parse_or_null(o->json()) : json::Value();
}

void Cluster::remove(const std::string& kind, const std::string& ns, const std::string& name, int64_t grace) {
  const json::Value options = grace < 0 ? json::Value::object() : json::Value::object({{"gracePeriodSeconds", grace}});
  execute(Verb::kDelete, kind, ns, name, "", options.dump(), "application/json");
}

std::vector<json::Value> Cluster::list(const std::string& kind) const {
  ListQuery q;
  q.kind = kind;
  std::vector<json::Value> out;
  auto page = plane_->store().list(q);
  if (page.ok())
    for (const auto& o : page->objects) out.push_back(json::parse_or_null(o->json()));
  return out;
}

void Cluster::add_node(const std::string& name, const std::string& cpu, const std::string& labels) {
  json::Value all = json::parse_or_null(labels);
  all.set("kubernetes.io/hostname", name);
  json::Value node = json::Value::object({{"apiVersion", "v1"}, {"kind", "Node"}, {"metadata", json::Value::object({{"name", name}, {"labels", all}})}});
  create("nodes", node);
  const json::Value capacity = json::Value::object({{"cpu", cpu}, {"memory", "16Gi"}, {"pods", "110"}});
  const std::string now = format_time(executor_.wall());
  json::Value ready = json::Value::object({{"type", "Ready"}, {"status", "True"}, {"reason", "KubeletReady"}, {"message", "ready"},
                                           {"lastHeartbeatTime", now}, {"lastTransitionTime", now}});
  json::Value status = json::Value::object({{"capacity", capacity}, {"allocatable", capacity}});
  status.set("conditions", json::Value::array({ready}));
  patch("nodes", "", name, json::Value::object({{"status", status}}), "status");
  node_cpu_[name] = resource_amount("cpu", cpu).value_or(0);
}

// One look at all pods every 100 ms of virtual time; what it writes are ordinary requests.
void Cluster::kubelet() {
  executor_.after(100000000, [this, alive = alive_] {
    if (!*alive) return;
    const auto send = [this](Verb verb, const json::Value& pod, const std::string& sub, const json::Value& body) {
      ApiRequest r;
      r.verb = verb;
      r.resource = "pods";
      r.version = "v1";
      r.ns = pod.at("metadata.namespace").as_string();
      r.name = pod.at("metadata.name").as_string();
      r.subresource = sub;
      r.body = body.dump();
      r.content_type = verb == Verb::kPatch ? "application/strategic-merge-patch+json" : "application/json";
      r.identity.user = "kubelet";
      r.identity.groups = {"system:masters"};
      plane_->pipeline().execute(std::move(r), [](ApiAnswer) {});
    };
    for (const auto& pod : list("pods")) {
      const std::string uid(pod.at("metadata.uid").as_string());
      if (pod.at("spec.nodeName").as_string().empty()) continue;
      const uint64_t since = bound_at_.try_emplace(uid, executor_.now()).first->second;
      if (!pod.at("metadata.deletionTimestamp").is_null()) {
        send(Verb::kDelete, pod, "", json::Value::object({{"gracePeriodSeconds", 0}}));
      } else if (!pod_ready(pod) && executor_.now() - since >= start_ms * 1000000 &&
                 !broken_images.contains(std::string(pod.at("spec.containers[0].image").as_string()))) {
        const json::Value ready = json::Value::object({{"type", "Ready"}, {"status", "True"}, {"lastTransitionTime", format_time(executor_.wall())}});
        json::Value status = json::Value::object({{"phase", "Running"}});
        status.set("conditions", json::Value::array({ready}));
        send(Verb::kPatch, pod, "status", json::Value::object({{"status", status}}));
      }
    }
    // Heartbeats: without them nodes become unreachable.
    for (const auto& [name, cpu] : node_cpu_) {
      ApiRequest r;
      r.verb = Verb::kPatch;
      r.resource = "nodes";
      r.version = "v1";
      r.name = name;
      r.subresource = "status";
      r.content_type = "application/strategic-merge-patch+json";
      const json::Value beat = json::Value::object({{"type", "Ready"}, {"status", "True"}, {"lastHeartbeatTime", format_time(executor_.wall() / 10000000000 * 10000000000)}});
      r.body = json::Value::object({{"status", json::Value::object({{"conditions", json::Value::array({beat})}})}}).dump();
      r.identity.user = "kubelet";
      r.identity.groups = {"system:masters"};
      if (executor_.now() / 100000000 % 100 == 0) plane_->pipeline().execute(std::move(r), [](ApiAnswer) {});
    }
    kubelet();
  });
}

size_t Cluster::ready_pods() const {
  size_t n = 0;
  for (const auto& p : list("pods")) n += pod_active(p) && pod_ready(p);
  return n;
}

std::map<std::string, int> Cluster::pods_per_node() const {
  std::map<std::string, int> out;
  for (const auto& p : list("pods"))
    if (const std::string_view node = p.at("spec.nodeName").as_string(); !node.empty()) ++out[std::string(node)];
  return out;
}

std::string Cluster::overcommitted() const {
  std::map<std::string, int64_t> used;
  for (const auto& p : list("pods"))
    if (const std::string_view node = p.at("spec.nodeName").as_string(); !node.empty() && !pod_finished(p))
      used[std::string(node)] += scheduling::pod_requests(p["spec"]).get("cpu");
  std::string out;
  for (const auto& [node, cpu] : used)
    if (const auto it = node_cpu_.find(node); it != node_cpu_.end() && cpu > it->second)
      out += node + ": " + std::to_string(cpu) + "m of " + std::to_string(it->second) + "m; ";
  return out;
}

}  // namespace pintle::kernel

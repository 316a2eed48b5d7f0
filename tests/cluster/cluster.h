// A whole control plane on one seeded loop and a virtual clock: the shipped plugins, a store in memory, nodes and kubelets played by
// the test.
//
//   Cluster c(42, {"core", "replicaset", "deployment", "scheduling", "scheduler-default"});
//   c.add_node("n1", "4");
//   c.create("deployments", web(3));
//   ASSERT_TRUE(c.until([&] { return c.ready_pods() == 3; }));
//
// Threads: one.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kernel/plugin/control_plane.h"
#include "kernel/run/simulated_executor.h"

namespace pintle::kernel {

class Cluster {
 public:
  // With node-agent among the plugins it runs the pods and the test plays no kubelet. `configs`: by plugin.
  // `specs`: further fields of the Plugin objects ("path", "plugin").
  Cluster(uint64_t seed, const std::vector<std::string>& plugins, std::map<std::string, json::Value> configs = {},
          std::map<std::string, json::Value> specs = {});
  ~Cluster();  // stops the plane
  bool started() const { return started_; }
  const std::string& problem() const { return problem_; }

  // Asks every 20 ms of virtual time.
  bool until(const std::function<bool()>& done, uint64_t limit_s = 120);
  void run_for(uint64_t ms) { executor_.run_for(ms * 1000000); }

  // As a cluster administrator. `kind` as the store names it ("pods", "deployments.apps"). The object, or null and `problem()`.
  json::Value create(const std::string& kind, json::Value object);
  json::Value patch(const std::string& kind, const std::string& ns, const std::string& name, const json::Value& merge, const std::string& sub = "");
  json::Value post(const std::string& kind, const std::string& ns, const std::string& name, const std::string& sub, const json::Value& body);
  json::Value read(const std::string& kind, const std::string& ns, const std::string& name, const std::string& sub = "");
  void remove(const std::string& kind, const std::string& ns, const std::string& name, int64_t grace = -1);
  std::vector<json::Value> list(const std::string& kind) const;

  void add_node(const std::string& name, const std::string& cpu, const std::string& labels = "{}");
  // Pods become running and ready this long after they were bound, and end when they are deleted. Images named here never get ready.
  std::set<std::string> broken_images;
  uint64_t start_ms = 500;

  size_t ready_pods() const;
  std::map<std::string, int> pods_per_node() const;
  // Requests of the pods on each node, in milli: nothing may ever be over-committed.
  std::string overcommitted() const;
  SimulatedExecutor& executor() { return executor_; }
  ControlPlane& plane() { return *plane_; }

 private:
  json::Value execute(Verb verb, const std::string& kind, const std::string& ns, const std::string& name, const std::string& sub,
                      const std::string& body, const char* content_type);
  void kubelet();

  SimulatedExecutor executor_;
  std::unique_ptr<ControlPlane> plane_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool started_ = false;
  std::string problem_;
  std::map<std::string, uint64_t> bound_at_;  // by uid
  std::map<std::string, int64_t> node_cpu_;
};

}  // namespace pintle::kernel

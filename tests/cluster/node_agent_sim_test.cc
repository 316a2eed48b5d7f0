// The node agent on simulated nodes in a whole control plane, on a virtual clock.
#include <gtest/gtest.h>

#include "tests/cluster/cluster.h"

namespace pintle::kernel {
namespace {

using json::Value;

const std::vector<std::string> kPlugins = {"core", "service", "replicaset", "deployment", "scheduling", "scheduler-default", "runtime-sim", "node-agent"};

std::map<std::string, Value> nodes(int count) {
  return {{"node-agent", Value::object({{"simulated", Value::object({{"count", count}, {"taint", false}})}})}};
}

Value web(int replicas) {
  return json::parse_or_null(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"default"},"spec":{"replicas":)" +
                             std::to_string(replicas) +
                             R"(,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"web:1"}]}}}})");
}

TEST(NodeAgentInACluster, ADeploymentRunsOnSimulatedNodes) {
  Cluster c(1, kPlugins, nodes(5));
  ASSERT_TRUE(c.started()) << c.problem();
  ASSERT_TRUE(c.until([&] { return !c.read("namespaces", "", "default").is_null(); }));
  ASSERT_TRUE(c.until([&] {
    int ready = 0;
    for (const auto& n : c.list("nodes"))
      for (const auto& k : n["status"]["conditions"].items()) ready += k["type"].as_string() == "Ready" && k["status"].as_string() == "True";
    return ready == 5;
  }, 60));
  ASSERT_TRUE(c.until([&] { return c.list("leases.coordination.k8s.io").size() == 5; }, 30));
  c.create("deployments.apps", web(10));
  ASSERT_TRUE(c.until([&] { return c.ready_pods() == 10; }, 60)) << c.problem() << (c.list("pods").empty() ? "" : c.list("pods")[0].dump(true));
  for (const auto& p : c.list("pods")) {
    EXPECT_EQ(p.at("status.phase").as_string(), "Running");
    EXPECT_EQ(p.at("status.containerStatuses[0].restartCount").as_int(-1), 0);
  }
  c.patch("deployments.apps", "default", "web", json::parse_or_null(R"({"spec":{"replicas":3}})"));
  ASSERT_TRUE(c.until([&] { return c.list("pods").size() == 3; }, 120)) << c.list("pods").size();
}

TEST(NodeAgentInACluster, ARollingUpdateReplacesEveryPod) {
  Cluster c(2, kPlugins, nodes(3));
  ASSERT_TRUE(c.started()) << c.problem();
  ASSERT_TRUE(c.until([&] { return !c.read("namespaces", "", "default").is_null(); }));
  c.create("deployments.apps", web(4));
  ASSERT_TRUE(c.until([&] { return c.ready_pods() == 4; }, 60)) << c.problem();
  c.patch("deployments.apps", "default", "web", json::parse_or_null(R"({"spec":{"template":{"metadata":{"annotations":{"v":"2"}}}}})"));
  ASSERT_TRUE(c.until([&] {
    if (c.list("pods").size() != 4 || c.ready_pods() != 4) return false;
    for (const auto& p : c.list("pods"))
      if (p.at("metadata.annotations.v").as_string() != "2") return false;
    return true;
  }, 300));
}

TEST(NodeAgentInACluster, ADeletedPodGoesThroughItsGrace) {
  Cluster c(3, kPlugins, nodes(1));
  ASSERT_TRUE(c.started()) << c.problem();
  ASSERT_TRUE(c.until([&] { return !c.read("namespaces", "", "default").is_null(); }));
  c.create("pods", json::parse_or_null(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"slow","namespace":"default","annotations":{"sim.pintle.dev/stop-after":"8s"}},
    "spec":{"containers":[{"name":"c","image":"web:1"}]}})"));
  ASSERT_TRUE(c.until([&] { return c.ready_pods() == 1; }, 60)) << c.problem() << (c.list("pods").empty() ? "" : c.list("pods")[0].dump(true));
  c.remove("pods", "default", "slow");
  c.run_for(7000);
  ASSERT_EQ(c.list("pods").size(), 1u);
  EXPECT_TRUE(c.list("pods")[0]["metadata"].contains("deletionTimestamp"));
  ASSERT_TRUE(c.until([&] { return c.list("pods").empty(); }, 10));
}

}  // namespace
}  // namespace pintle::kernel

// The plugin's own .so on the testing harness: bootstrap, namespace contents, node lifecycle.
#include <gtest/gtest.h>

#include <fstream>

#include "pintle/if/controller.h"
#include "pintle/if/resource.h"
#include "pintle/testing/harness.h"
#include "pintle/timestamp.h"
#include "plugins/core/node_lifecycle.h"

namespace pintle::core {
namespace {

json::Value parse(const std::string& text) {
  const json::ParseResult r = json::parse(text);
  EXPECT_TRUE(r.ok) << r.error;
  return r.value;
}

class Controllers : public ::testing::Test {
 protected:
  Controllers() {
    const std::string ca = ::testing::TempDir() + "core-test-ca.pem";
    std::ofstream(ca) << "PEM";
    harness = std::make_unique<testing::Harness>(testing::HarnessOptions{.library = CORE_PLUGIN, .config = R"({"caFile":")" + ca + R"("})"});
  }
  void SetUp() override {
    ASSERT_TRUE(harness->ok().ok()) << harness->ok().error().text;
    ASSERT_TRUE(harness->start().ok());
  }
  json::Value reconcile(const char* controller, const char* key) {
    auto a = harness->call(PINTLE_CONTROLLER, PINTLE_METHOD(pintle_controller, reconcile),
                           json::Value::object({{"controller", controller}, {"keys", json::Value::array({json::Value(key)})}}));
    EXPECT_TRUE(a.reply.ok()) << a.reply.error().text;
    return (*a.reply)["results"][0];
  }
  // Until the controller has nothing more to do at once.
  void settle(const char* node) {
    for (int i = 0; i < 5; ++i) reconcile("node-lifecycle", node);
  }
  void put_node(const char* name, const char* ready) {
    harness->put("nodes", parse(std::string(R"({"metadata":{"name":")") + name + R"("},"spec":{},"status":{"conditions":[{"type":"Ready","status":")" +
                                ready + R"(","lastHeartbeatTime":"2026-01-01T00:00:00Z"}]}})"));
  }
  void put_lease(const char* node, int n) {
    harness->put("leases.coordination.k8s.io", parse(std::string(R"({"metadata":{"namespace":"kube-node-lease","name":")") + node +
                                                     R"("},"spec":{"renewTime":"2026-01-01T00:00:0)" + std::to_string(n) + R"(.000000Z"}})"));
  }
  void put_pod(const char* name, const char* node, int tolerates) {
    harness->put("pods", parse(std::string(R"({"metadata":{"namespace":"default","name":")") + name + R"(","uid":"u"},"spec":{"nodeName":")" + node +
                               R"(","tolerations":[{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":)" +
                               std::to_string(tolerates) + R"(}]},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}})"));
  }
  std::string taints(const char* node) {
    std::string out;
    const json::Value object = harness->get("nodes", "", node);
    for (const auto& t : object["spec"]["taints"].items())
      out += std::string(t["key"].as_string()) + ":" + std::string(t["effect"].as_string()) + " ";
    return out;
  }
  std::unique_ptr<testing::Harness> harness;
};

TEST_F(Controllers, EveryClusterHasFourNamespaces) {
  EXPECT_TRUE(harness->run_until([&] { return harness->list("namespaces").size() == 4; }));
}

TEST_F(Controllers, ANamespaceGetsItsAccountAndTheCa) {
  harness->put("namespaces", parse(R"({"metadata":{"name":"a"},"status":{"phase":"Active"}})"));
  EXPECT_EQ(reconcile("namespace-contents", "a")["result"].as_string(), "done");
  EXPECT_FALSE(harness->get("serviceaccounts", "a", "default").is_null());
  EXPECT_EQ(harness->get("configmaps", "a", "kube-root-ca.crt")["data"]["ca.crt"].as_string(), "PEM");
}

TEST_F(Controllers, ATerminatingNamespaceGetsNothing) {
  harness->put("namespaces", parse(R"({"metadata":{"name":"a","deletionTimestamp":"2026-01-01T00:00:00Z"}})"));
  reconcile("namespace-contents", "a");
  EXPECT_TRUE(harness->get("serviceaccounts", "a", "default").is_null());
}

TEST_F(Controllers, ASilentNodeBecomesUnknownAndItsPodsLeaveInTime) {
  put_node("n1", "True");
  put_node("n2", "True");
  put_lease("n1", 1);
  put_pod("p", "n1", 300);
  settle("n1");
  EXPECT_EQ(taints("n1"), "");
  harness->run_for(41 * kSecond);
  settle("n1");
  EXPECT_EQ(harness->get("nodes", "", "n1")["status"]["conditions"][0]["status"].as_string(), "Unknown");
  EXPECT_EQ(taints("n1"), "node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute ");
  EXPECT_EQ(harness->get("pods", "default", "p")["status"]["conditions"][0]["status"].as_string(), "False");
  harness->run_for(290 * kSecond);
  settle("n1");
  EXPECT_FALSE(harness->get("pods", "default", "p").is_null());
  harness->run_for(20 * kSecond);
  settle("n1");
  EXPECT_TRUE(harness->get("pods", "default", "p").is_null());
}

TEST_F(Controllers, ARenewedLeaseKeepsTheNodeAlive) {
  put_node("n1", "True");
  for (int i = 0; i < 6; ++i) {
    put_lease("n1", i);
    settle("n1");
    harness->run_for(20 * kSecond);
  }
  EXPECT_EQ(taints("n1"), "");
}

TEST_F(Controllers, WhenNoNodeIsReadyNobodyIsEvicted) {
  put_node("n1", "True");
  put_pod("p", "n1", 0);
  settle("n1");
  harness->run_for(60 * kSecond);
  settle("n1");
  harness->run_for(600 * kSecond);
  settle("n1");
  EXPECT_EQ(taints("n1"), "node.kubernetes.io/unreachable:NoSchedule ");
  EXPECT_FALSE(harness->get("pods", "default", "p").is_null());
}

TEST_F(Controllers, ANodeThatComesBackLosesItsTaints) {
  put_node("n1", "Unknown");
  put_node("n2", "True");
  settle("n1");
  EXPECT_NE(taints("n1"), "");
  put_node("n1", "True");
  put_lease("n1", 2);
  settle("n1");
  EXPECT_EQ(taints("n1"), "");
}

TEST_F(Controllers, PodsOfAMissingNodeAreRemoved) {
  put_pod("p", "gone", 300);
  settle("gone");
  EXPECT_FALSE(harness->get("pods", "default", "p").is_null());
  harness->run_for(41 * kSecond);
  settle("gone");
  EXPECT_TRUE(harness->get("pods", "default", "p").is_null());
}

TEST_F(Controllers, NothingIsLeftAfterStop) {
  harness->run_for(kSecond);
  EXPECT_TRUE(harness->drain().ok());
  harness->stop();
  EXPECT_EQ(harness->left()["timers"].as_int(), 0);
  EXPECT_EQ(harness->left()["calls"].as_int(), 0);
}

TEST(Taints, ACordonedNodeHasTheUnschedulableTaintAndForeignTaintsStay) {
  const json::Value node = parse(R"({"spec":{"unschedulable":true,"taints":[{"key":"x","effect":"NoSchedule"}]},"status":{"conditions":[{"type":"Ready","status":"True"}]}})");
  const json::Value t = wanted_taints(node, true, "now");
  ASSERT_EQ(t.size(), 2u);
  EXPECT_EQ(t[0]["key"].as_string(), "x");
  EXPECT_EQ(t[1]["key"].as_string(), "node.kubernetes.io/unschedulable");
}

TEST(Tolerations, TheShortestMatchingTimeCounts) {
  const json::Value taint = parse(R"({"key":"a","effect":"NoExecute"})");
  EXPECT_EQ(tolerated_seconds(parse("[]"), taint), 0);
  EXPECT_EQ(tolerated_seconds(parse(R"([{"operator":"Exists"}])"), taint), -1);
  EXPECT_EQ(tolerated_seconds(parse(R"([{"operator":"Exists"},{"key":"a","operator":"Exists","tolerationSeconds":9},{"key":"a","operator":"Exists","tolerationSeconds":5}])"), taint), 5);
}

}  // namespace
}  // namespace pintle::core

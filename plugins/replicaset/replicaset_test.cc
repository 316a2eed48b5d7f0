#include <gtest/gtest.h>

#include <algorithm>

#include "pintle/if/controller.h"
#include "pintle/plugin.h"
#include "pintle/testing/harness.h"
#include "pintle/timestamp.h"
#include "pintle/workload.h"
#include "plugins/replicaset/ranking.h"
#include "plugins/replicaset/status.h"

namespace pintle::replicaset {
namespace {

constexpr int64_t kNow = 1700000000 * kSecond;

json::Value parse(const std::string& text) {
  auto r = json::parse(text);
  EXPECT_TRUE(r.ok) << r.error;
  return r.value;
}

json::Value set(int replicas, const std::string& more = "") {
  return parse(R"({"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"web","namespace":"default","uid":"u-web","generation":3},
    "spec":{"replicas":)" + std::to_string(replicas) + more + R"(,"selector":{"matchLabels":{"app":"web"}},
    "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
}

json::Value pod(const std::string& name, const std::string& node = "", const std::string& phase = "Pending", int64_t ready_for = -1) {
  json::Value p = parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + R"(","namespace":"default","uid":"u-)" + name +
                        R"(","labels":{"app":"web"}},"spec":{"nodeName":")" + node + R"("},"status":{"phase":")" + phase + R"("}})");
  p.make("metadata.creationTimestamp") = format_time(kNow - 1000 * kSecond);
  if (ready_for >= 0)
    p.make("status.conditions") = json::Value::array({json::Value::object(
        {{"type", "Ready"}, {"status", "True"}, {"lastTransitionTime", format_time(kNow - ready_for * kSecond)}})});
  return p;
}

std::vector<std::string> order(const std::vector<json::Value>& pods, const std::map<std::string, int64_t>& related = {}) {
  std::vector<std::string> names;
  for (const size_t i : pods_to_delete(pods, pods.size(), related, kNow)) names.emplace_back(pods[i].at("metadata.name").as_string());
  return names;
}

TEST(Ranking, LessUsefulPodsGoFirst) {
  EXPECT_EQ(order({pod("ready", "n", "Running", 100), pod("running", "n", "Running"), pod("unknown", "n", "Unknown"),
                   pod("pending", "n", "Pending"), pod("unassigned")}),
            (std::vector<std::string>{"unassigned", "pending", "unknown", "running", "ready"}));
}

TEST(Ranking, DeletionCostComesBeforeCompanyAndAge) {
  json::Value cheap = pod("cheap", "alone", "Running", 900);
  cheap.make("metadata.annotations").set("controller.kubernetes.io/pod-deletion-cost", "-5");
  EXPECT_EQ(order({pod("young", "alone", "Running", 10), pod("crowded", "full", "Running", 900), cheap}, {{"alone", 1}, {"full", 3}}),
            (std::vector<std::string>{"cheap", "crowded", "young"}));
}

TEST(Ranking, MoreRestartsGoFirst) {
  json::Value restless = pod("a-restless", "n", "Running");
  restless.make("status").set("containerStatuses", json::Value::array({json::Value::object({{"restartCount", 4}})}));
  EXPECT_EQ(order({pod("0-calm", "n", "Running"), restless}), (std::vector<std::string>{"a-restless", "0-calm"}));
}

TEST(Status, CountsReadyAvailableAndTerminatingPods) {
  json::Value leaving = pod("leaving", "n", "Running", 100);
  leaving.make("metadata.deletionTimestamp") = "2023-01-01T00:00:00Z";
  int64_t again = INT64_MAX;
  const json::Value s = status_of(set(3, R"(,"minReadySeconds":30)"),
                                  {pod("a", "n", "Running", 100), pod("b", "n", "Running", 10), pod("c"), leaving, pod("d", "n", "Failed")}, {}, kNow, &again);
  EXPECT_EQ(s.dump(), R"({"replicas":3,"fullyLabeledReplicas":3,"readyReplicas":2,"availableReplicas":1,"terminatingReplicas":1,"observedGeneration":3})");
  EXPECT_EQ(again, 20 * kSecond);
}

TEST(Status, PatchRemovesWhatIsGone) {
  const json::Value old = parse(R"({"replicas":2,"readyReplicas":2,"observedGeneration":1})");
  EXPECT_EQ(status_patch(old, parse(R"({"replicas":0,"observedGeneration":1})")).dump(), R"({"status":{"replicas":0,"readyReplicas":null}})");
  EXPECT_TRUE(status_patch(old, old).is_null());
}

class ReplicaSetTest : public ::testing::Test {
 protected:
  testing::Harness h{{.library = PLUGIN_PATH}};
  void SetUp() override {
    ASSERT_TRUE(h.ok().ok()) << h.ok().error().text;
    ASSERT_TRUE(h.start().ok());
  }
  json::Value reconcile() {
    const auto a = h.call(PINTLE_CONTROLLER, PINTLE_METHOD(pintle_controller, reconcile),
                          parse(R"({"controller":"replicaset","keys":["default/web"]})"));
    EXPECT_TRUE(a.reply.ok()) << a.reply.error().text;
    return a.reply.ok() ? (*a.reply)["results"][0] : json::Value();
  }
  size_t mine() {
    const auto pods = h.list("pods");
    return static_cast<size_t>(std::count_if(pods.begin(), pods.end(), [](const auto& p) { return controller_uid(p) == "u-web"; }));
  }
};

TEST_F(ReplicaSetTest, MakesWhatIsMissingAndSaysSo) {
  h.put("replicasets.apps", set(5));
  EXPECT_EQ(reconcile()["result"].as_string(), "done");
  ASSERT_EQ(mine(), 5u);
  const json::Value p = h.list("pods")[0];
  EXPECT_EQ(p.at("metadata.generateName").as_string(), "web-");
  EXPECT_EQ(p.at("metadata.labels.app").as_string(), "web");
  EXPECT_TRUE(controller_of(p)["blockOwnerDeletion"].as_bool());
  const json::Value s = h.get("replicasets.apps", "default", "web")["status"];
  EXPECT_EQ(s["replicas"].as_int(), 5);
  EXPECT_EQ(s["observedGeneration"].as_int(), 3);
  h.run_for(1);
  const auto events = h.list("events");
  EXPECT_EQ(std::count_if(events.begin(), events.end(), [](const auto& e) { return e["reason"].as_string() == "SuccessfulCreate"; }), 5);
  EXPECT_EQ(reconcile()["result"].as_string(), "done");
  EXPECT_EQ(mine(), 5u);
}

TEST_F(ReplicaSetTest, DeletesTheSurplus) {
  h.put("replicasets.apps", set(4));
  reconcile();
  h.put("replicasets.apps", set(1));
  reconcile();
  EXPECT_EQ(mine(), 1u);
  EXPECT_EQ(h.get("replicasets.apps", "default", "web").at("status.replicas").as_int(), 1);
}

TEST_F(ReplicaSetTest, AdoptsOrphansAndReleasesStrangers) {
  h.put("pods", pod("orphan"));
  json::Value stray = pod("stray");
  stray.make("metadata.labels").set("app", "other");
  stray.make("metadata").set("ownerReferences", json::Value::array({controller_reference(set(1))}));
  h.put("pods", stray);
  json::Value foreign = pod("foreign");
  foreign.make("metadata").set("ownerReferences", parse(R"([{"apiVersion":"x/v1","kind":"X","name":"x","uid":"u-x","controller":true}])"));
  h.put("pods", foreign);
  h.put("replicasets.apps", set(1));
  EXPECT_EQ(reconcile()["result"].as_string(), "done");
  EXPECT_EQ(controller_uid(h.get("pods", "default", "orphan")), "u-web");
  EXPECT_EQ(controller_uid(h.get("pods", "default", "stray")), "");
  EXPECT_EQ(controller_uid(h.get("pods", "default", "foreign")), "u-x");
  EXPECT_EQ(h.list("pods").size(), 3u);
}

TEST_F(ReplicaSetTest, ASetThatIsBeingDeletedMakesNothing) {
  json::Value s = set(3);
  s.make("metadata.deletionTimestamp") = "2023-01-01T00:00:00Z";
  h.put("replicasets.apps", s);
  h.put("pods", pod("orphan"));
  reconcile();
  EXPECT_EQ(mine(), 0u);
}

TEST_F(ReplicaSetTest, ASetThatIsGoneIsDone) { EXPECT_EQ(reconcile()["result"].as_string(), "done"); }

TEST_F(ReplicaSetTest, ComesBackWhenAPodBecomesAvailable) {
  json::Value p = pod("p", "n", "Running", 0);
  p.make("metadata").set("ownerReferences", json::Value::array({controller_reference(set(1))}));
  h.put("pods", p);
  h.put("replicasets.apps", set(1, R"(,"minReadySeconds":60)"));
  const json::Value r = reconcile();
  EXPECT_EQ(r["result"].as_string(), "after");
  EXPECT_GT(r["afterMs"].as_int(), 50000);
  EXPECT_LT(r["afterMs"].as_int(), 61000);
}

}  // namespace
}  // namespace pintle::replicaset

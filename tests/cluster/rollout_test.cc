// What a Deployment goes through besides a plain update: pause, rollback, Recreate, deadlines, history, configuration.
#include <gtest/gtest.h>

#include "pintle/timestamp.h"
#include "pintle/workload.h"
#include "tests/cluster/cluster.h"

namespace pintle::kernel {
namespace {

using json::Value;

class Rollouts : public ::testing::TestWithParam<uint64_t> {
 protected:
  Cluster c{GetParam(), {"core", "replicaset", "deployment", "scheduling", "scheduler-default"}};

  void SetUp() override {
    ASSERT_TRUE(c.started()) << c.problem();
    ASSERT_TRUE(c.until([&] { return !c.read("namespaces", "", "default").is_null(); }));
    for (const char* n : {"n1", "n2", "n3"}) c.add_node(n, "8");
  }
  static Value object(const std::string& text) {
    auto r = json::parse(text);
    EXPECT_TRUE(r.ok) << r.error << text;
    return r.value;
  }
  static std::string pod_template(const std::string& image) {
    return R"({"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":")" + image +
           R"(","envFrom":[{"configMapRef":{"name":"settings"}}]}]}})";
  }
  void deploy(int replicas, const std::string& more = "", const std::string& annotations = "{}") {
    ASSERT_FALSE(c.create("deployments.apps", object(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"default","annotations":)" +
                                                     annotations + R"(},"spec":{"replicas":)" + std::to_string(replicas) + more +
                                                     R"(,"selector":{"matchLabels":{"app":"web"}},"template":)" + pod_template("web:1") + "}}")).is_null())
        << c.problem();
    ASSERT_TRUE(c.until([&] { return complete(replicas); })) << get().dump(true);
  }
  void patch(const std::string& merge) {
    c.patch("deployments.apps", "default", "web", object(merge));
    ASSERT_EQ(c.problem(), "");
  }
  void image(const std::string& to) { patch(R"({"spec":{"template":)" + pod_template(to) + "}}"); }
  Value get() { return c.read("deployments.apps", "default", "web"); }
  Value condition(const char* type) { return condition_of(get(), type); }
  std::string progress() {
    const Value v = condition("Progressing");
    return std::string(v["status"].as_string()) + " " + std::string(v["reason"].as_string());
  }
  bool complete(int64_t replicas) {
    const Value d = get(), &s = d["status"];
    return s["observedGeneration"].as_int() == d.at("metadata.generation").as_int() && s["replicas"].as_int() == replicas &&
           s["updatedReplicas"].as_int() == replicas && s["availableReplicas"].as_int() == replicas;
  }
  int64_t updated() { return get().at("status.updatedReplicas").as_int(); }
  std::map<std::string, int64_t> sizes() {  // spec.replicas by image
    std::map<std::string, int64_t> out;
    for (const auto& s : c.list("replicasets.apps")) out[std::string(s.at("spec.template.spec.containers[0].image").as_string())] += s.at("spec.replicas").as_int();
    return out;
  }
  std::map<std::string, std::string> revisions() {
    std::map<std::string, std::string> out;
    for (const auto& s : c.list("replicasets.apps"))
      out[std::string(s.at("spec.template.spec.containers[0].image").as_string())] = s.at("metadata.annotations[deployment.kubernetes.io/revision]").as_string();
    return out;
  }
  std::string newest_set() {
    std::string name;
    int64_t most = -1;
    for (const auto& s : c.list("replicasets.apps"))
      if (const int64_t r = std::atoll(std::string(s.at("metadata.annotations[deployment.kubernetes.io/revision]").as_string()).c_str()); r > most) {
        most = r;
        name = s.at("metadata.name").as_string();
      }
    return name;
  }
  bool told(const std::string& reason, const std::string& part = "") {
    for (const auto& e : c.list("events"))
      if (e["reason"].as_string() == reason && e["message"].as_string().find(part) != std::string_view::npos) return true;
    return false;
  }
};

TEST_P(Rollouts, APauseHoldsARolloutWhereItIsAndScalesInProportion) {
  deploy(6, R"(,"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":1}})");
  image("web:2");
  ASSERT_TRUE(c.until([&] { return updated() >= 2; }));
  patch(R"({"spec":{"paused":true}})");
  ASSERT_TRUE(c.until([&] { return progress() == "Unknown DeploymentPaused"; }));
  EXPECT_EQ(condition("Progressing")["message"].as_string(), "Deployment is paused");
  const auto held = sizes();
  c.run_for(30000);
  EXPECT_EQ(sizes(), held);
  EXPECT_GT(held.at("web:1"), 0);
  patch(R"({"spec":{"replicas":12}})");
  ASSERT_TRUE(c.until([&] { return sizes()["web:1"] + sizes()["web:2"] == 13; })) << get().dump(true);
  EXPECT_GT(sizes()["web:1"], held.at("web:1"));
  EXPECT_GT(sizes()["web:2"], held.at("web:2"));
  // The deadline does not run while it is paused.
  c.run_for(700000);
  EXPECT_EQ(progress(), "Unknown DeploymentPaused");
  patch(R"({"spec":{"paused":null}})");
  ASSERT_TRUE(c.until([&] { return complete(12); })) << get().dump(true);
  EXPECT_EQ(progress(), "True NewReplicaSetAvailable");
  EXPECT_EQ(condition("Progressing")["message"].as_string(), "ReplicaSet \"" + newest_set() + "\" has successfully progressed.");
}

TEST_P(Rollouts, ARollbackInTheMiddleBringsTheOldVersionBackAsANewRevision) {
  deploy(6, R"(,"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":0}})");
  image("web:2");
  ASSERT_TRUE(c.until([&] { return updated() >= 2; }));
  image("web:1");  // what `kubectl rollout undo` sends
  size_t least = 99;
  ASSERT_TRUE(c.until([&] {
    least = std::min(least, c.ready_pods());
    return complete(6);
  })) << get().dump(true);
  EXPECT_GE(least, 6u);
  EXPECT_EQ(sizes(), (std::map<std::string, int64_t>{{"web:1", 6}, {"web:2", 0}}));
  EXPECT_EQ(revisions(), (std::map<std::string, std::string>{{"web:1", "3"}, {"web:2", "2"}}));
  EXPECT_EQ(get().at("metadata.annotations[deployment.kubernetes.io/revision]").as_string(), "3");
}

TEST_P(Rollouts, RecreateNeverRunsTwoVersionsAtOnce) {
  deploy(4, R"(,"strategy":{"type":"Recreate"})");
  image("web:2");
  ASSERT_TRUE(c.until([&] {
    std::set<std::string> there;
    for (const auto& p : c.list("pods")) there.insert(std::string(p.at("spec.containers[0].image").as_string()));
    EXPECT_LE(there.size(), 1u);
    return there.size() > 1 || complete(4);
  }));
  EXPECT_EQ(sizes(), (std::map<std::string, int64_t>{{"web:1", 0}, {"web:2", 4}}));
}

TEST_P(Rollouts, ADeadlineThatPassesIsToldAndTheNextVersionStillGoesOut) {
  deploy(3, R"(,"progressDeadlineSeconds":20)");
  c.broken_images.insert("web:2");
  image("web:2");
  ASSERT_TRUE(c.until([&] { return updated() >= 1; }));
  EXPECT_EQ(progress().substr(0, 4), "True");
  const uint64_t began = c.executor().now();
  ASSERT_TRUE(c.until([&] { return progress() == "False ProgressDeadlineExceeded"; }, 60)) << get().dump(true);
  EXPECT_NEAR(static_cast<double>(c.executor().now() - began) / 1e9, 20, 3);
  EXPECT_EQ(condition("Progressing")["message"].as_string(), "ReplicaSet \"" + newest_set() + "\" has timed out progressing.");
  // 25 percent of 3 is none: nobody goes while nothing new gets ready.
  EXPECT_EQ(c.ready_pods(), 3u);
  EXPECT_EQ(condition("Available")["message"].as_string(), "Deployment has minimum availability.");
  image("web:3");
  ASSERT_TRUE(c.until([&] { return complete(3); })) << get().dump(true);
  EXPECT_EQ(progress(), "True NewReplicaSetAvailable");
  EXPECT_EQ(sizes(), (std::map<std::string, int64_t>{{"web:1", 0}, {"web:2", 0}, {"web:3", 3}}));
}

TEST_P(Rollouts, AvailableMeansReadyForMinReadySeconds) {
  deploy(2);
  patch(R"({"spec":{"minReadySeconds":15}})");
  image("web:2");
  ASSERT_TRUE(c.until([&] { return updated() >= 1 && c.ready_pods() >= 3; }));
  const uint64_t ready = c.executor().now();
  c.run_for(10000);
  EXPECT_EQ(sizes()["web:1"], 2) << "an old pod went before the new one was available";
  ASSERT_TRUE(c.until([&] { return complete(2); }));
  EXPECT_GE(c.executor().now() - ready, 28ull * 1000000000);  // one after the other
}

TEST_P(Rollouts, HistoryKeepsAsManyVersionsAsAskedFor) {
  deploy(1, R"(,"revisionHistoryLimit":1)");
  for (const char* v : {"web:2", "web:3", "web:4"}) {
    image(v);
    ASSERT_TRUE(c.until([&] { return complete(1); }));
  }
  ASSERT_TRUE(c.until([&] { return revisions().size() == 2; }));
  EXPECT_EQ(revisions(), (std::map<std::string, std::string>{{"web:3", "3"}, {"web:4", "4"}}));
  patch(R"({"spec":{"revisionHistoryLimit":0}})");
  ASSERT_TRUE(c.until([&] { return revisions().size() == 1; }));
}

TEST_P(Rollouts, AChangeOfConfigurationRollsOutWhenAskedFor) {
  ASSERT_FALSE(c.create("configmaps", object(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings","namespace":"default"},"data":{"a":"1"}})")).is_null());
  ASSERT_FALSE(c.create("configmaps", object(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other","namespace":"default"},"data":{"a":"1"}})")).is_null());
  deploy(3, "", R"({"pintle.dev/roll-on-config-change":"true"})");
  const std::string before = newest_set();
  c.patch("configmaps", "default", "other", object(R"({"data":{"a":"2"}})"));
  c.run_for(5000);
  EXPECT_EQ(newest_set(), before) << "a ConfigMap that nobody refers to";
  c.patch("configmaps", "default", "settings", object(R"({"data":{"a":"2"}})"));
  ASSERT_TRUE(c.until([&] { return newest_set() != before && complete(3); })) << get().dump(true);
  EXPECT_TRUE(c.until([&] { return told("ConfigChanged"); }));
  // Without the annotation it is left alone.
  patch(R"({"metadata":{"annotations":{"pintle.dev/roll-on-config-change":null}}})");
  const std::string now = newest_set();
  c.patch("configmaps", "default", "settings", object(R"({"data":{"a":"3"}})"));
  c.run_for(5000);
  EXPECT_EQ(newest_set(), now);
}

TEST_P(Rollouts, StepsAreToldInKubernetesWords) {
  deploy(2);
  const std::string set = newest_set();
  EXPECT_TRUE(c.until([&] { return told("ScalingReplicaSet", "Scaled up replica set " + set + " from 0 to 2"); }));
  patch(R"({"spec":{"replicas":1}})");
  EXPECT_TRUE(c.until([&] { return told("ScalingReplicaSet", "Scaled down replica set " + set + " from 2 to 1"); }));
}

INSTANTIATE_TEST_SUITE_P(AFew, Rollouts, ::testing::Values(1, 2));

}  // namespace
}  // namespace pintle::kernel

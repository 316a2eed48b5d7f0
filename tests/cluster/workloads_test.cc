#include <gtest/gtest.h>

#include "pintle/workload.h"
#include "tests/cluster/cluster.h"

namespace pintle::kernel {
namespace {

const std::vector<std::string> kPlugins{"core", "replicaset", "deployment", "scheduling", "scheduler-default", "scheduler-binpack"};

json::Value parse(const std::string& text) {
  auto r = json::parse(text);
  EXPECT_TRUE(r.ok) << r.error;
  return r.value;
}

json::Value web(int replicas, const std::string& image = "web:1", const std::string& cpu = "100m", const std::string& more = "") {
  return parse(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"default"},"spec":{"replicas":)" + std::to_string(replicas) + more +
               R"(,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},
      "spec":{"containers":[{"name":"c","image":")" + image + R"(","resources":{"requests":{"cpu":")" + cpu + R"("}}}]}}}})");
}

json::Value image(const std::string& to) {
  return parse(R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":")" + to + R"(","resources":{"requests":{"cpu":"100m"}}}]}}}})");
}

#define START(c)                                \
  ASSERT_TRUE((c).started()) << (c).problem();  \
  ASSERT_TRUE((c).until([&] { return !(c).read("namespaces", "", "default").is_null(); }))

class Seeds : public ::testing::TestWithParam<uint64_t> {};

TEST_P(Seeds, ADeploymentBecomesPodsOnNodes) {
  Cluster c(GetParam(), kPlugins);
  START(c);
  for (const char* n : {"n1", "n2", "n3"}) c.add_node(n, "4");
  ASSERT_FALSE(c.create("deployments.apps", web(6)).is_null()) << c.problem();
  ASSERT_TRUE(c.until([&] { return c.read("deployments.apps", "default", "web").at("status.availableReplicas").as_int() == 6; }));
  EXPECT_EQ(c.pods_per_node(), (std::map<std::string, int>{{"n1", 2}, {"n2", 2}, {"n3", 2}}));
  const json::Value d = c.read("deployments.apps", "default", "web");
  EXPECT_EQ(condition_of(d, "Progressing")["reason"].as_string(), "NewReplicaSetAvailable");
  EXPECT_EQ(d.at("status.observedGeneration").as_int(), d.at("metadata.generation").as_int());
  EXPECT_EQ(d.at("metadata.annotations[deployment.kubernetes.io/revision]").as_string(), "1");
}

TEST_P(Seeds, ARollingUpdateKeepsItsBounds) {
  Cluster c(GetParam(), kPlugins);
  START(c);
  for (const char* n : {"n1", "n2", "n3"}) c.add_node(n, "4");
  c.create("deployments.apps", web(5));
  ASSERT_TRUE(c.until([&] { return c.ready_pods() == 5; }));
  size_t least = 99, most = 0;
  c.patch("deployments.apps", "default", "web", image("web:2"));
  ASSERT_TRUE(c.until([&] {
    least = std::min(least, c.ready_pods());
    size_t active = 0;
    for (const auto& p : c.list("pods")) active += pod_active(p);
    most = std::max(most, active);
    const json::Value d = c.read("deployments.apps", "default", "web");
    return d.at("status.updatedReplicas").as_int() == 5 && d.at("status.replicas").as_int() == 5 && d.at("status.availableReplicas").as_int() == 5;
  }));
  EXPECT_GE(least, 4u);  // 25 percent of 5, rounded down, may be missing
  EXPECT_LE(most, 7u);   // and rounded up there in addition
}

TEST_P(Seeds, ADeletedPodIsReplaced) {
  Cluster c(GetParam(), kPlugins);
  START(c);
  c.add_node("n1", "4");
  c.create("deployments.apps", web(3));
  ASSERT_TRUE(c.until([&] { return c.ready_pods() == 3; }));
  const std::string victim(c.list("pods")[0].at("metadata.name").as_string());
  c.remove("pods", "default", victim);
  ASSERT_TRUE(c.until([&] { return c.ready_pods() == 3 && c.read("pods", "default", victim).is_null(); }));
}

TEST_P(Seeds, ARolloutThatHangsIsRolledBackWhenAsked) {
  Cluster c(GetParam(), kPlugins);
  START(c);
  c.add_node("n1", "4");
  json::Value d = web(2, "web:1", "100m", R"(,"progressDeadlineSeconds":30)");
  d.make("metadata.annotations").set("pintle.dev/auto-rollback", "true");
  c.create("deployments.apps", d);
  ASSERT_TRUE(c.until([&] { return c.ready_pods() == 2; }));
  c.broken_images.insert("web:2");
  c.patch("deployments.apps", "default", "web", image("web:2"));
  ASSERT_TRUE(c.until([&] {
    const json::Value now = c.read("deployments.apps", "default", "web");
    return now.at("spec.template.spec.containers[0].image").as_string() == "web:1" &&
           now.at("metadata.annotations[pintle.dev/rolled-back-from]").is_string() && now.at("status.updatedReplicas").as_int() == 2 &&
           now.at("status.replicas").as_int() == 2;
  }, 120));
  EXPECT_EQ(c.ready_pods(), 2u);
}

TEST_P(Seeds, PodsThatDoNotFitWaitWithTheReasonAndComeWhenRoomDoes) {
  Cluster c(GetParam(), kPlugins);
  START(c);
  c.add_node("n1", "1");
  c.create("deployments.apps", web(3, "web:1", "500m"));
  ASSERT_TRUE(c.until([&] { return c.ready_pods() == 2; }));
  json::Value waiting;
  ASSERT_TRUE(c.until([&] {
    for (const auto& p : c.list("pods"))
      if (condition_of(p, "PodScheduled")["status"].as_string() == "False") waiting = p;
    return !waiting.is_null();
  }));
  EXPECT_EQ(condition_of(waiting, "PodScheduled")["message"].as_string(), "0/1 nodes are available: 1 Insufficient cpu.");
  const json::Value why = c.read("pods", "default", std::string(waiting.at("metadata.name").as_string()), "explain");
  EXPECT_NE(why["text"].as_string().find("Insufficient cpu: needs 500m, 0m of 1000m free"), std::string_view::npos) << why.dump() << c.problem();
  c.add_node("n2", "1");
  ASSERT_TRUE(c.until([&] { return c.ready_pods() == 3; }));
  EXPECT_EQ(c.overcommitted(), "");
}

TEST_P(Seeds, ANodeIsOnlyGivenByABindOrAtTheCreation) {
  Cluster c(GetParam(), kPlugins);
  START(c);
  c.add_node("n1", "1");
  c.add_node("n2", "1", R"({"kind":"other"})");
  const auto pod = [](const std::string& name, const std::string& spec) {
    return parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + R"(","namespace":"default"},"spec":{)" + spec +
                 R"("containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"600m"}}}]}})");
  };
  // A pod that names its node goes there past every scheduler, and takes its room in the ledger.
  ASSERT_FALSE(c.create("pods", pod("fixed", R"("nodeName":"n1",)")).is_null()) << c.problem();
  ASSERT_FALSE(c.create("pods", pod("late", R"("nodeSelector":{"kubernetes.io/hostname":"n1"},)")).is_null()) << c.problem();
  ASSERT_TRUE(c.until([&] { return !condition_of(c.read("pods", "default", "late"), "PodScheduled").is_null(); }));
  EXPECT_EQ(condition_of(c.read("pods", "default", "late"), "PodScheduled")["message"].as_string(),
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector.");
  ASSERT_TRUE(c.until([&] {
    for (const auto& e : c.list("events"))
      if (e["reason"].as_string() == "FailedScheduling" && e.at("involvedObject.name").as_string() == "late" &&
          e["message"].as_string().find("0/2 nodes are available: 1 Insufficient cpu") == 0)
        return true;
    return false;
  }));
  // Nobody gives it one by an update, and nobody takes one away.
  c.patch("pods", "default", "late", parse(R"({"spec":{"nodeName":"n1"}})"));
  EXPECT_NE(c.problem().find("spec.nodeName"), std::string::npos) << c.problem();
  for (const char* other : {R"({"spec":{"nodeName":"n2"}})", R"({"spec":{"nodeName":null}})"}) {
    c.patch("pods", "default", "fixed", parse(other));
    EXPECT_NE(c.problem().find("spec.nodeName"), std::string::npos) << c.problem();
  }
  EXPECT_EQ(c.read("pods", "default", "fixed").at("spec.nodeName").as_string(), "n1");
  EXPECT_TRUE(c.read("pods", "default", "late").at("spec.nodeName").as_string().empty());
  c.remove("pods", "default", "fixed");
  ASSERT_TRUE(c.until([&] { return c.read("pods", "default", "late").at("spec.nodeName").as_string() == "n1"; }));
}

TEST_P(Seeds, ASwapOfTheSchedulerLosesNothingAndChangesPlacement) {
  Cluster c(GetParam(), kPlugins);
  START(c);
  for (int i = 0; i < 8; ++i) c.add_node("n" + std::to_string(i), "2");
  c.create("deployments.apps", web(8));
  ASSERT_TRUE(c.until([&] { return c.ready_pods() == 8; }));
  EXPECT_EQ(c.pods_per_node().size(), 8u);
  c.patch("slots.pintle.dev", "", "scheduler.default-scheduler", parse(R"({"spec":{"provider":"scheduler-binpack"}})"));
  ASSERT_EQ(c.problem(), "");
  c.patch("deployments.apps", "default", "web", parse(R"({"spec":{"replicas":40}})"));
  ASSERT_TRUE(c.until([&] { return c.ready_pods() == 40; }));
  c.patch("slots.pintle.dev", "", "scheduler.default-scheduler", parse(R"({"spec":{"provider":"scheduler-default"}})"));
  c.patch("deployments.apps", "default", "web", parse(R"({"spec":{"replicas":60}})"));
  ASSERT_TRUE(c.until([&] { return c.ready_pods() == 60; }));
  EXPECT_EQ(c.overcommitted(), "");
  EXPECT_EQ(c.list("pods").size(), 60u);
}

TEST_P(Seeds, AnOutsideBinderEntersTheSameLedger) {
  Cluster c(GetParam(), kPlugins);
  START(c);
  c.add_node("n1", "1");
  const auto pod = [](const std::string& name) {
    return parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + R"(","namespace":"default"},"spec":{"schedulerName":"mine",
        "containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"600m"}}}]}})");
  };
  const auto bind = [&](const std::string& name) {
    return c.post("pods", "default", name, "binding",
                  parse(R"({"apiVersion":"v1","kind":"Binding","metadata":{"name":")" + name + R"("},"target":{"kind":"Node","name":"n1"}})"));
  };
  ASSERT_FALSE(c.create("pods", pod("a")).is_null()) << c.problem();
  ASSERT_FALSE(c.create("pods", pod("b")).is_null()) << c.problem();
  EXPECT_EQ(bind("a")["status"].as_string(), "Success") << c.problem();
  EXPECT_EQ(c.read("pods", "default", "a").at("spec.nodeName").as_string(), "n1");
  EXPECT_EQ(condition_of(c.read("pods", "default", "a"), "PodScheduled")["status"].as_string(), "True");
  bind("b");
  EXPECT_NE(c.problem().find("Insufficient cpu"), std::string::npos) << c.problem();
  bind("a");
  EXPECT_NE(c.problem().find("already assigned"), std::string::npos) << c.problem();
}

INSTANTIATE_TEST_SUITE_P(AFew, Seeds, ::testing::Values(1, 2, 3));

// News of an instance's way up are posted; they may be read after it has taken its place.
TEST(AnyOrder, OfNewsAClusterStarts) {
  for (uint64_t seed = 41; seed <= 60; ++seed) {
    Cluster c(seed, {"core", "scheduling", "scheduler-default", "scheduler-binpack"});
    EXPECT_TRUE(c.started()) << "seed " << seed << ": " << c.problem();
  }
}

TEST(SameSeed, IsTheSameRun) {
  const auto run = [] {
    Cluster c(7, kPlugins);
    for (const char* n : {"n1", "n2", "n3"}) c.add_node(n, "4");
    c.create("deployments.apps", web(10));
    c.until([&] { return c.ready_pods() == 10; });
    std::string state;
    for (const auto& p : c.list("pods")) state += p.dump();
    return std::make_pair(state, c.executor().fingerprint());
  };
  EXPECT_EQ(run(), run());
}

}  // namespace
}  // namespace pintle::kernel

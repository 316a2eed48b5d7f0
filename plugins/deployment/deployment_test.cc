// The plugin as it is shipped, on the harness's store, with ReplicaSets that obey at once.
#include <gtest/gtest.h>

#include <algorithm>

#include "pintle/if/controller.h"
#include "pintle/if/resource.h"
#include "pintle/plugin.h"
#include "pintle/testing/harness.h"

namespace pintle {
namespace {

json::Value parse(const std::string& text) {
  auto r = json::parse(text);
  EXPECT_TRUE(r.ok) << r.error;
  return r.value;
}

class DeploymentTest : public ::testing::Test {
 protected:
  testing::Harness h{{.library = PLUGIN_PATH}};
  std::string broken = "never";  // an image whose pods never get ready

  void SetUp() override {
    ASSERT_TRUE(h.ok().ok()) << h.ok().error().text;
    ASSERT_TRUE(h.start().ok());
  }
  void put(int replicas, const std::string& image, const std::string& annotations = "{}", const std::string& more = "") {
    json::Value d = parse(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"default","uid":"u-web","generation":1,"annotations":)" +
                          annotations + R"(},"spec":{"replicas":)" + std::to_string(replicas) + more +
                          R"(,"selector":{"matchLabels":{"app":"web"}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}},
        "progressDeadlineSeconds":60,"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":")" + image + R"("}]}}}})");
    h.put("deployments.apps", d);
  }
  json::Value get() { return h.get("deployments.apps", "default", "web"); }
  void change(const std::function<void(json::Value&)>& f) {
    json::Value d = get();
    f(d);
    h.put("deployments.apps", d);
  }
  void image(const std::string& to) {
    change([&](json::Value& d) { d.make("spec.template.spec").set("containers", parse(R"([{"name":"c","image":")" + to + R"("}])")); });
  }
  json::Value reconcile() {
    const auto a = h.call(PINTLE_CONTROLLER, PINTLE_METHOD(pintle_controller, reconcile), parse(R"({"controller":"deployment","keys":["default/web"]})"));
    EXPECT_TRUE(a.reply.ok()) << a.reply.error().text;
    return a.reply.ok() ? (*a.reply)["results"][0] : json::Value();
  }
  void obey() {
    for (json::Value s : h.list("replicasets.apps")) {
      const int64_t n = s.at("spec.replicas").as_int();
      const bool ok = s.at("spec.template.spec.containers[0].image").as_string() != broken;
      const json::Value status = json::Value::object({{"replicas", n}, {"readyReplicas", ok ? n : 0}, {"availableReplicas", ok ? n : 0}, {"terminatingReplicas", 0},
                                                      {"observedGeneration", s.at("metadata.generation").as_int()}});
      if (s["status"] == status) continue;
      s.set("status", status);
      h.put("replicasets.apps", s);
    }
  }
  void settle() {
    for (int i = 0; i < 60; ++i) {
      const std::string before = all();
      reconcile();
      obey();
      if (all() == before) return;
    }
    ADD_FAILURE() << "does not settle: " << all();
  }
  std::string all() {
    std::string s = get().dump();
    for (const auto& r : h.list("replicasets.apps")) s += r.dump();
    return s;
  }
  std::string condition(const std::string& type) {
    const json::Value d = get();
    for (const auto& c : d.at("status.conditions").items())
      if (c["type"].as_string() == type) return std::string(c["reason"].as_string());
    return "";
  }
  std::map<std::string, int64_t> sizes() {  // by image
    std::map<std::string, int64_t> out;
    for (const auto& s : h.list("replicasets.apps"))
      out[std::string(s.at("spec.template.spec.containers[0].image").as_string())] = s.at("spec.replicas").as_int();
    return out;
  }
};

TEST_F(DeploymentTest, MakesASetWithHashRevisionAndNotes) {
  put(3, "i:1");
  settle();
  const auto sets = h.list("replicasets.apps");
  ASSERT_EQ(sets.size(), 1u);
  const std::string hash(sets[0].at("metadata.labels.pod-template-hash").as_string());
  EXPECT_EQ(sets[0].at("metadata.name").as_string(), "web-" + hash);
  EXPECT_EQ(sets[0].at("spec.selector.matchLabels.pod-template-hash").as_string(), hash);
  EXPECT_EQ(sets[0].at("metadata.annotations[deployment.kubernetes.io/max-replicas]").as_string(), "4");
  EXPECT_EQ(get().at("metadata.annotations[deployment.kubernetes.io/revision]").as_string(), "1");
  EXPECT_EQ(get().at("status.availableReplicas").as_int(), 3);
  EXPECT_EQ(condition("Progressing"), "NewReplicaSetAvailable");
}

TEST_F(DeploymentTest, RollsOutAndBackByTemplate) {
  put(3, "i:1");
  settle();
  image("i:2");
  settle();
  EXPECT_EQ(sizes(), (std::map<std::string, int64_t>{{"i:1", 0}, {"i:2", 3}}));
  EXPECT_EQ(get().at("metadata.annotations[deployment.kubernetes.io/revision]").as_string(), "2");
  image("i:1");
  settle();
  EXPECT_EQ(sizes(), (std::map<std::string, int64_t>{{"i:1", 3}, {"i:2", 0}}));
  EXPECT_EQ(get().at("metadata.annotations[deployment.kubernetes.io/revision]").as_string(), "3");
  for (const auto& s : h.list("replicasets.apps"))
    if (s.at("spec.replicas").as_int() == 3) {
      EXPECT_EQ(s.at("metadata.annotations[deployment.kubernetes.io/revision-history]").as_string(), "1");
    }
}

TEST_F(DeploymentTest, PausedChangesWaitButScalingDoesNot) {
  put(3, "i:1");
  settle();
  change([](json::Value& d) { d.make("spec").set("paused", true); });
  image("i:2");
  change([](json::Value& d) { d.make("spec").set("replicas", 5); });
  settle();
  EXPECT_EQ(sizes(), (std::map<std::string, int64_t>{{"i:1", 5}}));
  EXPECT_EQ(condition("Progressing"), "DeploymentPaused");
  change([](json::Value& d) { d.make("spec").erase("paused"); });
  settle();
  EXPECT_EQ(sizes(), (std::map<std::string, int64_t>{{"i:1", 0}, {"i:2", 5}}));
}

TEST_F(DeploymentTest, HistoryIsBounded) {
  put(1, "i:0", "{}", R"(,"revisionHistoryLimit":2)");
  for (int i = 0; i < 6; ++i) {
    image("i:" + std::to_string(i));
    settle();
  }
  EXPECT_EQ(sizes(), (std::map<std::string, int64_t>{{"i:3", 0}, {"i:4", 0}, {"i:5", 1}}));
}

TEST_F(DeploymentTest, RecreateLeavesNoOverlap) {
  put(3, "i:1");
  settle();
  change([](json::Value& d) { d.make("spec").set("strategy", parse(R"({"type":"Recreate"})")); });
  image("i:2");
  reconcile();
  EXPECT_EQ(sizes(), (std::map<std::string, int64_t>{{"i:1", 0}}));
  settle();
  EXPECT_EQ(sizes(), (std::map<std::string, int64_t>{{"i:1", 0}, {"i:2", 3}}));
}

TEST_F(DeploymentTest, ARolloutThatHangsSaysSoAndRollsBackWhenAsked) {
  put(3, "i:1", R"({"pintle.dev/auto-rollback":"true"})");
  settle();
  broken = "i:2";
  image("i:2");
  settle();
  EXPECT_EQ(sizes(), (std::map<std::string, int64_t>{{"i:1", 3}, {"i:2", 1}}));
  EXPECT_EQ(reconcile()["result"].as_string(), "after");
  h.run_for(61ull * 1000000000);
  settle();
  EXPECT_EQ(sizes(), (std::map<std::string, int64_t>{{"i:1", 3}, {"i:2", 0}}));
  EXPECT_EQ(get().at("spec.template.spec.containers[0].image").as_string(), "i:1");
  EXPECT_EQ(condition("Progressing"), "NewReplicaSetAvailable");
  h.run_for(1);
  const auto events = h.list("events");
  EXPECT_EQ(std::count_if(events.begin(), events.end(), [](const auto& e) { return e["reason"].as_string() == "DeploymentRollback"; }), 1);
  // When the old version does not work either, it stays.
  broken = "i:1";
  obey();
  h.run_for(300ull * 1000000000);
  for (int i = 0; i < 5; ++i) reconcile();
  EXPECT_EQ(get().at("spec.template.spec.containers[0].image").as_string(), "i:1");
}

TEST_F(DeploymentTest, WithoutTheAnnotationItOnlySaysSo) {
  put(3, "i:1");
  settle();
  broken = "i:2";
  image("i:2");
  settle();
  h.run_for(61ull * 1000000000);
  settle();
  EXPECT_EQ(condition("Progressing"), "ProgressDeadlineExceeded");
  EXPECT_EQ(get().at("spec.template.spec.containers[0].image").as_string(), "i:2");
}

TEST_F(DeploymentTest, AChangedConfigMapRollsWhenAsked) {
  h.put("configmaps", parse(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"default"},"data":{"a":"1"}})"));
  put(2, "i:1", R"({"pintle.dev/roll-on-config-change":"true"})");
  change([](json::Value& d) {
    d.make("spec.template.spec").set("containers", parse(R"([{"name":"c","image":"i:1","envFrom":[{"configMapRef":{"name":"c"}}]}])"));
  });
  settle();
  ASSERT_EQ(h.list("replicasets.apps").size(), 1u);
  h.put("configmaps", parse(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"default"},"data":{"a":"2"}})"));
  const auto keys = h.call(PINTLE_CONTROLLER, PINTLE_METHOD(pintle_controller, map),
                           parse(R"({"controller":"deployment","kind":"configmaps","type":"MODIFIED","object":{"metadata":{"name":"c","namespace":"default"}}})"));
  EXPECT_EQ((*keys.reply)["keys"].dump(), R"(["default/web"])");
  settle();
  EXPECT_EQ(h.list("replicasets.apps").size(), 2u);
}

TEST_F(DeploymentTest, HooksFillInAndRefuse) {
  const auto ask = [&](uint32_t method, const std::string& object) {
    return h.call(PINTLE_RESOURCE, method, parse(R"({"type":"api.apps.v1.Deployment","path":"","object":)" + object + "}")).reply;
  };
  const auto filled = ask(PINTLE_METHOD(pintle_resource, default_), R"({"spec":{}})");
  EXPECT_EQ((*filled).at("object.spec.strategy.rollingUpdate.maxSurge").as_string(), "25%");
  const auto recreate = ask(PINTLE_METHOD(pintle_resource, default_), R"({"spec":{"strategy":{"type":"Recreate"}}})");
  EXPECT_TRUE((*recreate).at("object.spec.strategy.rollingUpdate").is_null());
  const auto refused = ask(PINTLE_METHOD(pintle_resource, validate), R"({"spec":{"selector":{"matchLabels":{"a":"b"}},"progressDeadlineSeconds":5,"minReadySeconds":5,
      "strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":0,"maxUnavailable":0}},"template":{"spec":{"restartPolicy":"Never"}}}})");
  EXPECT_EQ((*refused)["causes"].size(), 4u) << (*refused).dump(true);
}

}  // namespace
}  // namespace pintle

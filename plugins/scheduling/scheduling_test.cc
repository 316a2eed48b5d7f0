// The plugin as it is shipped, with a real scheduler's steps behind the slot and the harness's store.
#include <gtest/gtest.h>

#include <set>

#include "pintle/if/resource.h"
#include "pintle/if/scheduler.h"
#include "pintle/plugin.h"
#include "pintle/scheduling/engine.h"
#include "pintle/testing/harness.h"

namespace pintle {
namespace {

json::Value parse(const std::string& text) {
  auto r = json::parse(text);
  EXPECT_TRUE(r.ok) << r.error;
  return r.value;
}

json::Value node(const std::string& name, const std::string& cpu = "1", bool ready = true) {
  return parse(R"({"apiVersion":"v1","kind":"Node","metadata":{"name":")" + name + R"(","uid":"u-)" + name +
               R"(","labels":{"kubernetes.io/hostname":")" + name + R"("}},"spec":{},"status":{"allocatable":{"cpu":")" + cpu +
               R"(","memory":"1Gi","pods":"110"},"conditions":[{"type":"Ready","status":")" + (ready ? "True" : "False") + R"("}]}})");
}

json::Value pod(const std::string& name, const std::string& cpu = "400m", const std::string& scheduler = "default-scheduler") {
  return parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + R"(","namespace":"default","uid":"u-)" + name +
               R"("},"spec":{"schedulerName":")" + scheduler + R"(","containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":")" + cpu +
               R"("}}}]},"status":{"phase":"Pending"}})");
}

class SchedulingTest : public ::testing::Test {
 protected:
  scheduling::Engine engine{{scheduling::standard_filters(), {scheduling::least_allocated(1)}}};
  size_t resets = 0;
  testing::Harness h{{.library = PLUGIN_PATH, .peer = [this](const std::string& slot, const std::string&, uint32_t method,
                                                             const json::Value& request) -> Result<json::Value> {
                        if (slot != "scheduler.default-scheduler") return Error(PINTLE_UNAVAILABLE, "not held");
                        if (method == PINTLE_METHOD(pintle_scheduler, observe)) {
                          resets += request["reset"].as_bool();
                          engine.observe(request);
                          return json::Value::object();
                        }
                        if (method == PINTLE_METHOD(pintle_scheduler, schedule)) return engine.schedule(request);
                        return engine.explain(request);
                      }}};

  void begin() {
    ASSERT_TRUE(h.ok().ok()) << h.ok().error().text;
    ASSERT_TRUE(h.start().ok());
    ASSERT_TRUE(h.activate("scheduling").ok());
  }
  void scheduler_comes(uint64_t epoch = 1) { ASSERT_TRUE(h.activate("scheduler.default-scheduler", epoch).ok()); }
  std::string node_of(const std::string& name) { return std::string(h.get("pods", "default", name).at("spec.nodeName").as_string()); }
  json::Value condition(const std::string& name) {
    const json::Value p = h.get("pods", "default", name);
    for (const auto& c : p.at("status.conditions").items())
      if (c["type"].as_string() == "PodScheduled") return c;
    return {};
  }
  std::set<std::string> reasons() {
    std::set<std::string> out;
    for (const auto& e : h.list("events")) out.insert(std::string(e["reason"].as_string()));
    return out;
  }
};

TEST_F(SchedulingTest, PodsAreBoundWithConditionLedgerAndEvent) {
  begin();
  scheduler_comes();
  h.put("nodes", node("n1"));
  h.put("nodes", node("n2"));
  for (int i = 0; i < 4; ++i) h.put("pods", pod("p" + std::to_string(i)));
  ASSERT_TRUE(h.run_until([&] {
    for (int i = 0; i < 4; ++i)
      if (node_of("p" + std::to_string(i)).empty()) return false;
    return reasons().contains("Scheduled");
  }));
  EXPECT_EQ(condition("p0")["status"].as_string(), "True");
  EXPECT_EQ(h.get("nodeledgers.pintle.dev", "", "n1")["binds"].as_int() + h.get("nodeledgers.pintle.dev", "", "n2")["binds"].as_int(), 4);
  EXPECT_EQ(h.get("nodeledgers.pintle.dev", "", "n1").at("allocated.cpu").as_string(), "800m");
}

TEST_F(SchedulingTest, APodThatFitsNowhereSaysWhyAndIsBoundWhenRoomAppears) {
  begin();
  scheduler_comes();
  h.put("nodes", node("n1"));
  h.put("pods", pod("big", "800m"));
  ASSERT_TRUE(h.run_until([&] { return !node_of("big").empty(); }));
  h.put("pods", pod("late", "800m"));
  ASSERT_TRUE(h.run_until([&] { return condition("late")["reason"].as_string() == "Unschedulable" && reasons().contains("FailedScheduling"); }));
  EXPECT_EQ(condition("late")["message"].as_string(), "0/1 nodes are available: 1 Insufficient cpu.");
  const auto explained = h.call(PINTLE_RESOURCE, PINTLE_METHOD(pintle_resource, subresource),
                                json::Value::object({{"kind", "pods"}, {"namespace", "default"}, {"name", "late"}, {"subresource", "explain"},
                                                     {"operation", "get"}, {"object", h.get("pods", "default", "late")}}));
  ASSERT_TRUE(explained.reply.ok());
  EXPECT_EQ((*explained.reply).at("reply.text").as_string(),
            "pod default/late: 0/1 nodes are available: 1 Insufficient cpu.\n"
            "  n1: no (NodeResourcesFit): Insufficient cpu: needs 800m, 200m of 1000m free\n");
  h.remove("pods", "default", "big");
  ASSERT_TRUE(h.run_until([&] { return node_of("late") == "n1"; }, 20ull * 1000000000));
}

TEST_F(SchedulingTest, WithoutAHolderOfTheSlotPodsWaitAndSaySo) {
  begin();
  h.put("nodes", node("n1"));
  h.put("pods", pod("a"));
  ASSERT_TRUE(h.run_until([&] { return !condition("a").is_null(); }));
  EXPECT_EQ(condition("a")["message"].as_string(),
            "no plugin holds the slot \"scheduler.default-scheduler\": nobody decides for schedulerName \"default-scheduler\"");
  scheduler_comes();
  ASSERT_TRUE(h.run_until([&] { return node_of("a") == "n1"; }, 30ull * 1000000000));
  h.put("pods", pod("b", "100m", "nobody"));
  ASSERT_TRUE(h.run_until([&] { return !condition("b").is_null(); }));
  EXPECT_EQ(node_of("b"), "");
}

TEST_F(SchedulingTest, ANewHolderIsToldEverythingAnew) {
  begin();
  scheduler_comes(1);
  h.put("nodes", node("n1"));
  h.put("pods", pod("a"));
  ASSERT_TRUE(h.run_until([&] { return node_of("a") == "n1"; }));
  EXPECT_EQ(resets, 1u);
  scheduler_comes(2);
  h.put("pods", pod("b"));
  ASSERT_TRUE(h.run_until([&] { return node_of("b") == "n1"; }));
  EXPECT_EQ(resets, 2u);
}

TEST_F(SchedulingTest, ANodeThatIsNotReadyGetsNothingUntilItIs) {
  begin();
  scheduler_comes();
  h.put("nodes", node("n1", "1", false));
  h.put("pods", pod("a"));
  ASSERT_TRUE(h.run_until([&] { return condition("a")["status"].as_string() == "False"; }));
  h.put("nodes", node("n1"));
  ASSERT_TRUE(h.run_until([&] { return node_of("a") == "n1"; }, 30ull * 1000000000));
}

TEST_F(SchedulingTest, AnOutsideBinderEntersTheSameLedger) {
  begin();
  h.put("nodes", node("n1"));
  h.put("pods", pod("a", "800m", "outside"));
  h.put("pods", pod("b", "800m", "outside"));
  h.run_for(1000000000);
  const auto bind = [&](const std::string& name, const std::string& to) {
    return h.call(PINTLE_RESOURCE, PINTLE_METHOD(pintle_resource, subresource),
                  json::Value::object({{"kind", "pods"}, {"namespace", "default"}, {"name", name}, {"subresource", "binding"},
                                       {"operation", "create"}, {"object", h.get("pods", "default", name)},
                                       {"body", parse(R"({"target":{"kind":"Node","name":")" + to + R"("}})")}})).reply;
  };
  const auto first = bind("a", "n1");
  ASSERT_TRUE(first.ok()) << first.error().text;
  EXPECT_EQ((*first)["ops"].size(), 3u);
  EXPECT_EQ((*first)["ops"][1].at("body.spec.nodeName").as_string(), "n1");
  EXPECT_TRUE((*first)["retry"].as_bool());
  json::Value placed = h.get("pods", "default", "a");
  placed.make("spec.nodeName") = "n1";
  h.put("pods", placed);
  const auto second = bind("b", "n1");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, PINTLE_CONFLICT);
  EXPECT_NE(second.error().text.find("Insufficient cpu"), std::string::npos);
  EXPECT_EQ(bind("a", "n1").error().code, PINTLE_CONFLICT);
  EXPECT_EQ(bind("b", "n9").error().code, PINTLE_NOT_FOUND);
}

TEST_F(SchedulingTest, EvictionDeletesThePod) {
  begin();
  h.put("pods", pod("a"));
  const auto r = h.call(PINTLE_RESOURCE, PINTLE_METHOD(pintle_resource, subresource),
                        json::Value::object({{"kind", "pods"}, {"namespace", "default"}, {"name", "a"}, {"subresource", "eviction"},
                                             {"operation", "create"}, {"object", h.get("pods", "default", "a")},
                                             {"body", parse(R"({"metadata":{"name":"a"},"deleteOptions":{"gracePeriodSeconds":5}})")}}));
  ASSERT_TRUE(r.reply.ok());
  EXPECT_EQ((*r.reply).at("ops[0].verb").as_string(), "delete");
  EXPECT_EQ((*r.reply).at("ops[0].body.gracePeriodSeconds").as_int(), 5);
}

TEST_F(SchedulingTest, NothingIsLeftBehindAfterStop) {
  begin();
  scheduler_comes();
  h.put("nodes", node("n1"));
  for (int i = 0; i < 10; ++i) h.put("pods", pod("p" + std::to_string(i)));
  h.run_for(3000000000ull);
  ASSERT_TRUE(h.drain().ok());
  h.stop();
  const json::Value left = h.left();
  for (const auto& m : left.members()) EXPECT_EQ(m.value.as_int(), 0) << m.key;
}

}  // namespace
}  // namespace pintle

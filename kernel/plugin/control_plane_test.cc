// The kernel as a whole, on one thread, in memory, on a virtual clock.
#include "kernel/plugin/control_plane.h"

#include <gtest/gtest.h>

#include "kernel/plugin/testing.h"
#include "kernel/run/simulated_executor.h"
#include "pintle/if/stream.h"

namespace pintle::kernel {
namespace {

constexpr uint64_t kSecond = 1000000000;

class PlaneTest : public ::testing::Test {
 protected:
  void boot(const std::string& yaml) {
    auto config = parse_config(yaml, "test.yaml");
    ASSERT_TRUE(config) << config.error().text;
    config->plugin_directories = {PINTLE_TEST_PLUGINS};
    auto plane = ControlPlane::open(executor_, std::move(*config));
    ASSERT_TRUE(plane) << plane.error().text;
    plane_ = std::move(*plane);
    bool over = false;
    plane_->start([&](Result<void> r) {
      started_ = std::move(r);
      over = true;
    });
    ASSERT_TRUE(executor_.run_until([&] { return over; }, 60 * kSecond));
    executor_.run_until_idle();
  }
  void TearDown() override {
    if (!plane_) return;
    bool over = false;
    plane_->stop([&] { over = true; });
    EXPECT_TRUE(executor_.run_until([&] { return over; }, 300 * kSecond));
    executor_.run_until_idle();
    plane_.reset();
  }
  ApiAnswer api(Verb verb, const std::string& resource, const std::string& name, const std::string& body = "", std::string subresource = "") {
    ApiRequest r;
    r.verb = verb;
    r.group = "pintle.dev";
    r.version = "v1";
    r.resource = resource;
    r.name = name;
    r.subresource = std::move(subresource);
    r.body = body;
    r.content_type = verb == Verb::kPatch ? "application/merge-patch+json" : "application/json";
    r.identity = kernel_identity();
    ApiAnswer out;
    bool over = false;
    plane_->pipeline().execute(std::move(r), [&](ApiAnswer a) {
      out = std::move(a);
      over = true;
    });
    EXPECT_TRUE(executor_.run_until([&] { return over; }, 60 * kSecond));
    return out;
  }
  json::Value object(const std::string& kind, const std::string& name) {
    auto o = plane_->store().get({kind, "", name});
    return o ? json::parse_or_null(o->json()) : json::Value();
  }
  void settle() { executor_.run_for(2 * kSecond); }
  std::string ask(const std::string& slot) {
    std::string out = "no answer";
    bool over = false;
    plane_->hooks().call(slot, PINTLE_STREAM, 0, "{}", 0, [&](Result<std::string> r) {
      out = r ? *r : r.error().text;
      over = true;
    });
    executor_.run_until([&] { return over; }, 60 * kSecond);
    return out;
  }
  SimulatedExecutor executor_{7};
  std::unique_ptr<ControlPlane> plane_;
  Result<void> started_;
};

const char* kTwo = "plugins:\n  probe: {config: {text: one}}\n  second: {config: {text: two}}\n";

TEST_F(PlaneTest, ConfiguredPluginsRunAndOthersAreFound) {
  boot("plugins:\n  probe: {config: {text: one}}\n");
  ASSERT_TRUE(started_) << started_.error().text;
  EXPECT_EQ(object(kPluginKind, "probe").at("status.state").as_string(), "Active");
  EXPECT_EQ(object(kPluginKind, "second").at("status.state").as_string(), "Found");
  EXPECT_EQ(object(kSlotKind, "probe.main").at("status.provider").as_string(), "probe");
  EXPECT_NE(ask("probe.main").find("\"one\""), std::string::npos);
}

TEST_F(PlaneTest, PatchingASlotSwapsAndTheOldHolderIsUnloaded) {
  boot(kTwo);
  EXPECT_EQ(object(kPluginKind, "second").at("status.reason").as_string(), "Standby");
  const auto epoch = object(kSlotKind, "probe.main").at("status.epoch").as_int();
  EXPECT_TRUE(api(Verb::kPatch, "slots", "probe.main", R"({"spec":{"provider":"second"}})").ok());
  settle();
  EXPECT_EQ(object(kSlotKind, "probe.main").at("status.provider").as_string(), "second");
  EXPECT_EQ(object(kSlotKind, "probe.main").at("status.previous").as_string(), "probe");
  EXPECT_EQ(object(kSlotKind, "probe.main").at("status.epoch").as_int(), epoch + 1);
  EXPECT_NE(ask("probe.main").find("\"two\""), std::string::npos);
}

TEST_F(PlaneTest, ASlotCannotGoToAPluginThatCannotHoldIt) {
  boot(kTwo);
  const ApiAnswer a = api(Verb::kPatch, "slots", "probe.main", R"({"spec":{"provider":"nobody"}})");
  EXPECT_EQ(a.error.code, PINTLE_INVALID);
  EXPECT_NE(a.error.text.find("\"probe\", \"second\""), std::string::npos) << a.error.text;
}

TEST_F(PlaneTest, DisablingUnloadsAndVacatesTheSlot) {
  boot("plugins:\n  probe: {config: {text: one}}\n");
  EXPECT_TRUE(api(Verb::kPatch, "plugins", "probe", R"({"spec":{"enabled":false}})").ok());
  settle();
  EXPECT_EQ(object(kPluginKind, "probe").at("status.state").as_string(), "Unloaded");
  EXPECT_FALSE(plane_->hooks().slot_held("probe.main"));
  EXPECT_TRUE(object(kPluginKind, "probe").at("status.drift").as_bool());
  EXPECT_TRUE(api(Verb::kPatch, "plugins", "probe", R"({"spec":{"enabled":true}})").ok());
  settle();
  EXPECT_EQ(object(kPluginKind, "probe").at("status.state").as_string(), "Active");
}

TEST_F(PlaneTest, TheLastHolderOfARequiredSlotIsNotDisabledUnlessForced) {
  boot("plugins:\n  probe:\n");
  EXPECT_TRUE(api(Verb::kPatch, "slots", "probe.main", R"({"spec":{"required":true}})").ok());
  settle();
  const ApiAnswer a = api(Verb::kPatch, "plugins", "probe", R"({"spec":{"enabled":false}})");
  EXPECT_EQ(a.error.code, PINTLE_CONFLICT);
  EXPECT_NE(a.error.text.find("slot probe.main"), std::string::npos) << a.error.text;
  EXPECT_TRUE(api(Verb::kPatch, "plugins", "probe", R"({"metadata":{"annotations":{"pintle.dev/force":"true"}},"spec":{"enabled":false}})").ok());
}

TEST_F(PlaneTest, ABadConfigurationLeavesTheRunningInstanceAlone) {
  boot("plugins:\n  probe: {config: {text: one}}\n");
  EXPECT_TRUE(api(Verb::kPatch, "plugins", "probe", R"({"spec":{"config":{"behaviour":"throw-create"}}})").ok());
  settle();
  const json::Value p = object(kPluginKind, "probe");
  EXPECT_EQ(p.at("status.state").as_string(), "Active");
  EXPECT_NE(p.at("status.lastError").as_string().find("thrown by the constructor"), std::string::npos);
  EXPECT_NE(ask("probe.main").find("\"one\""), std::string::npos);
  EXPECT_TRUE(api(Verb::kPatch, "plugins", "probe", R"({"spec":{"config":{"behaviour":"echo","text":"new"}}})").ok());
  executor_.run_for(10 * kSecond);
  EXPECT_NE(ask("probe.main").find("\"new\""), std::string::npos);
}

TEST_F(PlaneTest, AConfigurationOutsideTheSchemaIsAFailureThatNamesThePath) {
  boot("plugins:\n  probe: {config: {colour: red}}\n");
  EXPECT_TRUE(started_);
  const json::Value p = object(kPluginKind, "probe");
  EXPECT_EQ(p.at("status.state").as_string(), "Failed");
  EXPECT_NE(p.at("status.message").as_string().find("test.yaml:2:20: plugins.probe.config.colour: unknown key"), std::string::npos) << p.at("status.message").as_string();
}

TEST_F(PlaneTest, ARequiredPluginThatDoesNotRunFailsTheBoot) {
  boot("plugins:\n  probe: {required: true, config: {behaviour: throw-create}}\n");
  ASSERT_FALSE(started_);
  EXPECT_NE(started_.error().text.find("probe"), std::string::npos);
}

TEST_F(PlaneTest, AControllerSeesEveryObjectOnce) {
  boot("plugins:\n  probe:\n");
  settle();
  const json::Value m = plane_->plugins().metrics();
  EXPECT_GE(m["probe"]["controllers"]["probe"]["reconciles"].as_int(), 1) << m.dump();
}

}  // namespace
}  // namespace pintle::kernel

// The kernel as a whole, on one thread, in memory, on a virtual clock.
#include "kernel/plugin/control_plane.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "kernel/base/file.h"
#include "kernel/plugin/testing.h"
#include "kernel/run/simulated_executor.h"
#include "pintle/if/stream.h"
#include "kernel/run/executor.h"

namespace pintle::kernel {
namespace {

class PlaneTest : public ::testing::Test {
 protected:
  void boot(const std::string& yaml) {
    auto config = parse_config(yaml, "test.yaml");
    ASSERT_TRUE(config) << config.error().text;
    config->plugin_directories = directories_;
    config->without = without_;
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
  // Destroyed as soon as it has stopped: what is still queued, or comes by timer, finds nothing to do.
  void TearDown() override {
    if (!plane_) return;
    bool over = false;
    plane_->stop([&] { over = true; });
    EXPECT_TRUE(executor_.run_until([&] { return over; }, 300 * kSecond));
    plane_.reset();
    executor_.run_for(400 * kSecond);
  }
  std::string directory() {
    char path[] = "/tmp/pintle-plane-XXXXXX";
    made_.push_back(::mkdtemp(path));
    return made_.back();
  }
  ~PlaneTest() override {
    for (const auto& d : made_) std::filesystem::remove_all(d);
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
    r.identity.user = "admin";
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
  json::Value condition(const std::string& plugin, const std::string& type) {
    const json::Value status = object(kPluginKind, plugin)["status"];
    for (const auto& c : status["conditions"].items())
      if (c["type"].as_string() == type) return c;
    return {};
  }
  SimulatedExecutor executor_{7};
  std::vector<std::string> directories_ = {PINTLE_TEST_PLUGINS}, without_, made_;
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

TEST_F(PlaneTest, TheServerIsReadyWhenPluginsOweNothingMore) {
  const uint64_t begun = executor_.now();
  boot("plugins:\n  probe: {config: {behaviour: owes}}\n");
  ASSERT_TRUE(started_) << started_.error().text;
  EXPECT_GE(executor_.now() - begun, 5 * kSecond);
  EXPECT_EQ(plane_->plugins().still_starting(), "");
  settle();
  EXPECT_EQ(condition("probe", "Ready")["status"].as_string(), "True");
}

TEST_F(PlaneTest, APluginThatCannotDoItsWorkSaysSoAndTheServerIsReady) {
  boot("plugins:\n  probe: {config: {behaviour: degraded}}\n");
  ASSERT_TRUE(started_) << started_.error().text;
  settle();
  const json::Value status = object(kPluginKind, "probe")["status"], ready = condition("probe", "Ready");
  EXPECT_EQ(status["state"].as_string(), "Active");
  EXPECT_EQ(status["reason"].as_string(), "Degraded");
  EXPECT_EQ(ready["status"].as_string(), "False");
  EXPECT_EQ(ready["message"].as_string(), "nothing to drive; plug one in");
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
  EXPECT_EQ(a.error.text, "Slot.pintle.dev \"probe.main\" is invalid: spec.provider: Invalid value: \"nobody\": plugin \"nobody\" is not enabled or cannot hold slot \"probe.main\"; these can: \"probe\", \"second\"");
  const json::Value& details = a.error.status["details"];
  EXPECT_EQ(details["name"].as_string(), "probe.main");
  EXPECT_EQ(details["group"].as_string(), "pintle.dev");
  EXPECT_EQ(details["kind"].as_string(), "Slot");
  EXPECT_EQ(details["causes"][0]["reason"].as_string(), "FieldValueInvalid");
  EXPECT_EQ(details["causes"][0]["field"].as_string(), "spec.provider");
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
  EXPECT_EQ(a.error.text.rfind("Operation cannot be fulfilled on plugins.pintle.dev \"probe\": ", 0), 0u) << a.error.text;
  EXPECT_EQ(a.error.status["details"]["name"].as_string(), "probe");
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

TEST_F(PlaneTest, AChangeThatCannotBeAppliedIsSaidAndWhatRunsGoesOn) {
  boot("plugins:\n  probe: {config: {text: one}}\n");
  EXPECT_TRUE(api(Verb::kPatch, "plugins", "probe", R"({"spec":{"config":{"colour":"red"}}})").ok());
  settle();
  json::Value status = object(kPluginKind, "probe")["status"];
  EXPECT_EQ(status["state"].as_string(), "Active");
  EXPECT_EQ(status["reason"].as_string(), "NotApplied");
  EXPECT_NE(status["message"].as_string().find("plugins.probe.config.colour: unknown key"), std::string::npos) << status.dump();
  EXPECT_NE(ask("probe.main").find("\"one\""), std::string::npos);
  EXPECT_TRUE(api(Verb::kPatch, "plugins", "probe", R"({"spec":{"config":{"colour":null}}})").ok());
  settle();
  status = object(kPluginKind, "probe")["status"];
  EXPECT_EQ(status["reason"].as_string(), "") << status.dump();
}

TEST_F(PlaneTest, ARequiredPluginThatDoesNotRunFailsTheBoot) {
  boot("plugins:\n  probe: {required: true, config: {behaviour: throw-create}}\n");
  ASSERT_FALSE(started_);
  EXPECT_NE(started_.error().text.find("probe"), std::string::npos);
}

TEST_F(PlaneTest, WithoutAPluginTheServerBootsWhateverHangsOnIt) {
  without_ = {"probe"};
  boot("plugins:\n  probe: {required: true}\n  second: {required: true, config: {text: two, slot: other}}\n");
  EXPECT_TRUE(started_) << started_.error().text;
  EXPECT_EQ(object(kPluginKind, "probe").at("status.state").as_string(), "Skipped");
  EXPECT_TRUE(object(kPluginKind, "probe").at("spec.enabled").as_bool()) << "for this run only";
  EXPECT_EQ(object(kPluginKind, "second").at("status.state").as_string(), "Active");
}

TEST_F(PlaneTest, ARefusedNewcomerLeavesTheSlotWithItsHolder) {
  boot("plugins:\n  probe: {config: {text: one}}\n  second: {config: {behaviour: refuse-activate}}\n");
  EXPECT_TRUE(api(Verb::kPatch, "slots", "probe.main", R"({"spec":{"provider":"second"}})").ok());
  settle();
  EXPECT_EQ(object(kSlotKind, "probe.main").at("status.provider").as_string(), "probe");
  EXPECT_NE(object(kSlotKind, "probe.main").at("status.message").as_string().find("does not want to; \"probe\" goes on"), std::string::npos)
      << object(kSlotKind, "probe.main").at("status.message").as_string();
  EXPECT_NE(ask("probe.main").find("\"one\""), std::string::npos);
}

TEST_F(PlaneTest, APluginThatLeavesATimerBehindIsParkedLoudly) {
  boot("plugins:\n  probe: {config: {behaviour: leak-timer}}\n");
  EXPECT_TRUE(api(Verb::kPatch, "plugins", "probe", R"({"spec":{"enabled":false}})").ok());
  executor_.run_for(60 * kSecond);
  EXPECT_EQ(object(kPluginKind, "probe").at("status.state").as_string(), "Parked");
  EXPECT_NE(object(kPluginKind, "probe").at("status.message").as_string().find("1 timer was left behind"), std::string::npos);
  EXPECT_EQ(condition("probe", "Parked")["status"].as_string(), "True");
}

TEST_F(PlaneTest, BadFilesAreFailedPluginsWithTheReasonAndTheRestServes) {
  const std::string d = directory();
  const auto take = [&](const std::string& file) { std::filesystem::copy_file(testing::test_plugin(file), d + "/" + std::filesystem::path(file).filename().string() + ".so"); };
  for (const char* file : {"probe", "bad/bad_note", "bad/bad_abi", "bad/bad_draft", "bad/bad_manifest", "bad/cycle_a", "bad/cycle_b", "bad/lonely", "second"}) take(file);
  ASSERT_TRUE(write_file(d + "/text.so", "no shared object", 0644));
  std::filesystem::permissions(d + "/second.so", std::filesystem::perms::group_write, std::filesystem::perm_options::add);
  directories_ = {d};
  boot("plugins:\n  probe:\n  cycle-a:\n  cycle-b:\n  lonely:\n  second:\n  unknown:\n");
  EXPECT_TRUE(started_) << started_.error().text;
  EXPECT_EQ(object(kPluginKind, "probe").at("status.state").as_string(), "Active");
  const auto failed = [&](const std::string& name, const std::string& text) {
    const json::Value status = object(kPluginKind, name)["status"];
    EXPECT_EQ(status["state"].as_string(), "Failed") << name;
    EXPECT_NE(status["message"].as_string().find(text), std::string::npos) << name << ": " << status["message"].as_string();
  };
  failed("bad-note", "has no Pintle note");
  failed("bad-abi", "built for ABI 9.0, this kernel speaks ABI 0.1");
  failed("bad-draft", "built for draft \"pintle.older.\", this kernel speaks draft \"pintle.draft.\"");
  failed("bad-manifest", "the manifest is not a JSON object");
  failed("text", "is not an ELF file");
  failed("second", "second.so\" may be written by others than its owner: chmod go-w it");
  failed("cycle-a", "dependency cycle: cycle-a -> cycle-b -> cycle-a");
  failed("cycle-b", "dependency cycle: cycle-a -> cycle-b -> cycle-a");
  failed("lonely", "needs plugin \"nobody\", which is not enabled");
  failed("unknown", "no file with a plugin called \"unknown\" in " + d);
  // A file that goes takes along what only stood for it.
  std::filesystem::remove(d + "/text.so");
  plane_->plugins().kick();
  settle();
  EXPECT_TRUE(object(kPluginKind, "text").is_null());
  EXPECT_FALSE(object(kPluginKind, "unknown").is_null());
}

TEST_F(PlaneTest, AChangedFileIsAnUpdateThatWaitsForTheRestart) {
  const std::string d = directory();
  std::filesystem::copy_file(testing::test_plugin("probe"), d + "/probe.so");
  directories_ = {d};
  boot("plugins:\n  probe: {config: {text: one}}\n");
  const std::string before(object(kPluginKind, "probe").at("status.digest").as_string());
  auto text = read_file(d + "/probe.so");
  ASSERT_TRUE(text);
  ASSERT_TRUE(write_file(d + "/probe.so", *text + "another build", 0644));
  plane_->plugins().kick();
  settle();
  EXPECT_EQ(object(kPluginKind, "probe").at("status.digest").as_string(), before);
  EXPECT_EQ(condition("probe", "UpdateAvailable")["status"].as_string(), "True");
  EXPECT_TRUE(api(Verb::kPatch, "plugins", "probe", R"({"metadata":{"annotations":{"pintle.dev/restart":"1"}}})").ok());
  settle();
  EXPECT_NE(object(kPluginKind, "probe").at("status.digest").as_string(), before);
  EXPECT_TRUE(condition("probe", "UpdateAvailable").is_null());
  EXPECT_NE(ask("probe.main").find("\"one\""), std::string::npos);
}

TEST_F(PlaneTest, ForceIsGoodForOnce) {
  boot("plugins:\n  probe:\nslots: {probe.main: probe}\n");
  EXPECT_EQ(api(Verb::kPatch, "plugins", "probe", R"({"spec":{"enabled":false}})").error.code, PINTLE_CONFLICT) << "the file names its slot";
  EXPECT_TRUE(api(Verb::kPatch, "plugins", "probe", R"({"metadata":{"annotations":{"pintle.dev/force":"true"}},"spec":{"enabled":false}})").ok());
  settle();
  EXPECT_TRUE(api(Verb::kPatch, "plugins", "probe", R"({"spec":{"enabled":true}})").ok());
  settle();
  EXPECT_EQ(api(Verb::kPatch, "plugins", "probe", R"({"spec":{"enabled":false}})").error.code, PINTLE_CONFLICT);
}

TEST_F(PlaneTest, AControllerSeesEveryObjectOnce) {
  boot("plugins:\n  probe:\n");
  settle();
  const json::Value m = plane_->plugins().metrics();
  EXPECT_GE(m["probe"]["controllers"]["probe"]["reconciles"].as_int(), 1) << m.dump();
}

}  // namespace
}  // namespace pintle::kernel

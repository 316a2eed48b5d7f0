// A controller in its own process on a whole kernel: it lists, watches and writes through the pipeline with its own identity.
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <mutex>
#include <optional>

#include "kernel/plugin/control_plane.h"
#include "kernel/plugin/proxy.h"
#include "kernel/plugin/testing.h"
#include "kernel/run/thread_executor.h"
#include "pintle/if/stream.h"

namespace pintle::kernel {
namespace {

class ProxyStoreTest : public ::testing::Test {
 protected:
  void boot(const std::string& yaml) {
    auto config = parse_config(yaml, "test.yaml");
    ASSERT_TRUE(config) << config.error().text;
    config->shipped_directories = shipped_;
    config->plugin_directories = directories_;
    auto plane = ControlPlane::open(executor_, std::move(*config), [](InstanceOptions options, bool own_process) -> Result<std::shared_ptr<Instance>> {
      if (own_process) return make_process_instance(std::move(options), PINTLE_HOST_PROGRAM);
      return make_in_process_instance(std::move(options), "");
    });
    ASSERT_TRUE(plane) << plane.error().text;
    plane_ = std::move(*plane);
    Result<void> result = Error(PINTLE_TIMEOUT, "did not start");
    bool over = false;
    plane_->start([&](Result<void> r) {
      std::lock_guard lock(mutex_);
      result = std::move(r);
      over = true;
      changed_.notify_all();
    });
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(60), [&] { return over; });
    ASSERT_TRUE(result) << result.error().text;
  }
  void TearDown() override {
    if (!plane_) return;
    bool over = false;
    plane_->stop([&] {
      std::lock_guard lock(mutex_);
      over = true;
      changed_.notify_all();
    });
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return over; }));
    lock.unlock();
    plane_.reset();
  }
  json::Value object(const std::string& kind, const std::string& name) {
    auto o = plane_->store().get({kind, "", name});
    return o ? json::parse_or_null(o->json()) : json::Value();
  }
  bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 1500; ++i) {
      if (condition()) return true;
      bool tick = false;
      executor_.after(20000000, [&] {
        std::lock_guard lock(mutex_);
        tick = true;
        changed_.notify_all();
      });
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return tick; });
    }
    return false;
  }
  std::string ask(const std::string& request) {
    std::string out;
    bool over = false;
    plane_->hooks().call("rogue", PINTLE_STREAM, 0, request, 0, [&](Result<std::string> r) {
      std::lock_guard lock(mutex_);
      out = r ? *r : std::to_string(r.error().code) + " " + r.error().text;
      over = true;
      changed_.notify_all();
    });
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(30), [&] { return over; });
    return out;
  }
  ApiAnswer create_gadget(const std::string& name, const std::string& what) {
    return create("test.pintle.dev", "gadgets", "", R"({"apiVersion":"test.pintle.dev/v1","kind":"Gadget","metadata":{"name":")" + name + R"("},"spec":{"do":")" + what + R"("}})");
  }
  ApiAnswer create(const std::string& group, const std::string& resource, const std::string& ns, const std::string& body) {
    ApiRequest r;
    r.verb = Verb::kCreate;
    r.group = group;
    r.version = "v1";
    r.resource = resource;
    r.ns = ns;
    r.body = body;
    r.content_type = "application/json";
    return execute(std::move(r));
  }
  void patch_plugin(const std::string& name, const std::string& merge) {
    ApiRequest r;
    r.verb = Verb::kPatch;
    r.group = "pintle.dev";
    r.version = "v1";
    r.resource = "plugins";
    r.name = name;
    r.body = merge;
    r.content_type = "application/merge-patch+json";
    const ApiAnswer a = execute(std::move(r));
    EXPECT_TRUE(a.ok()) << a.error.text;
  }
  ApiAnswer execute(ApiRequest r) {
    r.identity = kernel_identity();
    ApiAnswer out;
    bool over = false;
    plane_->pipeline().execute(std::move(r), [&](ApiAnswer a) {
      std::lock_guard lock(mutex_);
      out = std::move(a);
      over = true;
      changed_.notify_all();
    });
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(30), [&] { return over; }));
    return out;
  }
  std::string state(const std::string& plugin) { return std::string(object(kPluginKind, plugin).at("status.state").as_string()); }
  std::vector<std::string> directories_ = {PINTLE_TEST_PLUGINS, std::string(PINTLE_TEST_PLUGINS) + "/isolated"};
  std::optional<std::vector<std::string>> shipped_;
  ThreadExecutor executor_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<ControlPlane> plane_;
};

TEST_F(ProxyStoreTest, AControllerInItsOwnProcessReconcilesThroughTheStore) {
  boot("plugins:\n  rogue:\n  probe: {config: {text: one}}\n");
  EXPECT_EQ(object(kPluginKind, "rogue").at("status.isolation").as_string(), "process");
  const auto slots = [&] {
    size_t n = 0;
    ListQuery q;
    q.kind = kSlotKind;
    if (auto page = plane_->store().list(q)) n = page->objects.size();
    return n;
  };
  EXPECT_TRUE(eventually([&] { return !object(kSlotKind, "probe.main").at("metadata.annotations")["seen"].as_string().empty(); }));
  EXPECT_LE(std::stoul(std::string(object(kSlotKind, "probe.main").at("metadata.annotations")["seen"].as_string("0"))), slots());
  EXPECT_EQ(object(kPluginKind, "rogue").at("status.state").as_string(), "Active") << "it reads what it has just written, or would have aborted";
}

TEST_F(ProxyStoreTest, WatchesFollowTheManifestsPermissions) {
  boot("plugins:\n  rogue:\n");
  EXPECT_EQ(ask(R"({"do":"watch","kind":"slots.pintle.dev"})"), "{}");
  EXPECT_NE(ask(R"({"do":"watch","kind":"plugins.pintle.dev"})").find("does not permit"), std::string::npos);
}

TEST_F(ProxyStoreTest, AfterACrashAFreshProcessTakesOver) {
  boot("plugins:\n  rogue:\n");
  const auto pid = [&] { return json::parse_or_null(ask(R"({"do":"environment"})"))["pid"].as_int(); };
  const int64_t before = pid();
  ASSERT_GT(before, 0);
  (void)ask(R"({"do":"segv"})");
  EXPECT_TRUE(eventually([&] {
    const int64_t now = pid();
    return now > 0 && now != before;
  }));
  EXPECT_TRUE(eventually([&] { return state("rogue") == "Active"; }));
  const json::Value status = object(kPluginKind, "rogue")["status"];
  EXPECT_EQ(status["restarts"].as_int(), 1) << status.dump();
  EXPECT_NE(status["lastError"].as_string().find("SIGSEGV"), std::string_view::npos) << status.dump();
}

TEST_F(ProxyStoreTest, ACrashLoopBacksOffWhileTheKindsStayServed) {
  boot("plugins:\n  rogue:\n  probe: {config: {text: one}}\n");
  ASSERT_TRUE(create_gadget("good", "nothing").ok());
  for (int crash = 1; crash <= 3; ++crash) {
    const ApiAnswer dying = create_gadget("bad", "abort");
    EXPECT_FALSE(dying.ok());
    if (crash == 3) break;
    ASSERT_TRUE(eventually([&] { return object(kPluginKind, "rogue").at("status.restarts").as_int() == crash && state("rogue") == "Active"; }));
  }
  // The third pause is 3.2 s long.
  ASSERT_TRUE(eventually([&] { return state("rogue") == "CrashLoopBackOff"; }));
  const json::Value status = object(kPluginKind, "rogue")["status"];
  EXPECT_NE(status["message"].as_string().find("SIGABRT; crash 3, starts again in 3.2 s"), std::string::npos) << status["message"].as_string();
  const ApiAnswer meanwhile = create_gadget("late", "nothing");
  EXPECT_EQ(meanwhile.error.code, PINTLE_UNAVAILABLE) << meanwhile.error.text;
  EXPECT_GT(meanwhile.error.retry_after_ms, 0u);
  EXPECT_FALSE(object("gadgets.test.pintle.dev", "good").is_null());
  const auto kind = plane_->pipeline().registry().snapshot()->by_name("gadgets.test.pintle.dev");
  ASSERT_TRUE(kind);
  EXPECT_FALSE(kind->hidden) << "a crash hides no kind";
  EXPECT_EQ(state("probe"), "Active");
  ASSERT_TRUE(eventually([&] { return state("rogue") == "Active"; }));
  EXPECT_TRUE(create_gadget("late", "nothing").ok());
}

TEST_F(ProxyStoreTest, AHookThatHangsIsTimedOutAndThenLeftAlone) {
  boot("plugins:\n  rogue:\n  probe: {config: {text: one}}\n");
  for (int i = 0; i < 5; ++i) {
    const ApiAnswer a = create_gadget("hung", "hang");
    EXPECT_EQ(a.error.code, PINTLE_TIMEOUT) << a.error.text;
  }
  const ApiAnswer a = create_gadget("next", "nothing");
  EXPECT_EQ(a.error.code, PINTLE_UNAVAILABLE) << a.error.text;
  EXPECT_GT(a.error.retry_after_ms, 0u);
  EXPECT_EQ(state("probe"), "Active");
  // Not 30 s of patience at the end.
  const int64_t pid = object(kPluginKind, "rogue").at("status.instances[0].pid").as_int();
  ASSERT_GT(pid, 1);
  ::kill(static_cast<pid_t>(pid), SIGKILL);
  EXPECT_TRUE(eventually([&] { return state("rogue") == "Active" && object(kPluginKind, "rogue").at("status.restarts").as_int() == 1; }));
}

TEST_F(ProxyStoreTest, PluginsFromElsewhereRunInAProcessOfTheirOwnUnlessTold) {
  shipped_ = std::vector<std::string>{"/usr/lib/pintle/plugins"};
  boot("plugins:\n  probe: {config: {text: one}}\n  trusted: {plugin: probe, isolation: in-process, config: {slot: two}}\n  second: {config: {slot: three}}\n");
  EXPECT_EQ(state("probe"), "Active");
  EXPECT_EQ(object(kPluginKind, "probe").at("status.isolation").as_string(), "process");
  EXPECT_EQ(object(kPluginKind, "trusted").at("status.isolation").as_string(), "in-process");
  EXPECT_EQ(state("second"), "Failed") << "its manifest allows this process only";
  EXPECT_NE(object(kPluginKind, "second").at("status.message").as_string().find("set spec.isolation to in-process to trust it"), std::string::npos);
}

TEST_F(ProxyStoreTest, IsolationChangesAtRunTimeOrIsRefusedInWords) {
  boot("plugins:\n  probe: {config: {text: one}}\n  second: {config: {slot: three}}\n");
  const auto instance = [&](const std::string& name) { return object(kPluginKind, name).at("status.instances[0]"); };
  for (const std::string isolation : {"process", "in-process", "process"}) {
    patch_plugin("probe", R"({"spec":{"isolation":")" + isolation + R"("}})");
    EXPECT_TRUE(eventually([&] {
      const json::Value one = instance("probe");
      return one["state"].as_string() == "Active" && one["isolation"].as_string() == isolation && (one["pid"].as_int() > 1) == (isolation == "process");
    })) << object(kPluginKind, "probe").dump(true);
    EXPECT_EQ(object(kPluginKind, "probe").at("status.isolation").as_string(), isolation);
  }
  const std::string pid = std::to_string(instance("probe")["pid"].as_int());
  std::string name;
  std::getline(std::ifstream("/proc/" + pid + "/comm"), name);
  EXPECT_EQ(name, "probe") << "the process goes by the plugin's name";
  // What its manifest does not allow: the instance goes on, and the object says why.
  patch_plugin("second", R"({"spec":{"isolation":"process"}})");
  EXPECT_TRUE(eventually([&] { return object(kPluginKind, "second").at("status.reason").as_string() == "NotApplied"; })) << object(kPluginKind, "second").dump(true);
  EXPECT_EQ(object(kPluginKind, "second").at("status.message").as_string(), "its manifest does not allow isolation process; what runs goes on as it was");
  EXPECT_EQ(instance("second")["isolation"].as_string(), "in-process");
  patch_plugin("second", R"({"spec":{"isolation":"in-process"}})");
  EXPECT_TRUE(eventually([&] { return object(kPluginKind, "second").at("status.reason").as_string().empty(); }));
}

TEST_F(ProxyStoreTest, TheControllerTemplateReconcilesInThisProcessAndInItsOwn) {
  directories_ = {PINTLE_CORE_DIRECTORY, std::string(PINTLE_TEST_PLUGINS) + "/templates"};
  for (const std::string isolation : {"in-process", "process"}) {
    boot("plugins:\n  core:\n  my-controller: {isolation: " + isolation + "}\n");
    ASSERT_EQ(state("my-controller"), "Active");
    EXPECT_TRUE(eventually([&] { return create("", "configmaps", "default", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"a":"1","b":"2"}})").ok(); }));
    EXPECT_TRUE(eventually([&] {
      auto o = plane_->store().get({"configmaps", "default", "m"});
      return o && json::parse_or_null(o->json()).at("metadata.annotations[example.org/keys]").as_string() == "2";
    })) << isolation;
    TearDown();
  }
}

TEST_F(ProxyStoreTest, PluginsThatCameWithTheServerRunInItsProcess) {
  shipped_ = std::vector<std::string>{PINTLE_TEST_PLUGINS};
  boot("plugins:\n  probe: {config: {text: one}}\n");
  EXPECT_EQ(object(kPluginKind, "probe").at("status.isolation").as_string(), "in-process");
}

}  // namespace
}  // namespace pintle::kernel

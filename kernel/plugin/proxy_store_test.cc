// A controller in its own process on a whole kernel: it lists, watches and writes through the pipeline with its own identity.
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

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
    config->plugin_directories = {testing::test_plugin("x").substr(0, testing::test_plugin("x").rfind('/')), std::string(PINTLE_TEST_PLUGINS) + "/isolated"};
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
  const json::Value status = object(kPluginKind, "rogue")["status"];
  EXPECT_EQ(status["restarts"].as_int(), 1) << status.dump();
  EXPECT_NE(status["lastError"].as_string().find("SIGSEGV"), std::string_view::npos) << status.dump();
}

}  // namespace
}  // namespace pintle::kernel

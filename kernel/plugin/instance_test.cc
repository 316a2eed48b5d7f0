#include "kernel/plugin/instance.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include "kernel/plugin/module.h"
#include "kernel/plugin/testing.h"
#include "kernel/run/simulated_executor.h"
#include "pintle/if/stream.h"
#include "kernel/run/executor.h"

namespace pintle::kernel {
namespace {

class InstanceTest : public ::testing::Test {
 protected:
  std::shared_ptr<Instance> make(const std::string& config) {
    auto options = testing::probe_options(executor_, config);
    options.events.on_state = [this](PluginState s, const std::string&) { states_.push_back(s); };
    return make_in_process_instance(std::move(options), "");
  }
  Result<void> wait(const std::function<void(Instance::Done)>& fn) {
    Result<void> out = Error(PINTLE_TIMEOUT, "never answered");
    bool over = false;
    fn([&](Result<void> r) {
      out = std::move(r);
      over = true;
    });
    executor_.run_until([&] { return over; }, 300 * kSecond);
    return out;
  }
  Result<void> start(Instance& i) {
    return wait([&](Instance::Done d) { i.start(std::move(d)); });
  }
  Result<std::string> call(Instance& i, const std::string& request, uint64_t deadline_ns = 0, std::vector<std::string>* parts = nullptr) {
    Result<std::string> out = Error(PINTLE_TIMEOUT, "never answered");
    bool over = false;
    Invoke c;
    c.interface_id = PINTLE_STREAM;
    c.request = request;
    if (deadline_ns) c.deadline = executor_.now() + deadline_ns;
    if (parts)
      c.part = [parts](std::string_view p) {
        parts->emplace_back(p);
        return true;
      };
    c.done = [&](Result<Reply> r) {
      if (r) out = r->body;
      else out = r.error();
      over = true;
    };
    i.invoke(std::move(c));
    executor_.run_until([&] { return over; }, 300 * kSecond);
    return out;
  }
  Result<void> drain(Instance& i) {
    return wait([&](Instance::Done d) { i.drain(executor_.now() + 5 * kSecond, std::move(d)); });
  }
  Ending stop(Instance& i) {
    Ending out;
    bool over = false;
    i.stop(executor_.now() + 5 * kSecond, [&](Ending e) {
      out = e;
      over = true;
    });
    EXPECT_TRUE(executor_.run_until([&] { return over; }, 300 * kSecond));
    return out;
  }
  SimulatedExecutor executor_{1};
  std::vector<PluginState> states_;
};

TEST_F(InstanceTest, GoesThroughItsStatesAndIsReallyUnmapped) {
  auto i = make(R"({"behaviour":"echo","slot":"main","text":"hello"})");
  ASSERT_TRUE(start(*i)) << start(*i).error().text;
  ASSERT_TRUE(wait([&](Instance::Done d) { i->activate("probe.main", 7, std::move(d)); }));
  const auto reply = call(*i, R"({"n":1})");
  ASSERT_TRUE(reply) << reply.error().text;
  EXPECT_EQ(*reply, R"({"text":"hello","slot":"probe.main","epoch":7,"n":1})");
  ASSERT_TRUE(drain(*i));
  EXPECT_EQ(call(*i, "{}").error().code, PINTLE_UNAVAILABLE);
  const Ending e = stop(*i);
  EXPECT_EQ(e.state, PluginState::kUnloaded) << e.message;
  executor_.run_until_idle();
  using S = PluginState;
  EXPECT_EQ(states_, (std::vector<S>{S::kLoaded, S::kCreated, S::kStarted, S::kActive, S::kDraining, S::kStopped, S::kDestroyed, S::kUnloaded}));
}

TEST_F(InstanceTest, AHundredGenerationsLeaveNothingMapped) {
  const size_t before = parked_modules();
  for (int n = 0; n < 100; ++n) {
    auto i = make(R"({"behaviour":"echo"})");
    ASSERT_TRUE(start(*i));
    ASSERT_TRUE(call(*i, "{}"));
    ASSERT_TRUE(drain(*i));
    ASSERT_EQ(stop(*i).state, PluginState::kUnloaded);
  }
  EXPECT_EQ(parked_modules(), before);
}

TEST_F(InstanceTest, AThrowInCreateIsAFailureWithItsText) {
  auto i = make(R"({"behaviour":"throw-create"})");
  const auto r = start(*i);
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().text.find("thrown by the constructor"), std::string::npos);
  EXPECT_EQ(i->state(), PluginState::kFailed);
  EXPECT_EQ(stop(*i).state, PluginState::kUnloaded);
}

TEST_F(InstanceTest, AFailedStartKeepsItsCodeAndIsUndone) {
  auto i = make(R"({"behaviour":"fail-start"})");
  const auto r = start(*i);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, PINTLE_UNAVAILABLE);
  EXPECT_EQ(stop(*i).state, PluginState::kUnloaded);
}

TEST_F(InstanceTest, ADrainThatHangsIsCutOffAndParksTheCode) {
  const size_t before = parked_modules();
  auto i = make(R"({"behaviour":"hang-drain"})");
  ASSERT_TRUE(start(*i));
  EXPECT_EQ(drain(*i).error().code, PINTLE_TIMEOUT);
  const Ending e = stop(*i);
  EXPECT_EQ(e.state, PluginState::kParked);
  EXPECT_NE(e.message.find("1 call still open"), std::string::npos) << e.message;
  EXPECT_EQ(parked_modules(), before + 1);
}

TEST_F(InstanceTest, ATimerLeftBehindParksAndIsNamed) {
  auto i = make(R"({"behaviour":"leak-timer"})");
  ASSERT_TRUE(start(*i));
  ASSERT_TRUE(drain(*i));
  const Ending e = stop(*i);
  EXPECT_EQ(e.state, PluginState::kParked);
  EXPECT_EQ(e.message, "1 timer was left behind by stop");
  executor_.run_for(7200 * kSecond);  // the timer's hour passes: nothing is called
}

TEST_F(InstanceTest, AWatchLeftBehindParksAndIsNamed) {
  auto i = make(R"({"behaviour":"leak-watch"})");
  ASSERT_TRUE(start(*i));
  ASSERT_TRUE(drain(*i));
  EXPECT_EQ(stop(*i).message, "1 watch was left behind by stop");
}

TEST_F(InstanceTest, ASecondAnswerIsHarmless) {
  auto i = make(R"({"behaviour":"echo"})");
  ASSERT_TRUE(start(*i));
  EXPECT_TRUE(call(*i, R"({"do":"twice"})"));
  EXPECT_TRUE(call(*i, R"({"do":"echo"})"));
  ASSERT_TRUE(drain(*i));
  EXPECT_EQ(stop(*i).state, PluginState::kUnloaded);
}

TEST_F(InstanceTest, ACallThatIsNeverAnsweredTimesOutAndStillCountsAsOpen) {
  auto i = make(R"({"behaviour":"echo"})");
  ASSERT_TRUE(start(*i));
  EXPECT_EQ(call(*i, R"({"do":"never"})", kSecond).error().code, PINTLE_TIMEOUT);
  EXPECT_EQ(i->counters().open, 1u);
  ASSERT_TRUE(drain(*i));  // the plugin answers what it kept
  EXPECT_EQ(i->counters().open, 0u);
  EXPECT_EQ(stop(*i).state, PluginState::kUnloaded);
}

TEST_F(InstanceTest, AThrowInAMethodIsAnAnswer) {
  auto i = make(R"({"behaviour":"echo"})");
  ASSERT_TRUE(start(*i));
  EXPECT_EQ(call(*i, R"({"do":"throw"})").error().code, PINTLE_INTERNAL);
  EXPECT_TRUE(call(*i, "{}"));
}

TEST_F(InstanceTest, PartsComeInOrderBeforeTheAnswer) {
  auto i = make(R"({"behaviour":"echo"})");
  ASSERT_TRUE(start(*i));
  std::vector<std::string> parts;
  ASSERT_TRUE(call(*i, R"({"do":"parts"})", 0, &parts));
  EXPECT_EQ(parts, (std::vector<std::string>{"part 0", "part 1", "part 2"}));
}

TEST_F(InstanceTest, AnInterfaceItDoesNotHaveIsUnsupported) {
  auto i = make(R"({"behaviour":"echo"})");
  ASSERT_TRUE(start(*i));
  pintle_code code = PINTLE_OK;
  Invoke c;
  c.interface_id = PINTLE_STREAM;
  c.method = 99;
  c.done = [&](Result<Reply> r) { code = r.error().code; };
  i->invoke(std::move(c));
  executor_.run_until_idle();
  EXPECT_EQ(code, PINTLE_UNSUPPORTED);
}

}  // namespace
}  // namespace pintle::kernel

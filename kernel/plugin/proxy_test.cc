// The same files in this process and in one of their own, and what the kernel makes of a process that misbehaves.
#include "kernel/plugin/proxy.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <optional>

#include "kernel/plugin/metrics.h"
#include "kernel/plugin/testing.h"
#include "kernel/run/thread_executor.h"
#include "pintle/if/runtime.h"
#include "pintle/if/scheduler.h"
#include "pintle/if/stream.h"
#include "pintle/plugin.h"
#include "kernel/run/executor.h"

namespace pintle::kernel {
namespace {

// A value that another thread sets.
template <class T>
class Later {
 public:
  void set(T value) {
    std::lock_guard lock(mutex_);
    value_ = std::move(value);
    changed_.notify_all();
  }
  std::optional<T> get(int seconds = 120) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(seconds), [&] { return value_.has_value(); });
    return value_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<T> value_;
};

struct Answer {
  Error error;
  std::string body;
  std::vector<int> fds;
  json::Value value() const { return json::parse_or_null(body); }
};

class Running {
 public:
  Running(Executor& executor, InstanceOptions options, bool own_process) : executor_(executor) {
    options.events.on_state = [this](PluginState s, const std::string& text) {
      std::lock_guard lock(mutex_);
      states_.push_back(s);
      if (s == PluginState::kFailed) failure_ = text;
    };
    options.events.on_exit = [this](const Error& why) { exit_->set(why); };
    backend_ = static_cast<testing::PlainBackend*>(options.backend.get());
    if (own_process) {
      auto made = make_process_instance(std::move(options), PINTLE_HOST_PROGRAM);
      if (made) instance = *made;
    } else {
      instance = make_in_process_instance(std::move(options), "");
    }
  }
  ~Running() {
    if (!instance || stopped_) return;
    (void)drain();
    (void)stop();
  }
  Result<void> wait(const std::function<void(Instance::Done)>& fn, int seconds = 120) {
    auto over = std::make_shared<Later<Result<void>>>();
    fn([over](Result<void> r) { over->set(std::move(r)); });
    auto r = over->get(seconds);
    return r ? *r : Result<void>(Error(PINTLE_TIMEOUT, "the test waited in vain"));
  }
  Result<void> start() {
    return wait([&](Instance::Done d) { instance->start(std::move(d)); });
  }
  Result<void> activate(const std::string& slot) {
    return wait([&](Instance::Done d) { instance->activate(slot, 5, std::move(d)); });
  }
  Result<void> drain(uint64_t ns = 5 * kSecond) {
    return wait([&](Instance::Done d) { instance->drain(executor_.now() + ns, std::move(d)); });
  }
  Ending stop(uint64_t ns = 5 * kSecond) {
    stopped_ = true;
    auto over = std::make_shared<Later<Ending>>();
    instance->stop(executor_.now() + ns, [over](Ending e) { over->set(std::move(e)); });
    return over->get().value_or(Ending{PluginState::kFailed, "stop never ended"});
  }
  std::shared_ptr<OpenCall> begin(const char* interface_id, uint32_t method, const std::string& request, std::shared_ptr<Later<Answer>> over,
                                  std::vector<int> fds = {}, std::function<bool(std::string_view)> part = {}, uint64_t limit_ns = 0) {
    Invoke c;
    c.interface_id = interface_id;
    c.method = method;
    c.request = request;
    c.fds = std::move(fds);
    c.part = std::move(part);
    if (limit_ns) c.deadline = executor_.now() + limit_ns;
    c.done = [over](Result<Reply> r) {
      Answer a;
      a.error.code = PINTLE_OK;
      if (r) {
        a.body = std::move(r->body);
        a.fds = std::move(r->fds);
      } else {
        a.error = r.error();
      }
      over->set(std::move(a));
    };
    return instance->invoke(std::move(c));
  }
  Answer call(const char* interface_id, uint32_t method, const std::string& request, std::vector<int> fds = {}, uint64_t limit_ns = 0,
              std::function<bool(std::string_view)> part = {}) {
    auto over = std::make_shared<Later<Answer>>();
    begin(interface_id, method, request, over, std::move(fds), std::move(part), limit_ns);
    auto a = over->get();
    if (a) return *a;
    return {Error(PINTLE_TIMEOUT, "the test waited in vain"), {}, {}};
  }
  Answer tell(const std::string& request, uint64_t limit_ns = 0) { return call(PINTLE_STREAM, 0, request, {}, limit_ns); }
  std::optional<Error> exit() { return exit_->get(); }
  std::vector<PluginState> states() {
    std::lock_guard lock(mutex_);
    return states_;
  }
  std::string failure() {
    std::lock_guard lock(mutex_);
    return failure_;
  }
  bool logged(const std::string& text) {
    for (int i = 0; i < 300; ++i) {
      {
        std::lock_guard lock(backend_->mutex);
        for (const auto& line : backend_->lines)
          if (line.find(text) != std::string::npos) return true;
      }
      Later<int> tick;
      executor_.after(20000000, [&] { tick.set(1); });
      tick.get();
    }
    return false;
  }
  size_t lines() {
    std::lock_guard lock(backend_->mutex);
    return backend_->lines.size();
  }
  std::shared_ptr<Instance> instance;

 private:
  Executor& executor_;
  testing::PlainBackend* backend_ = nullptr;
  std::shared_ptr<Later<Error>> exit_ = std::make_shared<Later<Error>>();
  std::mutex mutex_;
  std::vector<PluginState> states_;
  std::string failure_;
  bool stopped_ = false;
};

InstanceOptions options_for(Executor& executor, const std::string& path, const std::string& config) {
  const PluginFile file = inspect_file(path);
  InstanceOptions o;
  o.name = file.manifest ? file.manifest->name : "none";
  o.manifest = file.manifest;
  o.file = file.path;
  o.digest = file.digest;
  o.config = config;
  o.backend = std::make_shared<testing::PlainBackend>(executor);
  return o;
}

// ---------------------------------------------------------------- the same calls on both sides

class BothIsolations : public ::testing::TestWithParam<bool> {
 protected:
  Answer call(Running& r, uint32_t method, const json::Value& request, std::vector<int> fds = {}) {
    Answer a = r.call(PINTLE_RUNTIME, method, request.dump(), std::move(fds));
    EXPECT_EQ(a.error.code, PINTLE_OK) << a.error.text;
    return a;
  }
  ThreadExecutor executor_;
};
INSTANTIATE_TEST_SUITE_P(Isolation, BothIsolations, ::testing::Bool(), [](const auto& p) { return std::string(p.param ? "Process" : "InProcess"); });

TEST_P(BothIsolations, RuntimeSimRunsAPodAnExecAndAnEventStream) {
  Running r(executor_, options_for(executor_, PINTLE_RUNTIME_SIM, "{}"), GetParam());
  ASSERT_TRUE(r.instance);
  const auto started = r.start();
  ASSERT_TRUE(started) << started.error().text;
  ASSERT_TRUE(r.activate("runtime.sim"));

  // Events: a stream until it is cancelled.
  std::mutex mutex;
  std::vector<std::string> events;
  Later<int> synced, changed;
  auto ended = std::make_shared<Later<Answer>>();
  auto stream = r.begin(PINTLE_RUNTIME, PINTLE_METHOD(pintle_runtime, events), R"({"node":"n1"})", ended, {}, [&](std::string_view part) {
    std::lock_guard lock(mutex);
    events.emplace_back(part);
    if (events.size() == 1) synced.set(1);
    if (part.find("running") != std::string_view::npos) changed.set(1);
    return true;
  });
  ASSERT_TRUE(synced.get());

  const json::Value pod = call(r, PINTLE_METHOD(pintle_runtime, create_pod), json::parse_or_null(R"({"uid":"u1","namespace":"default","name":"p","node":"n1"})")).value();
  EXPECT_FALSE(pod["ips"][0].as_string().empty());
  const json::Value c = call(r, PINTLE_METHOD(pintle_runtime, create),
                             json::Value::object({{"podId", pod["id"]}, {"podUid", "u1"}, {"name", "c"}, {"attempt", 0}, {"image", "web:1"}, {"node", "n1"}})).value();
  call(r, PINTLE_METHOD(pintle_runtime, start), c);
  ASSERT_TRUE(changed.get()) << "no event about the start";
  const json::Value list = call(r, PINTLE_METHOD(pintle_runtime, list), json::parse_or_null(R"({"node":"n1"})")).value();
  ASSERT_EQ(list["containers"].size(), 1u);
  EXPECT_EQ(list["containers"][0]["state"].as_string(), "running");

  // exec with descriptors: what is written to stdin comes back from cat.
  int in[2], out[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in), 0);
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out), 0);
  ASSERT_EQ(::write(in[0], "through a descriptor", 20), 20);
  ::close(in[0]);
  const json::Value exec = json::Value::object({{"id", c["id"]}, {"node", "n1"}, {"command", json::parse_or_null(R"(["cat"])")}, {"fds", json::parse_or_null(R"({"stdin":0,"stdout":1})")}});
  const json::Value code = call(r, PINTLE_METHOD(pintle_runtime, exec), exec, {in[1], out[1]}).value();
  EXPECT_EQ(code["exitCode"].as_int(-1), 0);
  char text[64];
  const ssize_t n = ::read(out[0], text, sizeof text);
  EXPECT_EQ(std::string(text, n > 0 ? static_cast<size_t>(n) : 0), "through a descriptor");
  ::close(out[0]);

  stream->cancel();
  const auto end = ended->get();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->error.code, PINTLE_CANCELLED);

  // A refusal keeps its code and words.
  const Answer none = r.call(PINTLE_RUNTIME, PINTLE_METHOD(pintle_runtime, start), R"({"id":"nothing","node":"n1"})");
  EXPECT_EQ(none.error.code, PINTLE_NOT_FOUND) << none.error.text;
  EXPECT_EQ(r.call(PINTLE_RUNTIME, 99, "{}").error.code, PINTLE_UNSUPPORTED);

  const auto drained = r.drain();
  EXPECT_TRUE(drained) << drained.error().text;
  EXPECT_EQ(r.call(PINTLE_RUNTIME, PINTLE_METHOD(pintle_runtime, list), "{}").error.code, PINTLE_UNAVAILABLE);
  const Ending e = r.stop();
  EXPECT_EQ(e.state, PluginState::kUnloaded);
  EXPECT_EQ(e.message, "");
  using S = PluginState;
  EXPECT_EQ(r.states(), (std::vector<S>{S::kLoaded, S::kCreated, S::kStarted, S::kActive, S::kDraining, S::kStopped, S::kDestroyed, S::kUnloaded}));
}

TEST_P(BothIsolations, TheRuntimeTemplateRunsAContainerToItsEnd) {
  Running r(executor_, options_for(executor_, testing::test_plugin("templates/my-runtime"), R"({"startLatencyMs":5})"), GetParam());
  ASSERT_TRUE(r.instance);
  const auto up = r.start();
  ASSERT_TRUE(up) << up.error().text;
  ASSERT_TRUE(r.activate("runtime.my"));
  const json::Value pod = call(r, PINTLE_METHOD(pintle_runtime, create_pod), json::parse_or_null(R"({"uid":"u1","namespace":"default","name":"p"})")).value();
  const json::Value wish = json::Value::object({{"podId", pod["id"]}, {"podUid", "u1"}, {"name", "c"}, {"attempt", 0}, {"image", "web:1"}});
  const json::Value c = call(r, PINTLE_METHOD(pintle_runtime, create), wish).value();
  EXPECT_EQ(call(r, PINTLE_METHOD(pintle_runtime, create), wish).value()["id"], c["id"]);
  call(r, PINTLE_METHOD(pintle_runtime, start), c);
  EXPECT_EQ(call(r, PINTLE_METHOD(pintle_runtime, list), json::Value::object()).value().at("containers[0].state").as_string(), "running");
  call(r, PINTLE_METHOD(pintle_runtime, stop), c);
  EXPECT_EQ(call(r, PINTLE_METHOD(pintle_runtime, list), json::Value::object()).value().at("containers[0].state").as_string(), "exited");
  EXPECT_TRUE(r.drain());
  const Ending e = r.stop();
  EXPECT_EQ(e.state, PluginState::kUnloaded);
  EXPECT_EQ(e.message, "");
}

TEST_P(BothIsolations, TheSchedulerTemplateDecides) {
  Running r(executor_, options_for(executor_, testing::test_plugin("templates/my-scheduler"), "{}"), GetParam());
  ASSERT_TRUE(r.instance);
  ASSERT_TRUE(r.start());
  ASSERT_TRUE(r.activate("scheduler.my"));
  const Answer seen = r.call(PINTLE_SCHEDULER, PINTLE_METHOD(pintle_scheduler, observe), R"({"reset":true,"nodes":[{"name":"n1","ready":true,"allocatable":{"cpu":1000}}]})");
  ASSERT_EQ(seen.error.code, PINTLE_OK) << seen.error.text;
  const Answer a = r.call(PINTLE_SCHEDULER, PINTLE_METHOD(pintle_scheduler, schedule), R"({"pods":[{"uid":"a","requests":{"cpu":600}},{"uid":"b","requests":{"cpu":600}}]})");
  EXPECT_EQ(a.value().at("decisions[0].node").as_string(), "n1");
  EXPECT_NE(a.value().at("decisions[1].unschedulable.message").as_string().find("Insufficient cpu"), std::string::npos) << a.body;
  EXPECT_TRUE(r.drain());
  EXPECT_EQ(r.stop().state, PluginState::kUnloaded);
}

// ---------------------------------------------------------------- a process of its own

class ProxyTest : public ::testing::Test {
 protected:
  std::unique_ptr<Running> rogue(const std::string& config = R"({"when":"never","how":"abort"})", uint64_t start_deadline = 30 * kSecond) {
    InstanceOptions o = options_for(executor_, testing::test_plugin("isolated/rogue"), config);
    o.start_deadline_ns = start_deadline;
    return std::make_unique<Running>(executor_, std::move(o), true);
  }
  std::unique_ptr<Running> started() {
    auto r = rogue();
    const auto s = r->start();
    EXPECT_TRUE(s) << s.error().text;
    EXPECT_TRUE(r->activate("rogue"));
    return r;
  }
  // `how` while another call is open: both are answered, the instance is Failed, and the reason is told.
  void dies(const std::string& how, const std::string& reason) {
    auto r = started();
    auto other = std::make_shared<Later<Answer>>();
    r->begin(PINTLE_STREAM, 0, R"({"do":"never"})", other);
    auto own = std::make_shared<Later<Answer>>();
    r->begin(PINTLE_STREAM, 0, R"({"do":")" + how + "\"}", own);
    const auto a = other->get();
    ASSERT_TRUE(a);
    EXPECT_EQ(a->error.code, PINTLE_UNAVAILABLE);
    EXPECT_NE(a->error.text.find(reason), std::string::npos) << a->error.text;
    ASSERT_TRUE(own->get());
    const auto why = r->exit();
    ASSERT_TRUE(why);
    EXPECT_NE(why->text.find(reason), std::string::npos) << why->text;
    EXPECT_EQ(r->instance->state(), PluginState::kFailed);
    EXPECT_NE(r->failure().find(reason), std::string::npos) << r->failure();
    EXPECT_EQ(r->instance->counters().open, 0u);
    EXPECT_EQ(r->tell("{}").error.code, PINTLE_UNAVAILABLE);
    EXPECT_TRUE(r->drain());
    EXPECT_EQ(r->stop().state, PluginState::kUnloaded);
  }
  ThreadExecutor executor_;
};

TEST_F(ProxyTest, AnAbortEndsThePluginAndNotTheKernel) { dies("abort", "SIGABRT"); }
TEST_F(ProxyTest, ASegmentationFaultIsNamed) { dies("segv", "SIGSEGV"); }
TEST_F(ProxyTest, AnExitIsNamedWithItsCode) { dies("exit", "exited with 7"); }
TEST_F(ProxyTest, NoiseOnTheSocketEndsThePlugin) { dies("garbage", "not a frame"); }
TEST_F(ProxyTest, AFrameWhoseCountsCannotBeTrueEndsThePlugin) { dies("lie", "makes no sense"); }

TEST_F(ProxyTest, AProcessThatStandsStillIsEndedThoughNobodyCallsIt) {
  InstanceOptions o = options_for(executor_, testing::test_plugin("isolated/rogue"), R"({"when":"never","how":"abort"})");
  o.alive_ns = kSecond;
  Running r(executor_, std::move(o), true);
  ASSERT_TRUE(r.start());
  ASSERT_EQ(::kill(static_cast<pid_t>(r.instance->counters().pid), SIGSTOP), 0);
  const auto why = r.exit();
  ASSERT_TRUE(why);
  EXPECT_NE(why->text.find("did not answer for 1 s"), std::string::npos) << why->text;
  EXPECT_TRUE(r.drain());
  EXPECT_EQ(r.stop().state, PluginState::kUnloaded);
}

TEST_F(ProxyTest, AFloodOfLinesIsCutShort) {
  auto r = started();
  ASSERT_EQ(r->tell(R"({"do":"chatter"})").error.code, PINTLE_OK);
  EXPECT_TRUE(r->logged("lines before this one were dropped"));
  EXPECT_LT(r->lines(), 10000u) << "of 20000";
}

TEST_F(ProxyTest, ACallThatHangsTimesOutAndTheProcessIsKilledAtTheStop) {
  auto r = started();
  const Answer a = r->tell(R"({"do":"hang"})", kSecond / 2);
  EXPECT_EQ(a.error.code, PINTLE_TIMEOUT);
  EXPECT_EQ(r->tell("{}").error.code, PINTLE_OK) << "other calls go on";
  EXPECT_EQ(r->drain(kSecond / 2).error().code, PINTLE_TIMEOUT);
  const Ending e = r->stop(kSecond);
  EXPECT_EQ(e.state, PluginState::kUnloaded);
  EXPECT_NE(e.message, "") << "why it was not quiet";
}

TEST_F(ProxyTest, AStartThatHangsFailsWithinItsDeadline) {
  auto r = rogue(R"({"when":"start","how":"hang"})", 2 * kSecond);
  const auto s = r->start();
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().code, PINTLE_TIMEOUT);
  EXPECT_EQ(s.error().text, "start did not return within 2 s");
  EXPECT_EQ(r->stop().state, PluginState::kUnloaded);
}

TEST_F(ProxyTest, ACrashInCreateIsAFailedStart) {
  auto r = rogue(R"({"when":"create","how":"abort"})");
  const auto s = r->start();
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().code, PINTLE_UNAVAILABLE);
  EXPECT_NE(s.error().text.find("SIGABRT"), std::string::npos) << s.error().text;
  EXPECT_EQ(r->instance->state(), PluginState::kFailed);
}

TEST_F(ProxyTest, AStopThatCrashesStillEnds) {
  auto r = rogue(R"({"when":"stop","how":"abort"})");
  ASSERT_TRUE(r->start());
  const Ending e = r->stop();
  EXPECT_EQ(e.state, PluginState::kUnloaded);
  EXPECT_NE(e.message.find("SIGABRT"), std::string::npos) << e.message;
}

TEST_F(ProxyTest, ACancelReachesThePlugin) {
  auto r = started();
  auto over = std::make_shared<Later<Answer>>();
  auto open = r->begin(PINTLE_STREAM, 0, R"({"do":"never"})", over);
  ASSERT_EQ(r->tell("{}").error.code, PINTLE_OK);
  open->cancel();
  EXPECT_EQ(over->get()->error.code, PINTLE_CANCELLED);
  EXPECT_TRUE(r->drain()) << "the plugin has answered what was cancelled";
}

TEST_F(ProxyTest, DescriptorsGoBothWays) {
  auto r = started();
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Answer a = r->call(PINTLE_STREAM, 0, R"({"do":"swap-fds"})", {ends[1]});
  ASSERT_EQ(a.error.code, PINTLE_OK) << a.error.text;
  char text[64];
  ssize_t n = ::read(ends[0], text, sizeof text);
  EXPECT_EQ(std::string(text, n > 0 ? static_cast<size_t>(n) : 0), "from the other side");
  EXPECT_EQ(::read(ends[0], text, sizeof text), 0) << "nobody keeps the writing end";
  ASSERT_EQ(a.fds.size(), 1u);
  n = ::read(a.fds[0], text, sizeof text);
  EXPECT_EQ(std::string(text, n > 0 ? static_cast<size_t>(n) : 0), "a pipe of mine");
  ::close(a.fds[0]);
  ::close(ends[0]);
}

TEST_F(ProxyTest, ASlowReaderHoldsTheStreamBackAndLosesNothing) {
  auto r = started();
  constexpr int kParts = 200;  // 20 MB through a window of 512 KiB
  std::atomic<int> taken{0}, refused{0};
  auto over = std::make_shared<Later<Answer>>();
  std::shared_ptr<OpenCall> open;
  Later<int> begun;
  open = r->begin(PINTLE_STREAM, 0, R"({"do":"flood","parts":200})", over, {}, [&](std::string_view part) {
    EXPECT_EQ(part.size(), 100000u);
    // Every third is refused once.
    if (taken % 3 == 2 && refused <= taken / 3) {
      ++refused;
      executor_.after(1000000, [&] {
        begun.get();
        open->resume();
      });
      return false;
    }
    ++taken;
    return true;
  });
  begun.set(1);
  const auto a = over->get();
  ASSERT_TRUE(a);
  EXPECT_EQ(a->error.code, PINTLE_OK) << a->error.text;
  EXPECT_EQ(taken, kParts);
  EXPECT_GT(refused, 10);
}

TEST_F(ProxyTest, LargeAnswersPassAndTooLargeOnesAreRefusedByName) {
  auto r = started();
  EXPECT_EQ(r->tell(R"({"do":"big","bytes":20000000})").body.size(), 20000000u + 11);
  EXPECT_EQ(r->tell(R"({"do":"big","bytes":70000000})").error.code, PINTLE_TOO_LARGE);
  EXPECT_EQ(r->tell(R"({"n":")" + std::string(65u << 20, 'x') + "\"}").error.code, PINTLE_TOO_LARGE);
  EXPECT_EQ(r->tell("{}").error.code, PINTLE_OK);
}

TEST_F(ProxyTest, ItsEnvironmentIsCleanAndItsWordsAreLogged) {
  ::setenv("PINTLE_TEST_SECRET", "hidden", 1);
  auto r = started();
  const json::Value v = r->tell(R"({"do":"environment"})").value();
  EXPECT_EQ(v["environment"].as_string().find("PINTLE_TEST_SECRET"), std::string_view::npos);
  EXPECT_EQ(v["pid"].as_int(), static_cast<int64_t>(r->instance->counters().pid));
  EXPECT_NE(v["pid"].as_int(), static_cast<int64_t>(::getpid()));
  ASSERT_EQ(r->tell(R"({"do":"say"})").error.code, PINTLE_OK);
  EXPECT_TRUE(r->logged("words on stderr"));
  EXPECT_TRUE(r->logged("words to the log"));
}

TEST_F(ProxyTest, ItsMetricsAreAmongTheKernels) {
  {
    auto r = started();
    for (int i = 0; i < 5; ++i) r->tell("{}");
  }
  const std::string text = metrics_text();
  const size_t at = text.find("\nrogue_calls_total ");
  ASSERT_NE(at, std::string::npos);
  EXPECT_GE(std::stod(text.substr(at + 19)), 5);
}

TEST_F(ProxyTest, ADroppedInstanceTakesItsProcessAlong) {
  uint32_t pid;
  {
    auto r = started();
    pid = r->instance->counters().pid;
    r->instance = nullptr;
  }
  for (int i = 0; i < 500 && ::kill(static_cast<pid_t>(pid), 0) == 0; ++i) {
    Later<int> tick;
    executor_.after(10000000, [&] { tick.set(1); });
    tick.get();
  }
  EXPECT_NE(::kill(static_cast<pid_t>(pid), 0), 0);
}

}  // namespace
}  // namespace pintle::kernel

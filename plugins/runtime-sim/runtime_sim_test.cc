#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>

#include "pintle/sdk.h"
#include "pintle/testing/harness.h"

namespace {

using pintle::json::Value;
using pintle::testing::Harness;

class RuntimeSim : public ::testing::Test {
 protected:
  void begin(std::string config = "{}") {
    h = std::make_unique<Harness>(pintle::testing::HarnessOptions{.library = PINTLE_PLUGIN_UNDER_TEST, .config = std::move(config)});
    ASSERT_TRUE(h->ok().ok()) << h->ok().error().text;
    ASSERT_TRUE(h->start().ok());
    ASSERT_TRUE(h->activate("runtime.sim").ok());
  }
  Value call(uint32_t method, const Value& request, std::vector<int> fds = {}) {
    auto a = h->call(PINTLE_RUNTIME, method, request, std::move(fds));
    EXPECT_TRUE(a.reply.ok()) << a.reply.error().text;
    parts.clear();
    for (const auto& p : a.parts) parts += p;
    return a.reply.ok() ? *a.reply : Value();
  }
  Value pod(const std::string& uid, Value annotations = Value::object(), const std::string& node = "n1") {
    return call(PINTLE_METHOD(pintle_runtime, create_pod),
                Value::object({{"uid", uid}, {"namespace", "default"}, {"name", uid}, {"node", node}, {"annotations", std::move(annotations)}}));
  }
  Value run(const Value& p, const std::string& uid, Value command = Value::array(), int attempt = 0) {
    const Value c = call(PINTLE_METHOD(pintle_runtime, create), Value::object({{"podId", p["id"]}, {"podUid", uid}, {"name", "c"}, {"attempt", attempt}, {"image", "web:1"}, {"command", std::move(command)}}));
    call(PINTLE_METHOD(pintle_runtime, start), c);
    return c;
  }
  Value only_container() {
    const Value l = call(PINTLE_METHOD(pintle_runtime, list), Value::object());
    EXPECT_EQ(l["containers"].size(), 1u);
    return l["containers"][0];
  }
  std::unique_ptr<Harness> h;
  std::string parts;
};

TEST_F(RuntimeSim, CreatingTwiceGivesTheSameIdAndAddress) {
  begin();
  EXPECT_EQ(pod("u1"), pod("u1"));
  EXPECT_NE(pod("u1")["ips"], pod("u2")["ips"]);
}

TEST_F(RuntimeSim, AContainerEndsAsItsAnnotationsSay) {
  begin();
  run(pod("u1", Value::object({{"sim.pintle.dev/exit-after", "5s"}, {"sim.pintle.dev/exit-code", "3"}})), "u1");
  h->run_for(4'900'000'000);
  EXPECT_EQ(only_container()["state"].as_string(), "running");
  h->run_for(200'000'000);
  EXPECT_EQ(only_container()["state"].as_string(), "exited");
  EXPECT_EQ(only_container()["exitCode"].as_int(), 3);
}

TEST_F(RuntimeSim, NodesAreListedApart) {
  begin();
  pod("u1", Value::object(), "n1");
  pod("u2", Value::object(), "n2");
  const Value l = call(PINTLE_METHOD(pintle_runtime, list), Value::object({{"node", "n2"}}));
  ASSERT_EQ(l["pods"].size(), 1u);
  EXPECT_EQ(l["pods"][0]["uid"].as_string(), "u2");
}

TEST_F(RuntimeSim, APodIsListedAlone) {
  begin();
  const Value first = pod("u1", Value::object(), "n1");
  pod("u2", Value::object(), "n1");
  const auto of = [this](const char* node, const char* uid) { return call(PINTLE_METHOD(pintle_runtime, list), Value::object({{"node", node}, {"podUid", uid}})); };
  ASSERT_EQ(of("n1", "u1")["pods"].size(), 1u);
  EXPECT_EQ(of("n1", "u1")["pods"][0]["uid"].as_string(), "u1");
  EXPECT_EQ(of("n2", "u1")["pods"].size(), 0u);
  EXPECT_EQ(of("n1", "nobody")["pods"].size(), 0u);
  call(PINTLE_METHOD(pintle_runtime, remove_pod), Value::object({{"node", "n1"}, {"id", first["id"]}}));
  EXPECT_EQ(of("n1", "u1")["pods"].size(), 0u);
  EXPECT_EQ(of("n1", "u2")["pods"].size(), 1u);
}

TEST_F(RuntimeSim, ExecCopiesStdinToStdout) {
  begin();
  const Value c = run(pod("u1"), "u1");
  int in[2], out[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, in), 0);
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, out), 0);
  ASSERT_EQ(write(in[0], "hello", 5), 5);
  shutdown(in[0], SHUT_WR);
  const Value r = call(PINTLE_METHOD(pintle_runtime, exec),
                       Value::object({{"id", c["id"]}, {"command", Value::array({"cat"})}, {"fds", Value::object({{"stdin", 0}, {"stdout", 1}})}}), {in[1], out[1]});
  EXPECT_EQ(r["exitCode"].as_int(-1), 0);
  char buffer[16] = {};
  EXPECT_EQ(read(out[0], buffer, sizeof buffer), 5);
  EXPECT_STREQ(buffer, "hello");
  close(in[0]);
  close(out[0]);
}

TEST_F(RuntimeSim, ExecAnswersOutputAndCode) {
  begin();
  const Value c = run(pod("u1", Value::object({{"sim.pintle.dev/ready-after", "2s"}})), "u1");
  const Value rq = Value::object({{"id", c["id"]}, {"command", Value::array({"sh", "-c", "echo hi; exit 4"})}});
  EXPECT_EQ(call(PINTLE_METHOD(pintle_runtime, exec), rq)["exitCode"].as_int(), 1) << "not ready yet";
  h->run_for(2'000'000'000);
  const Value r = call(PINTLE_METHOD(pintle_runtime, exec), rq);
  EXPECT_EQ(r["exitCode"].as_int(), 4);
  EXPECT_EQ(r["stdout"].as_string(), "hi\n");
}

TEST_F(RuntimeSim, LogsTellWhatACommandPrinted) {
  begin();
  const Value c = run(pod("u1"), "u1", Value::array({"sh", "-c", "echo one; echo two"}));
  h->run_for(1);
  call(PINTLE_METHOD(pintle_runtime, logs), Value::object({{"id", c["id"]}}));
  EXPECT_NE(parts.find("one\ntwo\n"), std::string::npos) << parts;
  call(PINTLE_METHOD(pintle_runtime, logs), Value::object({{"id", c["id"]}, {"tailLines", 1}}));
  EXPECT_EQ(parts, "c ended with code 0\n");
}

TEST_F(RuntimeSim, StoppingWaitsForTheEndOrKills) {
  begin();
  const Value slow = run(pod("u1", Value::object({{"sim.pintle.dev/stop-after", "60s"}})), "u1");
  const uint64_t before = h->now();
  call(PINTLE_METHOD(pintle_runtime, stop), Value::object({{"id", slow["id"]}, {"timeoutSeconds", 5}}));
  EXPECT_EQ((h->now() - before) / 1'000'000'000, 5u);
  EXPECT_EQ(only_container()["exitCode"].as_int(), 137);
}

TEST_F(RuntimeSim, EventsNameWhatChanged) {
  begin();
  const Value p = pod("u1");
  const auto a = h->call(PINTLE_RUNTIME, PINTLE_METHOD(pintle_runtime, events), Value::object(), {}, 1);
  ASSERT_EQ(a.parts.size(), 1u);
  EXPECT_EQ(a.parts[0], R"({"type":"sync"})");
}

TEST_F(RuntimeSim, LeavesNothingBehind) {
  begin();
  run(pod("u1", Value::object({{"sim.pintle.dev/exit-after", "50s"}, {"sim.pintle.dev/log-every", "1s"}})), "u1");
  ASSERT_TRUE(h->drain().ok());
  h->stop();
  const Value left = h->left();
  for (const auto& counter : left.members()) EXPECT_EQ(counter.value.as_int(), 0) << counter.key;
}

}  // namespace

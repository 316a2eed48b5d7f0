// Against a real Docker Engine: needs one at /var/run/docker.sock (or $DOCKER_SOCKET) and the image named by $PINTLE_TEST_IMAGE
// (default pintle-test/busybox:1), which tests/images/make builds from busybox-static.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "pintle/sdk.h"
#include "pintle/testing/harness.h"

using pintle::json::Value;
using pintle::testing::Harness;

namespace {

constexpr uint64_t kLimit = 60ull * 1000000000;

class DockerEngine : public testing::Test {
 protected:
  void SetUp() override {
    const char* socket = std::getenv("DOCKER_SOCKET");
    const char* image = std::getenv("PINTLE_TEST_IMAGE");
    image_ = image ? image : "pintle-test/busybox:1";
    socket_ = socket ? socket : "/var/run/docker.sock";
    if (access(socket_.c_str(), R_OK | W_OK) != 0) GTEST_SKIP() << "no Docker Engine at " << socket_;
    cluster_ = "test" + std::to_string(getpid());
    renew();
  }
  void TearDown() override {
    if (!h_ || pod_id_.empty()) return;
    call(PINTLE_METHOD(pintle_runtime, remove_pod), Value::object({{"id", pod_id_}}));
  }
  void renew() {
    h_ = std::make_unique<Harness>(pintle::testing::HarnessOptions{
        .library = PINTLE_PLUGIN_UNDER_TEST, .config = Value::object({{"socket", socket_}, {"cluster", cluster_}}).dump(), .real_time = true});
    ASSERT_TRUE(h_->ok().ok()) << h_->ok().error().text;
    ASSERT_TRUE(h_->start().ok());
  }
  Value call(uint32_t method, Value request, std::vector<int> fds = {}) {
    auto a = h_->call(PINTLE_RUNTIME, method, request, std::move(fds), 0, 60ull * 1000000000);
    EXPECT_TRUE(a.reply.ok()) << a.reply.error().text;
    parts_ = a.parts;
    return a.reply.ok() ? *a.reply : Value();
  }
  Value make_pod(const char* uid = "u1") {
    const Value pod = call(PINTLE_METHOD(pintle_runtime, create_pod),
                           Value::object({{"uid", uid}, {"namespace", "default"}, {"name", "p"}, {"hostname", "p"}, {"network", "pod"},
                                          {"dns", Value::object({{"servers", Value::array({"10.96.0.10"})}, {"searches", Value::array({"svc.cluster.local"})}})}}));
    pod_id_ = std::string(pod["id"].as_string());
    return pod;
  }
  Value make_container(const char* script, bool tty = false, bool in = false, int attempt = 0) {
    return call(PINTLE_METHOD(pintle_runtime, create),
                Value::object({{"podId", pod_id_}, {"podUid", "u1"}, {"name", "c"}, {"attempt", attempt}, {"image", image_}, {"tty", tty}, {"stdin", in},
                               {"command", Value::array({"/bin/sh", "-c", script})}}));
  }
  Value container() { return call(PINTLE_METHOD(pintle_runtime, list), Value::object()).at("containers[0]"); }

  std::string socket_, image_, cluster_, pod_id_;
  std::vector<std::string> parts_;
  std::unique_ptr<Harness> h_;
};

TEST_F(DockerEngine, RunsAContainerAndTellsHowItEnded) {
  const Value pod = make_pod();
  EXPECT_EQ(pod["ips"].size(), 1u);
  EXPECT_EQ(make_pod()["id"].as_string(), pod["id"].as_string()) << "create is idempotent";
  const Value c = make_container("echo out; echo err >&2; cat /etc/resolv.conf; exit 3");
  EXPECT_EQ(make_container("other")["id"], c["id"]);
  call(PINTLE_METHOD(pintle_runtime, start), c);
  ASSERT_TRUE(h_->run_until([&] { return container()["state"].as_string() == "exited"; }, kLimit));
  const Value now = container();
  EXPECT_EQ(now["exitCode"].as_int(), 3);
  EXPECT_EQ(now["reason"].as_string(), "Error");
  EXPECT_GT(now["finishedAt"].as_int(), 0);
  call(PINTLE_METHOD(pintle_runtime, logs), Value::object({{"id", c["id"]}}));
  std::string log;
  for (const auto& p : parts_) log += p;
  EXPECT_NE(log.find("out\n"), std::string::npos);
  EXPECT_NE(log.find("err\n"), std::string::npos);
  EXPECT_NE(log.find("nameserver 10.96.0.10"), std::string::npos);
}

TEST_F(DockerEngine, ANewDriverFindsWhatRuns) {
  make_pod();
  const Value c = make_container("sleep 1000");
  call(PINTLE_METHOD(pintle_runtime, start), c);
  const int64_t started = container()["startedAt"].as_int();
  renew();
  EXPECT_EQ(container()["id"], c["id"]);
  EXPECT_EQ(container()["state"].as_string(), "running");
  EXPECT_EQ(container()["startedAt"].as_int(), started);
}

TEST_F(DockerEngine, ExecAnswersWithCodeAndOutput) {
  make_pod();
  const Value c = make_container("sleep 1000");
  call(PINTLE_METHOD(pintle_runtime, start), c);
  const Value r = call(PINTLE_METHOD(pintle_runtime, exec),
                       Value::object({{"id", c["id"]}, {"command", Value::array({"/bin/sh", "-c", "echo yes; echo no >&2; exit 7"})}}));
  EXPECT_EQ(r["exitCode"].as_int(), 7);
  EXPECT_EQ(r["stdout"].as_string(), "yes\n");
  EXPECT_EQ(r["stderr"].as_string(), "no\n");
}

TEST_F(DockerEngine, ExecCarriesStdinToTheEnd) {
  make_pod();
  const Value c = make_container("sleep 1000");
  call(PINTLE_METHOD(pintle_runtime, start), c);
  int in[2], out[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in), 0);
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out), 0);
  const std::string text(10000, 'x');
  ASSERT_EQ(write(in[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  shutdown(in[1], SHUT_WR);
  const Value r = call(PINTLE_METHOD(pintle_runtime, exec),
                       Value::object({{"id", c["id"]}, {"command", Value::array({"/bin/sh", "-c", "wc -c"})},
                                      {"fds", Value::object({{"stdin", 0}, {"stdout", 1}})}}),
                       {in[0], out[0]});
  EXPECT_EQ(r["exitCode"].as_int(), 0);
  char buffer[64] = {};
  EXPECT_GT(read(out[1], buffer, sizeof buffer - 1), 0);
  EXPECT_EQ(std::atoi(buffer), 10000);
  close(in[1]);
  close(out[1]);
}

TEST_F(DockerEngine, AnEventTellsThatAContainerDied) {
  make_pod();
  const Value c = make_container("sleep 1000");
  call(PINTLE_METHOD(pintle_runtime, start), c);
  call(PINTLE_METHOD(pintle_runtime, kill), Value::object({{"id", c["id"]}, {"signal", "KILL"}}));
  ASSERT_TRUE(h_->run_until([&] { return container()["state"].as_string() == "exited"; }, kLimit));
  EXPECT_EQ(container()["exitCode"].as_int(), 137);
}

TEST_F(DockerEngine, PortForwardReachesLoopbackInThePod) {
  make_pod();
  const Value c = make_container("exec httpd -f -p 127.0.0.1:8080 -h /etc");
  call(PINTLE_METHOD(pintle_runtime, start), c);
  std::string last;
  for (int tries = 0; tries < 200; ++tries) {
    int data[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, data), 0);
    constexpr std::string_view kRequest = "GET /passwd HTTP/1.0\r\n\r\n";
    ASSERT_GT(write(data[1], kRequest.data(), kRequest.size()), 0);
    auto a = h_->call(PINTLE_RUNTIME, PINTLE_METHOD(pintle_runtime, port_forward), Value::object({{"podId", pod_id_}, {"port", 8080}}), {data[0]}, 0, 5ull * 1000000000);
    if (!a.reply) last = a.reply.error().text;
    if (a.reply.ok()) {
      char buffer[64] = {};
      EXPECT_GT(read(data[1], buffer, sizeof buffer - 1), 0);
      EXPECT_EQ(std::string(buffer).substr(0, 5), "HTTP/");
      close(data[1]);
      return;
    }
    close(data[1]);
    usleep(20000);  // the listener inside the container is a process of its own: there is nothing else to wait on
  }
  FAIL() << "never connected: " << last;
}

}  // namespace

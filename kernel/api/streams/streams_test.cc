#include <fcntl.h>

#include <atomic>
#include <deque>
#include <random>

#include "kernel/api/streams/exec_bridge.h"
#include "kernel/api/streams/portforward_bridge.h"
#include "kernel/api/streams/test_clients.h"

namespace pintle::kernel {
namespace {

std::string read_until_end(int fd) {
  std::string out;
  char piece[65536];
  for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;) out.append(piece, static_cast<size_t>(n));
  return out;
}

std::string read_exactly(int fd, size_t count) {
  std::string out;
  char piece[65536];
  while (out.size() < count) {
    const ssize_t n = read(fd, piece, std::min(sizeof piece, count - out.size()));
    if (n <= 0) break;
    out.append(piece, static_cast<size_t>(n));
  }
  return out;
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

class StreamsTest : public ::testing::Test {
 protected:
  struct Target {
    uint16_t port = 0;
    int fd = -1;
    PortForwardBridge::Finish finish;
  };
  StreamsTest() {
    front_ = make_front(executor_, {.listen = {"127.0.0.1:0"}}, [this](HttpRequest&& request, std::shared_ptr<Responder> responder) {
      std::lock_guard lock(mutex_);
      if (request.path == "/portforward") {
        forward_ = PortForwardBridge::open(
            executor_, request, std::move(responder),
            [this](uint16_t port, int fd, PortForwardBridge::Finish finish) {
              std::lock_guard inner(mutex_);
              targets_.push_back({port, fd, std::move(finish)});
            },
            [this] { ++gone_; });
        return;
      }
      ExecFlags flags{request.has_param("stdin"), request.has_param("stdout"), request.has_param("stderr"), request.has_param("tty")};
      exec_ = ExecBridge::open(executor_, request, std::move(responder), flags, [this] { ++gone_; });
      if (!exec_) return;
      names_ = exec_->fd_names();
      for (const int fd : fds_) close(fd);
      fds_ = exec_->take_fds();
    });
    EXPECT_TRUE(front_->start().ok());
    address_ = front_->addresses().at(0);
  }
  ~StreamsTest() override {
    front_->stop(0);
    std::lock_guard lock(mutex_);
    for (const int fd : fds_) close(fd);
    for (auto& target : targets_) close_target(target);
  }
  static void close_target(Target& target) {
    if (target.fd >= 0) close(target.fd);
    target.fd = -1;
  }
  int fd(const char* name) {
    std::lock_guard lock(mutex_);
    const auto* index = names_.find(name);
    return index ? fds_.at(static_cast<size_t>(index->as_int())) : -1;
  }
  std::shared_ptr<ExecBridge> exec() {  // of the last client; the handler has it before it gives up the lock
    std::lock_guard lock(mutex_);
    return exec_;
  }
  Target& target(size_t index) {
    EXPECT_TRUE(eventually([&] {
      std::lock_guard lock(mutex_);
      return targets_.size() > index;
    }));
    std::lock_guard lock(mutex_);
    return targets_.at(index);
  }
  std::mutex mutex_;
  std::shared_ptr<ExecBridge> exec_;
  std::shared_ptr<PortForwardBridge> forward_;
  json::Value names_;
  std::vector<int> fds_;
  std::deque<Target> targets_;
  std::atomic<int> gone_{0};
  ThreadExecutor executor_;  // after what its tasks use
  std::unique_ptr<Front> front_;
  std::string address_;
};

TEST_F(StreamsTest, TheHandshakeAnswersTheKeyAndOneProtocol) {
  WsClient client(address_, "/exec?stdout=true", "base64url.bearer.authorization.k8s.io.dG9rZW4, v4.channel.k8s.io, v5.channel.k8s.io");
  EXPECT_EQ(client.answer.code, 101);
  EXPECT_EQ(client.answer.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(client.answer.headers["sec-websocket-protocol"], "v5.channel.k8s.io");
}

TEST_F(StreamsTest, WhatIsNoUsableUpgradeIsRefusedWithAReason) {
  WsClient none(address_, "/exec?stdout=1", "base64.channel.k8s.io");
  EXPECT_EQ(none.answer.code, 400);
  EXPECT_NE(none.answer.body.find("base64.channel.k8s.io"), std::string::npos);
  RawClient client(address_);
  EXPECT_EQ(client.get("/exec?stdout=1").code, 400);
  client.send("POST /exec?stdout=1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n");
  const RawAnswer spdy = client.answer();
  EXPECT_EQ(spdy.code, 400);
  EXPECT_NE(json::parse_or_null(spdy.body)["message"].as_string().find("kubectl 1.30"), std::string::npos);
  WsClient nothing(address_, "/exec", "v5.channel.k8s.io");
  EXPECT_NE(nothing.answer.body.find("at least 1 of stdin, stdout, stderr"), std::string::npos);
}

TEST_F(StreamsTest, ExecCarriesInputOutputAndTheExitCode) {
  WsClient client(address_, "/exec?stdin=1&stdout=1&stderr=1", "v5.channel.k8s.io");
  ASSERT_EQ(client.answer.code, 101);
  EXPECT_EQ(fd("resize"), -1);
  client.send_channel(0, "hello ");
  client.send_channel(0, "command");
  EXPECT_EQ(read_exactly(fd("stdin"), 13), "hello command");
  client.send(std::string("\xff\x00", 2));  // the end of stdin
  EXPECT_EQ(read_until_end(fd("stdin")), "");
  write_all(fd("stdout"), "out");
  WsMessage message = client.next();
  EXPECT_EQ(message.opcode, 2);
  EXPECT_EQ(message.payload, std::string("\x01out", 4));
  write_all(fd("stderr"), "err");
  EXPECT_EQ(client.next().payload, std::string("\x02" "err", 4));
  write_all(fd("stdout"), "last words");
  exec()->finish(7);  // the far ends are still open
  EXPECT_EQ(client.next().payload, std::string("\x01last words", 11));
  message = client.next();
  EXPECT_EQ(message.payload[0], 3);
  const auto status = json::parse_or_null(message.payload.substr(1));
  EXPECT_EQ(status["status"].as_string(), "Failure");
  EXPECT_EQ(status["reason"].as_string(), "NonZeroExitCode");
  EXPECT_EQ(status["details"]["causes"][0]["reason"].as_string(), "ExitCode");
  EXPECT_EQ(status["details"]["causes"][0]["message"].as_string(), "7");
  message = client.next();
  EXPECT_EQ(message.opcode, 8);
  EXPECT_EQ(message.payload, std::string("\x03\xe8", 2));
  EXPECT_TRUE(client.raw.at_end());
  EXPECT_EQ(gone_, 0);
}

TEST_F(StreamsTest, SuccessAndErrorsBecomeAStatus) {
  {
    WsClient client(address_, "/exec?stdout=1", "v4.channel.k8s.io");
    exec()->finish(0);
    EXPECT_EQ(client.next().payload, std::string("\x03") + R"({"metadata":{},"status":"Success"})");
  }
  WsClient client(address_, "/exec?stdout=1", "v4.channel.k8s.io");
  exec()->finish(Error(PINTLE_INTERNAL, "the container is gone"));
  EXPECT_EQ(json::parse_or_null(client.next().payload.substr(1))["message"].as_string(), "the container is gone");
}

TEST_F(StreamsTest, ATerminalHasResizeAndNoStderr) {
  WsClient client(address_, "/exec?stdin=1&stdout=1&stderr=1&tty=1", "v5.channel.k8s.io");
  EXPECT_EQ(fd("stderr"), -1);
  client.send_channel(4, "{\"Width\":80,\"Height\":24}\n");
  client.send_channel(4, "nonsense");
  client.send_channel(4, R"({"Width":100,"Height":50})");
  const std::string expected = "{\"Width\":80,\"Height\":24}\n{\"Width\":100,\"Height\":50}\n";
  EXPECT_EQ(read_exactly(fd("resize"), expected.size()), expected);
}

TEST_F(StreamsTest, AClientThatDoesNotReadStopsTheCommandAndLosesNothing) {
  WsClient client(address_, "/exec?stdout=1", "v5.channel.k8s.io");
  const size_t kTotal = 24 << 20;
  std::atomic<size_t> written{0};
  std::atomic<bool> done{false};
  std::thread command([&] {
    const std::string block(1 << 16, 'o');
    while (written < kTotal && write_all(fd("stdout"), block)) written += block.size();
    done = true;
    exec()->finish(0);
  });
  size_t before = 0;
  EXPECT_TRUE(eventually([&] {  // it comes to rest before everything is written
    const bool still = written == before && written > 0;
    before = written;
    poll(nullptr, 0, 20);
    return still;
  }));
  EXPECT_FALSE(done);
  size_t got = 0;
  for (;;) {
    const WsMessage message = client.next();
    ASSERT_EQ(message.opcode, 2);
    if (message.payload[0] == 3) break;
    got += message.payload.size() - 1;
  }
  EXPECT_EQ(got, kTotal);
  command.join();
}

TEST_F(StreamsTest, ACommandThatDoesNotReadStopsTheClientAndLosesNothing) {
  WsClient client(address_, "/exec?stdin=1&stdout=1", "v5.channel.k8s.io");
  const size_t kTotal = 24 << 20;
  std::atomic<size_t> sent{0};
  std::thread sender([&] {
    const std::string block(1 << 15, 'i');
    while (sent < kTotal && client.send_channel(0, block)) sent += block.size();
    client.send(std::string("\xff\x00", 2));
  });
  size_t before = 0;
  EXPECT_TRUE(eventually([&] {
    const bool still = sent == before && sent > 0;
    before = sent;
    poll(nullptr, 0, 20);
    return still;
  }));
  EXPECT_LT(sent, kTotal);
  EXPECT_EQ(read_until_end(fd("stdin")).size(), kTotal);
  sender.join();
  write_all(fd("stdout"), "counted");
  EXPECT_EQ(client.next().payload, std::string("\x01" "counted", 8));
}

TEST_F(StreamsTest, AClientThatLeavesEndsTheDescriptorsAndIsReported) {
  {
    WsClient client(address_, "/exec?stdin=1&stdout=1", "v5.channel.k8s.io");
    client.raw.close_now();
    EXPECT_TRUE(eventually([&] { return gone_ == 1; }));
    EXPECT_EQ(read_until_end(fd("stdin")), "");
    EXPECT_FALSE(write_all(fd("stdout"), "x"));
  }
  WsClient polite(address_, "/exec?stdin=1&stdout=1", "v5.channel.k8s.io");
  polite.raw.send(WsClient::frame(8, std::string("\x03\xe8", 2)));
  EXPECT_EQ(polite.next().opcode, 8);
  EXPECT_TRUE(polite.raw.at_end());
  EXPECT_TRUE(eventually([&] { return gone_ == 2; }));
}

TEST_F(StreamsTest, FragmentsPingsAndSplitBytesAreUnderstood) {
  WsClient client(address_, "/exec?stdin=1", "v5.channel.k8s.io");
  const std::string text = WsClient::frame(2, std::string("\0one ", 5), false) + WsClient::frame(9, "are you there") +
                           WsClient::frame(0, "two ", false) + WsClient::frame(0, "", false) + WsClient::frame(0, "three");
  for (const char c : text) ASSERT_TRUE(client.raw.send({&c, 1}));
  EXPECT_EQ(read_exactly(fd("stdin"), 13), "one two three");
  const WsMessage pong = client.next();
  EXPECT_EQ(pong.opcode, 10);
  EXPECT_EQ(pong.payload, "are you there");
}

TEST_F(StreamsTest, BrokenFramesCloseWithTheRightCode) {
  const struct {
    std::string bytes;
    int code;
  } kCases[] = {
      {WsClient::frame(2, "x", true, false), 1002},                          // not masked
      {WsClient::frame(3, "x"), 1002},                                       // unknown opcode
      {WsClient::frame(0, "x"), 1002},                                       // continues nothing
      {WsClient::frame(2, "x", false) + WsClient::frame(2, "y"), 1002},      // begins within another
      {WsClient::frame(9, "x", false), 1002},                                // fragmented ping
      {WsClient::frame(9, std::string(126, 'x')), 1002},                     // long ping
      {std::string("\xc2\x80", 2) + std::string(4, '\0'), 1002},             // reserved bit
      {WsClient::frame(1, "\xff\xfe"), 1007},                                // text that is not UTF-8
      {WsClient::frame(1, "text"), 1003},                                    // channels are binary
      {WsClient::frame(8, "x"), 1002},                                       // half a close code
      {WsClient::frame(2, std::string((4 << 20) + 1, 'x')), 1009},
  };
  for (const auto& c : kCases) {
    WsClient client(address_, "/exec?stdin=1", "v5.channel.k8s.io");
    client.raw.send(c.bytes);
    const WsMessage message = client.next();
    ASSERT_EQ(message.opcode, 8) << c.code;
    EXPECT_EQ(static_cast<unsigned char>(message.payload[0]) * 256 + static_cast<unsigned char>(message.payload[1]), c.code);
    client.raw.close_now();
  }
  EXPECT_TRUE(eventually([&] { return gone_ == static_cast<int>(std::size(kCases)); }));
}

TEST_F(StreamsTest, PortForwardCarriesSeveralConnectionsBothWays) {
  WsClient socket(address_, "/portforward", "SPDY/3.1+portforward.k8s.io");
  ASSERT_EQ(socket.answer.code, 101);
  SpdyClient client(socket);
  client.open_pair(1, "8080", "0");
  EXPECT_EQ(client.next_of(2).stream, 1u);
  EXPECT_EQ(client.next_of(2).stream, 3u);
  client.open_pair(5, "9090", "1");
  Target& first = target(0);
  Target& second = target(1);
  EXPECT_EQ(first.port, 8080);
  EXPECT_EQ(second.port, 9090);
  socket.send(SpdyClient::data_frame(7, "to second", false) + SpdyClient::data_frame(3, "to first", true));
  EXPECT_EQ(read_exactly(second.fd, 9), "to second");
  EXPECT_EQ(read_until_end(first.fd), "to first");
  write_all(first.fd, "answer");
  SpdyFrame frame = client.next_of(0);
  EXPECT_EQ(frame.stream, 3u);
  EXPECT_EQ(frame.body, "answer");
  close_target(first);
  frame = client.next_of(0);
  EXPECT_EQ(frame.stream, 3u);
  EXPECT_EQ(frame.flags, 1);
  first.finish({});
  frame = client.next_of(0);
  EXPECT_EQ(frame.stream, 1u);
  EXPECT_EQ(frame.body, "");
  EXPECT_EQ(frame.flags, 1);
  second.finish(Error(PINTLE_UNAVAILABLE, "connection refused"));
  frame = client.next_of(0);
  EXPECT_EQ(frame.stream, 7u);
  frame = client.next_of(0);
  EXPECT_EQ(frame.stream, 5u);
  EXPECT_EQ(frame.body, "connection refused");
  EXPECT_EQ(gone_, 0);
}

TEST_F(StreamsTest, PortForwardMovesMuchDataWithoutWindowUpdatesOfTheClient) {
  WsClient socket(address_, "/portforward", "SPDY/3.1+portforward.k8s.io");
  SpdyClient client(socket);
  client.open_pair(1, "80", "a");
  Target& peer = target(0);
  const size_t kTotal = 8 << 20;
  std::thread echo([&] {
    const std::string all = read_until_end(peer.fd);
    write_all(peer.fd, all);
    close_target(peer);
    peer.finish({});
  });
  const std::string block(40000, 'p');
  size_t sent = 0;
  while (sent < kTotal) {
    ASSERT_TRUE(socket.send(SpdyClient::data_frame(3, block, sent + block.size() >= kTotal)));
    sent += block.size();
  }
  size_t got = 0;
  for (;;) {
    const SpdyFrame frame = client.next_of(0);
    ASSERT_EQ(frame.type, 0);
    if (frame.stream != 3) break;
    got += frame.body.size();
  }
  EXPECT_EQ(got, sent);
  echo.join();
}

TEST_F(StreamsTest, PortForwardKeepsToTheWindowsOfAClientThatHasSome) {
  WsClient socket(address_, "/portforward", "SPDY/3.1+portforward.k8s.io");
  SpdyClient client(socket);
  socket.send(SpdyClient::control(4, 0, SpdyClient::u32(1) + SpdyClient::u32(7) + SpdyClient::u32(10000)));
  client.open_pair(1, "80", "a");
  Target& peer = target(0);
  write_all(peer.fd, std::string(30000, 'w'));
  size_t got = 0;
  while (got < 10000) got += client.next_of(0).body.size();
  EXPECT_EQ(got, 10000u);
  socket.send(SpdyClient::control(6, 0, SpdyClient::u32(77)));  // a ping: nothing else is under way
  EXPECT_EQ(client.next().type, 6);
  peer.finish({});
  socket.send(SpdyClient::control(9, 0, SpdyClient::u32(3) + SpdyClient::u32(100000)));
  for (SpdyFrame frame = client.next_of(0); frame.stream == 3; frame = client.next_of(0)) got += frame.body.size();
  EXPECT_EQ(got, 30000u);
}

TEST_F(StreamsTest, PortForwardSendsWindowUpdatesAsDataIsTaken) {
  WsClient socket(address_, "/portforward", "SPDY/3.1+portforward.k8s.io");
  SpdyClient client(socket);
  client.open_pair(1, "80", "a");
  Target& peer = target(0);
  socket.send(SpdyClient::data_frame(3, std::string(40000, 'd'), false));
  EXPECT_EQ(read_exactly(peer.fd, 40000).size(), 40000u);
  EXPECT_EQ(client.next_of(9).stream, 0u);
  EXPECT_EQ(client.next_of(9).stream, 3u);
}

TEST_F(StreamsTest, AResetDataStreamEndsTheConnectionAndItsErrorStream) {
  WsClient socket(address_, "/portforward", "SPDY/3.1+portforward.k8s.io");
  SpdyClient client(socket);
  client.open_pair(1, "80", "a");
  Target& peer = target(0);
  socket.send(SpdyClient::control(3, 0, SpdyClient::u32(3) + SpdyClient::u32(5)));
  EXPECT_EQ(read_until_end(peer.fd), "");
  const SpdyFrame frame = client.next_of(0);
  EXPECT_EQ(frame.stream, 1u);
  EXPECT_EQ(frame.flags, 1);
  peer.finish({});
}

TEST_F(StreamsTest, StreamsThatAreNoneOfAForwardAreRefused) {
  WsClient socket(address_, "/portforward", "SPDY/3.1+portforward.k8s.io");
  SpdyClient client(socket);
  for (const Headers& headers : {Headers{{"streamtype", "data"}, {"port", "0"}, {"requestid", "1"}}, Headers{{"streamtype", "data"}, {"port", "80"}},
                                 Headers{{"streamtype", "odd"}, {"port", "80"}, {"requestid", "1"}}, Headers{}}) {
    static uint32_t stream = 1;
    socket.send(client.syn_stream(stream, headers));
    const SpdyFrame frame = client.next();
    EXPECT_EQ(frame.type, 3);
    EXPECT_EQ(frame.stream, stream);
    stream += 2;
  }
}

TEST_F(StreamsTest, DataThatComesBeforeTheErrorStreamIsKept) {
  WsClient socket(address_, "/portforward", "SPDY/3.1+portforward.k8s.io");
  SpdyClient client(socket);
  socket.send(client.syn_stream(1, {{"streamtype", "data"}, {"port", "80"}, {"requestid", "x"}}));
  socket.send(SpdyClient::data_frame(1, "early", true));
  socket.send(client.syn_stream(3, {{"streamtype", "error"}, {"port", "80"}, {"requestid", "x"}}, true));
  EXPECT_EQ(read_until_end(target(0).fd), "early");
}

TEST_F(StreamsTest, ATunnelThatEndsEndsItsConnections) {
  WsClient socket(address_, "/portforward", "SPDY/3.1+portforward.k8s.io");
  SpdyClient client(socket);
  client.open_pair(1, "80", "a");
  Target& peer = target(0);
  socket.raw.close_now();
  EXPECT_EQ(read_until_end(peer.fd), "");
  EXPECT_TRUE(eventually([&] { return gone_ == 1; }));
  peer.finish({});
}

TEST_F(StreamsTest, StoppingTheFrontEndEndsStreamsAndReportsThem) {
  WsClient command(address_, "/exec?stdin=1&stdout=1", "v5.channel.k8s.io");
  WsClient socket(address_, "/portforward", "SPDY/3.1+portforward.k8s.io");
  SpdyClient client(socket);
  client.open_pair(1, "80", "a");
  Target& peer = target(0);
  front_->stop(0);
  EXPECT_TRUE(command.raw.at_end());
  EXPECT_EQ(read_until_end(peer.fd), "");
  EXPECT_EQ(read_until_end(fd("stdin")), "");
  EXPECT_TRUE(eventually([&] { return gone_ == 2; }));
  peer.finish({});
  exec()->finish(0);
}

TEST_F(StreamsTest, RandomFramesNeitherCrashNorLeak) {
  std::mt19937 random(11);
  for (int i = 0; i < 150; ++i) {
    WsClient socket(address_, i % 2 ? "/portforward" : "/exec?stdin=1&stdout=1&tty=1",
                    i % 2 ? "SPDY/3.1+portforward.k8s.io" : "v5.channel.k8s.io");
    SpdyClient client(socket);
    uint32_t stream = 1;
    for (int k = 0; k < 12; ++k) {
      std::string junk(random() % 60, '\0');
      for (char& c : junk) c = static_cast<char>(random());
      switch (random() % 6) {
        case 0: socket.raw.send(junk); break;
        case 1: socket.send(junk); break;
        case 2: socket.send(SpdyClient::control(static_cast<int>(random() % 11), static_cast<int>(random() % 4), junk)); break;
        case 3: client.open_pair(stream, std::to_string(random() % 3 ? 80 : 70000), std::to_string(random() % 4)); stream += 4; break;
        case 4: socket.send(SpdyClient::data_frame(static_cast<uint32_t>(random() % 16), junk, random() % 3 == 0)); break;
        default: socket.send_channel(static_cast<int>(random() % 6), junk);
      }
    }
  }
  EXPECT_TRUE(eventually([&] { return front_->metrics()["connections"].as_int() == 0; }));
}

}  // namespace
}  // namespace pintle::kernel

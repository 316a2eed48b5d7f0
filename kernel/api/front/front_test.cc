#include <zlib.h>

#include <atomic>
#include <random>

#include "kernel/api/front/http.h"
#include "kernel/api/front/test_peer.h"

namespace pintle::kernel {
namespace {

std::string gzip(const std::string& in) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, in.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

// Answers with what it understood; some paths do more.
class FrontTest : public ::testing::Test {
 protected:
  void start(FrontOptions options = {}) {
    if (options.listen.empty()) options.listen = {"127.0.0.1:0"};
    front_ = make_front(executor_, options, [this](HttpRequest&& request, std::shared_ptr<Responder> responder) {
      handle(std::move(request), std::move(responder));
    });
    auto started = front_->start();
    ASSERT_TRUE(started.ok()) << started.error().text;
    address_ = front_->addresses()[0];
  }
  void TearDown() override {
    kept_.clear();
    if (front_) front_->stop(0);
  }
  void handle(HttpRequest&& request, std::shared_ptr<Responder> responder) {
    if (request.path == "/drop") return;
    if (request.path == "/throw") throw std::runtime_error("planned");
    if (request.path == "/keep") {
      responder->on_closed([this] { ++closed_; });
      std::lock_guard lock(mutex_);
      kept_.push_back(std::move(responder));
      return;
    }
    if (request.path == "/stream") {
      responder->start(200, {{"Content-Type", "text/plain"}});
      responder->on_closed([this] { ++closed_; });
      std::lock_guard lock(mutex_);
      kept_.push_back(std::move(responder));
      return;
    }
    if (request.path == "/big") {
      static const Chunk kMegabyte = std::make_shared<const std::string>(1 << 20, 'x');
      responder->send(200, {}, std::vector<Chunk>(64, kMegabyte));
      return;
    }
    std::string text = request.method + " " + request.path + "\n";
    for (const auto& [key, value] : request.query) text += key + "=" + value + "\n";
    text += "body " + std::to_string(request.body.size()) + (!request.body.empty() && request.body.size() < 100 ? " " + request.body : "") + "\n";
    responder->send(200, {{"Content-Type", "text/plain"}}, text);
  }
  std::shared_ptr<Responder> kept(size_t index) {
    EXPECT_TRUE(eventually([&] {
      std::lock_guard lock(mutex_);
      return kept_.size() > index;
    }));
    std::lock_guard lock(mutex_);
    return kept_.size() > index ? kept_[index] : nullptr;
  }
  int64_t metric(const char* name) { return front_->metrics()[name].as_int(); }

  std::mutex mutex_;
  std::vector<std::shared_ptr<Responder>> kept_;
  std::atomic<int> closed_{0};
  ThreadExecutor executor_;  // after what its tasks use
  std::unique_ptr<Front> front_;
  std::string address_;
};

TEST_F(FrontTest, AnswersARequestAndKeepsTheConnection) {
  start();
  RawClient client(address_);
  for (int i = 0; i < 3; ++i) {
    const RawAnswer answer = client.get("/a/b%20c?x=1&y=a+b%26&z");
    EXPECT_EQ(answer.code, 200);
    EXPECT_EQ(answer.body, "GET /a/b c\nx=1\ny=a b&\nz=\nbody 0\n");
    EXPECT_TRUE(answer.headers.contains("date"));
  }
  EXPECT_EQ(metric("accepted"), 1);
}

TEST_F(FrontTest, UnderstandsARequestThatArrivesByteByByte) {
  start();
  RawClient client(address_);
  const std::string text = "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: 1\r\n\r\n";
  for (const char c : text) ASSERT_TRUE(client.send({&c, 1}));
  EXPECT_EQ(client.answer().body, "POST /x\nbody 5 abcde\n");
}

TEST_F(FrontTest, AnswersPipelinedRequestsInOrder) {
  start();
  RawClient client(address_);
  std::string text;
  for (int i = 0; i < 200; ++i) text += "POST /n" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
  ASSERT_TRUE(client.send(text));
  shutdown(client.fd(), SHUT_WR);  // everything has been sent; the answers are still wanted
  for (int i = 0; i < 200; ++i) ASSERT_EQ(client.answer().body, "POST /n" + std::to_string(i) + "\nbody 2 hi\n");
  EXPECT_TRUE(client.at_end());
}

TEST_F(FrontTest, AnswersHeadWithoutABody) {
  start();
  RawClient client(address_);
  client.send("HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n");
  const RawAnswer answer = client.answer(true);
  EXPECT_EQ(answer.code, 200);
  EXPECT_EQ(answer.headers.at("content-length"), "15");
  EXPECT_EQ(client.get("/next").body, "GET /next\nbody 0\n");
}

TEST_F(FrontTest, ClosesAfterConnectionCloseAndAfterHttp10) {
  start();
  RawClient one(address_), two(address_);
  one.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(one.answer().headers.at("connection"), "close");
  EXPECT_TRUE(one.at_end());
  two.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(two.answer().code, 200);
  EXPECT_TRUE(two.at_end());
}

TEST_F(FrontTest, RefusesWhatIsNotClearlyOneRequest) {
  start();
  const struct {
    const char* text;
    int code;
  } kCases[] = {
      {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
      {"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nExpect: magic\r\n\r\n", 417},
  };
  for (const auto& c : kCases) {
    RawClient client(address_);
    client.send(c.text);
    const RawAnswer answer = client.answer();
    EXPECT_EQ(answer.code, c.code) << c.text;
    const auto status = json::parse_or_null(answer.body);
    EXPECT_EQ(status["kind"].as_string(), "Status") << answer.body;
    EXPECT_EQ(status["code"].as_int(), c.code);
    EXPECT_TRUE(client.at_end());
  }
}

TEST_F(FrontTest, RefusesPathsThatAnotherReaderCouldSeeDifferently) {
  start();
  RawClient client(address_);
  for (const char* target : {"//", "/a//b", "/a/../b", "/a/%2e%2e/b", "/a/./b", "/a/..", "/a%2fb", "/a%2Fb", "/a%00b", "/a%zz", "/a%2", "/a%0ab", "/%ff", "/a#b"})
    EXPECT_EQ(client.get(target).code, 400) << target;
  EXPECT_EQ(client.get("/api/").code, 200);
  EXPECT_EQ(client.get("/a...b/..c").code, 200);
  EXPECT_EQ(client.get("http://host/abs?q=1").body, "GET /abs\nq=1\nbody 0\n");
}

TEST_F(FrontTest, RefusesBodiesOverTheLimitAndTheClientSeesWhy) {
  start();
  const std::string big((3 << 20) + 1, 'x');
  {
    RawClient client(address_);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(big.size()) + "\r\n\r\n");
    client.send(big);
    const RawAnswer answer = client.answer();
    EXPECT_EQ(answer.code, 413);
    EXPECT_EQ(json::parse_or_null(answer.body)["message"].as_string(), "Request entity too large: limit is 3145728");
  }
  {
    RawClient client(address_);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 40; ++i)
      if (!client.send("186a0\r\n" + std::string(100000, 'y') + "\r\n")) break;
    EXPECT_EQ(client.answer().code, 413);
  }
  RawClient client(address_);
  client.send("POST /full HTTP/1.1\r\nHost: h\r\nContent-Length: 3145728\r\n\r\n" + big.substr(1));
  EXPECT_EQ(client.answer().body, "POST /full\nbody 3145728\n");
  EXPECT_TRUE(eventually([&] { return metric("bodyBytesInFlight") == 0; }));
}

TEST_F(FrontTest, ShedsBodiesWhenTooManyBytesAreInFlight) {
  FrontOptions options;
  options.max_inflight_body_bytes = 100000;
  start(options);
  RawClient first(address_), second(address_);
  first.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n" + std::string(80000, 'x'));
  ASSERT_TRUE(eventually([&] { return metric("bodyBytesInFlight") == 80000; }));
  second.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n" + std::string(50000, 'x'));
  const RawAnswer answer = second.answer();
  EXPECT_EQ(answer.code, 429);
  EXPECT_EQ(answer.headers.at("retry-after"), "1");
  first.send(std::string(10000, 'x'));
  EXPECT_EQ(first.answer().code, 200);
  EXPECT_TRUE(eventually([&] { return metric("bodyBytesInFlight") == 0; }));
}

TEST_F(FrontTest, RefusesHeadersOverTheLimit) {
  start();
  RawClient client(address_);
  client.send("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(70000, 'x'));
  EXPECT_EQ(client.answer().code, 431);
}

TEST_F(FrontTest, SendsContinueOnlyWhenTheBodyIsWelcome) {
  start();
  RawClient client(address_);
  client.send("POST /c HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.answer_head().code, 100);
  client.send("ok");
  EXPECT_EQ(client.answer().body, "POST /c\nbody 2 ok\n");
  client.send("POST /c HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.answer().code, 413);
}

TEST_F(FrontTest, UndoesGzipWithinTheBudget) {
  start();
  const auto post = [&](const std::string& body, const char* coding = "gzip") {
    RawClient client(address_);
    client.send("POST /z HTTP/1.1\r\nHost: h\r\nContent-Encoding: " + std::string(coding) + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return client.answer();
  };
  EXPECT_EQ(post(gzip("hello")).body, "POST /z\nbody 5 hello\n");
  EXPECT_EQ(post(gzip(std::string(3 << 20, 'a'))).body, "POST /z\nbody 3145728\n");
  EXPECT_EQ(post(gzip(std::string((3 << 20) + 1, 'a'))).code, 413);
  EXPECT_EQ(post(gzip("hello").substr(0, 15)).code, 400);
  EXPECT_EQ(post("plain").code, 400);
  EXPECT_EQ(post("plain", "br").code, 415);
}

TEST_F(FrontTest, ClosesClientsThatTrickleTheirHeader) {
  FrontOptions options;
  options.header_timeout_ns = 200000000;
  start(options);
  RawClient slow(address_), body(address_), silent(address_);
  slow.send("GET / HT");
  body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(slow.answer().code, 408);
  EXPECT_TRUE(slow.at_end());
  EXPECT_EQ(body.answer().code, 408);
  EXPECT_EQ(silent.get("/").code, 200);  // a connection without a byte is idle, not slow
  EXPECT_GE(metric("timeouts"), 2);
}

TEST_F(FrontTest, ClosesIdleConnections) {
  FrontOptions options;
  options.idle_timeout_ns = 150000000;
  start(options);
  RawClient client(address_);
  EXPECT_EQ(client.get("/").code, 200);
  EXPECT_TRUE(client.at_end());
}

TEST_F(FrontTest, ShedsTheOldestIdleConnectionAtTheLimit) {
  FrontOptions options;
  options.max_connections = 4;
  options.io_threads = 1;
  start(options);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<RawClient>(address_));
    EXPECT_EQ(clients.back()->get("/").code, 200);
  }
  EXPECT_EQ(clients[0]->get("/").code, 200);  // now the second one is the oldest
  RawClient fifth(address_);
  EXPECT_EQ(fifth.get("/").code, 200);
  EXPECT_TRUE(clients[1]->at_end());
  EXPECT_EQ(clients[0]->get("/").code, 200);
  EXPECT_EQ(metric("shed"), 1);
}

TEST_F(FrontTest, FiveHundredIdleConnectionsDoNotDisturbOthers) {
  start();
  std::vector<std::unique_ptr<RawClient>> idle;
  for (int i = 0; i < 500; ++i) idle.push_back(std::make_unique<RawClient>(address_));
  ASSERT_TRUE(eventually([&] { return metric("connections") == 500; }));
  for (auto& client : idle) ASSERT_EQ(client->get("/i").code, 200);
  RawClient other(address_);
  EXPECT_EQ(other.get("/").code, 200);
  idle.clear();
  EXPECT_TRUE(eventually([&] { return metric("connections") == 1; }));
}

TEST_F(FrontTest, ReadersThatNeverReadDelayNobody) {
  start();
  std::vector<std::unique_ptr<RawClient>> stuck;
  for (int i = 0; i < 16; ++i) {
    stuck.push_back(std::make_unique<RawClient>(address_, nullptr, 4096));
    stuck.back()->send("GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  RawClient other(address_);
  for (int i = 0; i < 50; ++i) {
    const uint64_t before = executor_.now();
    ASSERT_EQ(other.get("/").code, 200);
    EXPECT_LT(executor_.now() - before, 1000000000u);
  }
  const RawAnswer all = stuck[0]->answer();
  EXPECT_EQ(all.body.size(), 64u << 20);
}

TEST_F(FrontTest, StreamsChunksAndReportsQueueAndDraining) {
  start();
  RawClient client(address_, nullptr, 4096);
  client.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  auto responder = kept(0);
  responder->write(std::make_shared<const std::string>("hello"));
  const RawAnswer head = client.answer_head();
  EXPECT_EQ(head.headers.at("transfer-encoding"), "chunked");
  EXPECT_EQ(client.take_chunk(), "hello");
  const Chunk block = std::make_shared<const std::string>(1 << 20, 'b');
  size_t queued = 0;
  for (int i = 0; i < 32; ++i) queued = responder->write(block);
  EXPECT_GT(queued, 1u << 20);
  std::atomic<bool> drained{false};
  responder->on_drained(1 << 20, [&] { drained = true; });
  EXPECT_FALSE(drained);
  for (int i = 0; i < 32; ++i) ASSERT_EQ(client.take_chunk().size(), 1u << 20);
  EXPECT_TRUE(eventually([&] { return drained.load(); }));
  responder->finish();
  EXPECT_EQ(client.take_chunk(), "");
  EXPECT_EQ(client.get("/after").code, 200);
  EXPECT_EQ(closed_, 0);
}

TEST_F(FrontTest, TellsWhenThePeerOfAStreamOrOfAWaitingRequestLeaves) {
  start();
  auto stream = std::make_unique<RawClient>(address_);
  stream->send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  stream->answer_head();
  stream.reset();
  EXPECT_TRUE(eventually([&] { return closed_ == 1; }));
  auto waiting = std::make_unique<RawClient>(address_);
  waiting->send("GET /keep HTTP/1.1\r\nHost: h\r\n\r\n");
  auto responder = kept(1);
  waiting.reset();
  EXPECT_TRUE(eventually([&] { return closed_ == 2; }));
  responder->send(200, {}, std::string("nobody reads this"));
}

TEST_F(FrontTest, AbortCutsTheStream) {
  start();
  RawClient client(address_);
  client.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  client.answer_head();
  kept(0)->abort();
  EXPECT_TRUE(client.at_end());
}

TEST_F(FrontTest, AnUnansweredRequestAndAnExceptionAre500) {
  start();
  RawClient client(address_);
  EXPECT_EQ(client.get("/drop").code, 500);
  const RawAnswer answer = client.get("/throw");
  EXPECT_EQ(answer.code, 500);
  EXPECT_EQ(json::parse_or_null(answer.body)["reason"].as_string(), "InternalError");
  EXPECT_EQ(client.get("/").code, 200);
}

TEST_F(FrontTest, UpgradeMakesABytePipeWithPauseAndResume) {
  start();
  RawClient client(address_);
  client.send("GET /keep HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\r\nearly");
  auto responder = kept(0);
  std::mutex mutex;
  std::string seen;
  const auto saw = [&] {
    std::lock_guard lock(mutex);
    return seen;
  };
  responder->upgrade({{"Upgrade", "test"}, {"Connection", "Upgrade"}}, [&](std::string_view bytes) {
    std::lock_guard lock(mutex);
    seen += bytes;
  });
  EXPECT_EQ(client.answer_head().code, 101);
  EXPECT_TRUE(eventually([&] { return saw() == "early"; }));
  client.send(" more");
  EXPECT_TRUE(eventually([&] { return saw() == "early more"; }));
  responder->pause();
  client.send(std::string(100000, 'z'));
  responder->write(std::make_shared<const std::string>("raw"));
  EXPECT_EQ(client.take(3), "raw");
  EXPECT_LE(saw().size(), 10u + 70000u);
  responder->resume();
  EXPECT_TRUE(eventually([&] { return saw().size() == 100010; }));
  responder->finish();
  EXPECT_TRUE(client.at_end());
}

TEST_F(FrontTest, NamesTheProcessThatHasThePort) {
  start();
  auto second = make_front(executor_, {.listen = {address_}}, [](HttpRequest&&, std::shared_ptr<Responder>) {});
  auto started = second->start();
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().code, PINTLE_CONFLICT);
  EXPECT_NE(started.error().text.find("process " + std::to_string(getpid())), std::string::npos) << started.error().text;
  for (const char* bad : {"6443", "localhost:1", "127.0.0.1:99999", "[::1", "unix:"}) {
    auto front = make_front(executor_, {.listen = {bad}}, [](HttpRequest&&, std::shared_ptr<Responder>) {});
    auto result = front->start();
    ASSERT_FALSE(result.ok()) << bad;
    EXPECT_EQ(result.error().code, PINTLE_BAD_REQUEST) << bad;
  }
}

TEST_F(FrontTest, ServesAUnixSocketAndReplacesAStaleOne) {
  const std::string path = "unix:/tmp/pintle-front-" + std::to_string(getpid());
  start({.listen = {path}});
  RawClient client(path);
  EXPECT_EQ(client.get("/u").body, "GET /u\nbody 0\n");
  auto second = make_front(executor_, {.listen = {path}}, [](HttpRequest&&, std::shared_ptr<Responder>) {});
  auto started = second->start();
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().code, PINTLE_CONFLICT);
}

TEST_F(FrontTest, StopLetsAnAnswerInFlightFinishAndClosesTheRest) {
  start();
  RawClient idle(address_), busy(address_);
  EXPECT_EQ(idle.get("/").code, 200);
  busy.send("GET /keep HTTP/1.1\r\nHost: h\r\n\r\n");
  auto responder = kept(0);
  std::thread stopper([&] { front_->stop(10000000000ull); });
  EXPECT_TRUE(idle.at_end());
  responder->send(200, {}, std::string("late"));
  EXPECT_EQ(busy.answer().body, "late");
  busy.close_now();
  stopper.join();
}

TEST_F(FrontTest, RandomBytesNeitherCrashNorLeak) {
  start();
  std::mt19937 random(7);
  const std::string pieces[] = {"GET ", "/", " HTTP/1.1\r\n", "Host: h\r\n", "\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: ", "5", "\r\n\r\n",
                                "0\r\n\r\n", "a", "%2", "\r", "\n", ":", " ", "Expect: 100-continue\r\n", "POST /x", "Connection: close\r\n"};
  for (int i = 0; i < 400; ++i) {
    RawClient client(address_);
    std::string text;
    const int count = static_cast<int>(random() % 40);
    for (int k = 0; k < count; ++k) {
      if (random() % 4 == 0) text.push_back(static_cast<char>(random()));
      else text += pieces[random() % std::size(pieces)];
    }
    client.send(text);
  }
  RawClient client(address_);
  EXPECT_EQ(client.get("/").code, 200);
  EXPECT_TRUE(eventually([&] { return metric("connections") == 1; }));
}

}  // namespace
}  // namespace pintle::kernel

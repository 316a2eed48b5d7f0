// The SDK's HTTP client against servers that say exactly what a test wants.
#include "pintle/http_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "pintle/testing/harness.h"

namespace pintle {
namespace {

// Accepts one connection, reads until the headers (and `more` bytes) are there, then plays its lines.
class Server {
 public:
  explicit Server(std::vector<std::string> answers, bool keep_open = false) {
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a);
    listen(fd_, 4);
    socklen_t len = sizeof a;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&a), &len);
    address = "tcp:127.0.0.1:" + std::to_string(ntohs(a.sin_port));
    thread_ = std::thread([this, answers = std::move(answers), keep_open] {
      const int c = accept(fd_, nullptr, nullptr);
      if (c < 0) return;
      char buffer[4096];
      while (request.find("\r\n\r\n") == std::string::npos || (request.find("chunked") != std::string::npos && request.find("0\r\n\r\n") == std::string::npos)) {
        const ssize_t n = read(c, buffer, sizeof buffer);
        if (n <= 0) break;
        request.append(buffer, static_cast<size_t>(n));
      }
      for (const auto& text : answers) {
        if (write(c, text.data(), text.size()) < 0) break;
      }
      if (keep_open)
        while (true) {
          const ssize_t n = read(c, buffer, sizeof buffer);
          if (n <= 0 || write(c, buffer, static_cast<size_t>(n)) < 0) break;  // an echo, for hijacked connections
        }
      close(c);
    });
  }
  ~Server() {
    shutdown(fd_, SHUT_RDWR);
    close(fd_);
    thread_.join();
  }
  std::string address, request;

 private:
  int fd_;
  std::thread thread_;
};

class HttpClientTest : public ::testing::Test {
 protected:
  testing::Harness h{{.library = PINTLE_RUNTIME_SIM}};
  HttpClient http{Host(h.host())};

  Result<HttpResponse> get(HttpRequest rq) {
    std::optional<Result<HttpResponse>> out;
    http.request(std::move(rq), [&](Result<HttpResponse> r) { out = std::move(r); });
    EXPECT_TRUE(h.run_until([&] { return out.has_value(); }));
    return out ? std::move(*out) : Result<HttpResponse>(Error(PINTLE_TIMEOUT, "no answer"));
  }
};

TEST_F(HttpClientTest, ReadsABodyOfKnownLength) {
  Server s({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b \r\n\r\nhel", "lo"}, true);
  const auto r = get({.address = s.address, .path = "/x?y=1"});
  ASSERT_TRUE(r.ok()) << r.error().text;
  EXPECT_EQ(r->status, 200);
  EXPECT_EQ(r->body, "hello");
  EXPECT_EQ(r->header("x-a"), "b");
  EXPECT_EQ(s.request.substr(0, 20), "GET /x?y=1 HTTP/1.1\r");
}

TEST_F(HttpClientTest, ReadsChunks) {
  Server s({"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r", "\n4;x=1\r\ndefg\r\n0\r\nTrailer: 1\r\n\r\n"}, true);
  const auto r = get({.address = s.address});
  ASSERT_TRUE(r.ok()) << r.error().text;
  EXPECT_EQ(r->body, "abcdefg");
}

TEST_F(HttpClientTest, ReadsUntilTheEndWhenNothingTellsTheLength) {
  Server s({"HTTP/1.0 404 Not Found\r\n\r\nno", " such"});
  const auto r = get({.address = s.address});
  ASSERT_TRUE(r.ok()) << r.error().text;
  EXPECT_EQ(r->status, 404);
  EXPECT_EQ(r->body, "no such");
}

TEST_F(HttpClientTest, AnIncompleteBodyIsAnError) {
  Server s({"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhel"});
  const auto r = get({.address = s.address});
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, PINTLE_UNAVAILABLE);
}

TEST_F(HttpClientTest, WhatIsNoHttpIsAnError) {
  Server s({"SSH-2.0-OpenSSH\r\n"}, true);
  EXPECT_EQ(get({.address = s.address}).error().code, PINTLE_BAD_REQUEST);
}

TEST_F(HttpClientTest, ABodyThatIsTooLongIsRefused) {
  Server s({"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + std::string(100, 'x')}, true);
  EXPECT_EQ(get({.address = s.address, .max_body = 10}).error().code, PINTLE_TOO_LARGE);
}

TEST_F(HttpClientTest, SilenceEndsWithTheTimeOut) {
  Server s({}, true);
  EXPECT_EQ(get({.address = s.address, .head_timeout_ns = 2'000'000'000}).error().code, PINTLE_TIMEOUT);
}

TEST_F(HttpClientTest, ARefusedConnectionIsAnError) {
  EXPECT_EQ(get({.address = "tcp:127.0.0.1:1"}).error().code, PINTLE_UNAVAILABLE);
}

// A path or header that comes from a pod must not begin a second request.
TEST_F(HttpClientTest, WhatWouldSplitTheRequestIsRefused) {
  const std::string address = "tcp:127.0.0.1:1";  // nothing listens: what is not refused ends with UNAVAILABLE
  for (const std::string bad : {"/a HTTP/1.1\r\nX: y\r\n\r\nDELETE /b", "/a b", "/a\nb", "/a\tb", "/a\x7f", ""})
    EXPECT_EQ(get({.address = address, .path = bad}).error().code, PINTLE_INVALID) << bad;
  EXPECT_EQ(get({.address = address, .path = std::string("/\0", 2)}).error().code, PINTLE_INVALID);
  EXPECT_EQ(get({.address = address, .method = "GET /x HTTP/1.1\r\nA:"}).error().code, PINTLE_INVALID);
  for (const auto& bad : HttpHeaders{{"A\r\nB", "c"}, {"A", "b\r\nC: d"}, {"A", "b\n"}, {"A b", "c"}, {"A:", "c"}, {"", "c"}})
    EXPECT_EQ(get({.address = address, .headers = {bad}}).error().code, PINTLE_INVALID) << bad.first;
  EXPECT_EQ(get({.address = address, .path = "/\xc3\xa9?q=%20", .headers = {{"A-b", "c d\te"}}}).error().code, PINTLE_UNAVAILABLE);
}

TEST_F(HttpClientTest, SendsABodyInPieces) {
  Server s({"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"}, true);
  int n = 0;
  const auto r = get({.address = s.address, .method = "POST", .next_piece = [&]() -> std::optional<std::string> {
                        if (++n > 3) return std::nullopt;
                        return "piece" + std::to_string(n);
                      }});
  ASSERT_TRUE(r.ok()) << r.error().text;
  EXPECT_NE(s.request.find("6\r\npiece1\r\n6\r\npiece2\r\n6\r\npiece3\r\n0\r\n\r\n"), std::string::npos) << s.request;
}

TEST_F(HttpClientTest, AnUpgradedConnectionIsHandedOver) {
  Server s({"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\r\nfirst"}, true);
  int fd = -1;
  std::string rest;
  HttpHandlers handlers;
  handlers.upgraded = [&](HttpResponse, int f, std::string r) {
    fd = f;
    rest = std::move(r);
  };
  http.stream({.address = s.address, .method = "POST", .hijack = true}, std::move(handlers));
  ASSERT_TRUE(h.run_until([&] { return fd >= 0; }));
  EXPECT_EQ(rest, "first");
  ASSERT_EQ(write(fd, "ping", 4), 4);
  char buffer[8] = {};
  pollfd readable{fd, POLLIN, 0};
  ASSERT_EQ(poll(&readable, 1, 10'000), 1);
  const ssize_t n = read(fd, buffer, sizeof buffer);
  ASSERT_GT(n, 0);
  EXPECT_EQ(std::string(buffer, static_cast<size_t>(n)), "ping");
  close(fd);
}

TEST_F(HttpClientTest, DataWaitsForWhoTakesIt) {
  Server s({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"}, true);
  std::string got;
  bool ended = false;
  HttpHandlers handlers;
  handlers.data = [&](std::string_view d) {
    got += d;
    return false;
  };
  handlers.ended = [&](Result<void> r) { ended = r.ok(); };
  HttpExchange x = http.stream({.address = s.address, .head_timeout_ns = 0}, std::move(handlers));
  ASSERT_TRUE(h.run_until([&] { return got == "a"; }));
  h.run_for(1'000'000'000);
  EXPECT_EQ(got, "a");
  x.resume();
  ASSERT_TRUE(h.run_until([&] { return got == "ab"; }));
  x.resume();
  ASSERT_TRUE(h.run_until([&] { return ended; }));
}

TEST_F(HttpClientTest, ACancelledExchangeLeavesNothing) {
  Server s({}, true);
  bool called = false;
  HttpExchange x = http.request({.address = s.address}, [&](Result<HttpResponse>) { called = true; });
  h.run_for(10'000'000);
  x.cancel();
  h.run_for(60'000'000'000);
  EXPECT_FALSE(called);
  EXPECT_EQ(h.left()["fdwatches"].as_int(), 0);
  EXPECT_EQ(h.left()["timers"].as_int(), 0);
}

}  // namespace
}  // namespace pintle

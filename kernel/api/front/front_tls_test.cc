#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>

#include "kernel/api/certs/certs.h"
#include "kernel/api/front/http.h"
#include "kernel/api/front/test_peer.h"

namespace pintle::kernel {
namespace {

class FrontTlsTest : public ::testing::Test {
 protected:
  FrontTlsTest() {
    char name[] = "/tmp/pintle-front-tls-XXXXXX";
    dir_ = mkdtemp(name);
    EXPECT_TRUE(ensure_certificates(dir_ + "/ours", {}, executor_.wall()).ok());
    EXPECT_TRUE(ensure_certificates(dir_ + "/foreign", {}, executor_.wall()).ok());
    FrontOptions options;
    options.listen = {"127.0.0.1:0"};
    options.tls = {dir_ + "/ours/server.crt", dir_ + "/ours/server.key", dir_ + "/ours/ca.crt"};
    options.header_timeout_ns = 300000000;
    options.warn = [this](std::string) { ++warnings_; };
    front_ = make_front(executor_, options, [this](HttpRequest&& request, std::shared_ptr<Responder> responder) {
      std::string who = "nobody";
      if (request.certificate) {
        who = request.certificate->common_name;
        for (const auto& group : request.certificate->organizations) who += " " + group;
      }
      if (request.path == "/big") {
        responder->send(200, {}, std::vector<Chunk>{std::make_shared<const std::string>(5 << 20, 'x'), std::make_shared<const std::string>("end")});
      } else if (request.path == "/stream") {
        responder->start(200, {});
        responder->on_closed([this] { ++closed_; });
        std::lock_guard lock(mutex_);
        kept_.push_back(responder);
      } else {
        responder->send(200, {}, who + " " + std::to_string(request.body.size()));
      }
    });
    auto started = front_->start();
    EXPECT_TRUE(started.ok()) << started.error().text;
    address_ = front_->addresses().at(0);
  }
  ~FrontTlsTest() override {
    kept_.clear();
    front_->stop(0);
    std::filesystem::remove_all(dir_);
  }
  TlsClient client_of(const std::string& folder) const {
    return {dir_ + "/ours/ca.crt", dir_ + "/" + folder + "/admin.crt", dir_ + "/" + folder + "/admin.key"};
  }
  TlsClient anonymous() const { return {dir_ + "/ours/ca.crt", "", ""}; }

  std::string dir_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Responder>> kept_;
  std::atomic<int> closed_{0}, warnings_{0};
  ThreadExecutor executor_;  // after what its tasks use
  std::unique_ptr<Front> front_;
  std::string address_;
};

TEST_F(FrontTlsTest, KnowsAClientByItsCertificate) {
  const TlsClient admin = client_of("ours");
  RawClient client(address_, &admin);
  ASSERT_TRUE(client.connected());
  EXPECT_EQ(client.get("/").body, "kubernetes-admin system:masters 0");
  const unsigned char* protocol = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(client.ssl(), &protocol, &length);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(protocol), length), "http/1.1");
}

TEST_F(FrontTlsTest, SomebodyWithoutOrWithAForeignCertificateIsNobody) {
  const TlsClient none = anonymous(), foreign = client_of("foreign");
  RawClient one(address_, &none), two(address_, &foreign);
  EXPECT_EQ(one.get("/").body, "nobody 0");
  EXPECT_EQ(two.get("/").body, "nobody 0");
}

TEST_F(FrontTlsTest, SpeaksTls12ButNothingOlder) {
  TlsClient options = anonymous();
  options.max_version = TLS1_2_VERSION;
  RawClient twelve(address_, &options);
  EXPECT_EQ(twelve.get("/").code, 200);
  options.max_version = TLS1_1_VERSION;
  RawClient eleven(address_, &options);
  EXPECT_FALSE(eleven.connected());
  EXPECT_TRUE(eventually([&] { return front_->metrics()["tlsHandshakeFailures"].as_int() == 1; }));
}

TEST_F(FrontTlsTest, CarriesLargeBodiesBothWays) {
  const TlsClient none = anonymous();
  RawClient client(address_, &none);
  for (int i = 0; i < 2; ++i) {
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n");
    client.send(std::string(3000000, 'b'));
    EXPECT_EQ(client.answer().body, "nobody 3000000");
    const RawAnswer big = client.get("/big");
    EXPECT_EQ(big.body.size(), (5u << 20) + 3);
    EXPECT_TRUE(big.body.ends_with("xend"));
  }
}

TEST_F(FrontTlsTest, PipelinedRequestsInOneRecordAreAllAnswered) {
  const TlsClient none = anonymous();
  RawClient client(address_, &none);
  std::string text;
  for (int i = 0; i < 50; ++i) text += "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  client.send(text);
  for (int i = 0; i < 50; ++i) ASSERT_EQ(client.answer().code, 200);
}

TEST_F(FrontTlsTest, ATlsClientThatLeavesAStreamIsNoticed) {
  const TlsClient none = anonymous();
  RawClient client(address_, &none);
  client.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.answer_head().code, 200);
  client.close_now();
  EXPECT_TRUE(eventually([&] { return closed_ == 1; }));
}

TEST_F(FrontTlsTest, PlainHttpIsToldThatThisIsHttps) {
  RawClient client(address_);
  const RawAnswer answer = client.get("/");
  EXPECT_EQ(answer.code, 400);
  EXPECT_NE(answer.body.find("HTTPS"), std::string::npos);
}

TEST_F(FrontTlsTest, AClientThatNeverFinishesItsHandshakeIsClosed) {
  RawClient silent(address_), half(address_);
  half.send(std::string("\x16\x03\x01\x02\x00\x01", 6));
  EXPECT_TRUE(silent.at_end());
  EXPECT_TRUE(half.at_end());
}

TEST_F(FrontTlsTest, ChangedCertificatesAreUsedWithoutARestartAndBrokenOnesAreNot) {
  const TlsClient none = anonymous();
  const auto serial = [&]() -> std::string {
    RawClient client(address_, &none);
    if (!client.connected()) return "refused";
    X509* certificate = SSL_get0_peer_certificate(client.ssl());
    const ASN1_INTEGER* number = X509_get0_serialNumber(certificate);
    return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(number)), static_cast<size_t>(ASN1_STRING_length(number)));
  };
  RawClient old(address_, &none);
  const std::string before = serial();
  const std::string path = dir_ + "/ours/server.crt";
  std::filesystem::rename(path, path + ".kept");
  std::ofstream(path) << "not a certificate";
  EXPECT_TRUE(eventually([&] { return warnings_ > 0; }));
  EXPECT_EQ(serial(), before);
  std::filesystem::rename(path + ".kept", path);
  ASSERT_EQ(ensure_certificates(dir_ + "/ours", {.extra_sans = {"new.example.org"}}, executor_.wall())->renewed.size(), 1u);
  EXPECT_TRUE(eventually([&] { return serial() != before && serial() != "refused"; }));
  EXPECT_EQ(old.get("/").code, 200);
}

TEST_F(FrontTlsTest, AMissingFileIsNamedAtStart) {
  auto front = make_front(executor_, {.listen = {"127.0.0.1:0"}, .tls = {dir_ + "/absent.crt", dir_ + "/absent.key", ""}},
                          [](HttpRequest&&, std::shared_ptr<Responder>) {});
  auto started = front->start();
  ASSERT_FALSE(started.ok());
  EXPECT_NE(started.error().text.find("absent.crt"), std::string::npos);
}

}  // namespace
}  // namespace pintle::kernel

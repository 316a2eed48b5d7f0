#include "kernel/api/certs/certs.h"

#include <gtest/gtest.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "kernel/api/certs/files.h"
#include "kernel/api/certs/renewal.h"
#include "kernel/api/certs/x509.h"
#include "kernel/run/simulated_executor.h"

namespace pintle::kernel {
namespace {

constexpr int64_t kNow = 1750000000ll * 1000000000, kDay = 86400ll * 1000000000;

class CertsTest : public ::testing::Test {
 protected:
  CertsTest() {
    char name[] = "/tmp/pintle-certs-XXXXXX";
    root_ = mkdtemp(name);
    dir_ = root_ + "/pki";
  }
  ~CertsTest() override { std::filesystem::remove_all(root_); }
  CertificateHandle load(const std::string& name) { return parse_certificate(*read_small_file(dir_ + "/" + name)); }
  std::string text(const std::string& name) { return *read_small_file(dir_ + "/" + name); }
  static unsigned mode(const std::string& path) {
    struct stat info {};
    return stat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
  }
  std::string root_, dir_;
};

TEST_F(CertsTest, TheFirstCallMakesEverythingWithTightModes) {
  auto made = ensure_certificates(dir_, {}, kNow);
  ASSERT_TRUE(made.ok()) << made.error().text;
  EXPECT_EQ(made->renewed, (std::vector<std::string>{"ca.crt", "server.crt", "admin.crt"}));
  for (const char* key : {"ca.key", "server.key", "admin.key"}) EXPECT_EQ(mode(dir_ + "/" + key), 0600u) << key;
  EXPECT_EQ(mode(dir_), 0700u);
  const Life ca = life_of(load("ca.crt").get()), leaf = life_of(load("server.crt").get());
  EXPECT_NEAR(static_cast<double>(ca.not_after - kNow / 1000000000), 3650.0 * 86400, 1);
  EXPECT_NEAR(static_cast<double>(leaf.not_after - kNow / 1000000000), 365.0 * 86400, 1);
  EXPECT_EQ(subject_of(load("admin.crt").get()), "O=system:masters,CN=kubernetes-admin,");
}

TEST_F(CertsTest, TheServerCertificateVerifiesForEveryNameItShouldHave) {
  CertificateOptions options;
  options.extra_sans = {"api.example.org", "10.9.8.7", "fd00::1"};
  ASSERT_TRUE(ensure_certificates(dir_, options, kNow).ok());
  const CertificateHandle server = load("server.crt"), ca = load("ca.crt");
  for (const char* host : {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "api.example.org"})
    EXPECT_EQ(X509_check_host(server.get(), host, 0, 0, nullptr), 1) << host;
  for (const char* address : {"127.0.0.1", "::1", "10.9.8.7", "fd00::1"})
    EXPECT_EQ(X509_check_ip_asc(server.get(), address, 0), 1) << address;
  X509_STORE* store = X509_STORE_new();
  X509_STORE_add_cert(store, ca.get());
  X509_STORE_CTX* context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, server.get(), nullptr);
  X509_STORE_CTX_set_default(context, "ssl_server");
  X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(context), kNow / 1000000000);
  EXPECT_EQ(X509_verify_cert(context), 1) << X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
  X509_STORE_CTX_free(context);
  X509_STORE_free(store);
}

TEST_F(CertsTest, ASecondCallChangesNothing) {
  ASSERT_TRUE(ensure_certificates(dir_, {}, kNow).ok());
  const std::string before = text("server.crt") + text("server.key") + text("admin.crt") + text("ca.crt");
  auto again = ensure_certificates(dir_, {}, kNow + 100 * kDay);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->renewed.empty());
  EXPECT_EQ(before, text("server.crt") + text("server.key") + text("admin.crt") + text("ca.crt"));
  EXPECT_GT(again->next_check, kNow + 240 * kDay);
  EXPECT_LT(again->next_check, kNow + 245 * kDay);
}

TEST_F(CertsTest, LeavesAreRenewedAfterTwoThirdsOfTheirLifeAndTheCaStays) {
  ASSERT_TRUE(ensure_certificates(dir_, {}, kNow).ok());
  const std::string ca = text("ca.crt");
  EXPECT_FALSE(*renew_due(dir_ + "/server.crt", kNow + 240 * kDay));
  EXPECT_TRUE(*renew_due(dir_ + "/server.crt", kNow + 245 * kDay));
  auto later = ensure_certificates(dir_, {}, kNow + 245 * kDay);
  ASSERT_TRUE(later.ok());
  EXPECT_EQ(later->renewed, (std::vector<std::string>{"server.crt", "admin.crt"}));
  EXPECT_EQ(ca, text("ca.crt"));
  EXPECT_FALSE(*renew_due(dir_ + "/server.crt", kNow + 245 * kDay));
}

TEST_F(CertsTest, ANewNameMakesANewServerCertificateOnly) {
  ASSERT_TRUE(ensure_certificates(dir_, {}, kNow).ok());
  CertificateOptions options;
  options.extra_sans = {"second.example.org"};
  auto made = ensure_certificates(dir_, options, kNow + kDay);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->renewed, (std::vector<std::string>{"server.crt"}));
  // Names given earlier do not keep the certificate from being good.
  EXPECT_TRUE(ensure_certificates(dir_, {}, kNow + kDay)->renewed.empty());
}

TEST_F(CertsTest, ADamagedLeafIsReplacedWithAWarning) {
  ASSERT_TRUE(ensure_certificates(dir_, {}, kNow).ok());
  std::ofstream(dir_ + "/admin.key") << "garbage";
  auto made = ensure_certificates(dir_, {}, kNow);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->renewed, (std::vector<std::string>{"admin.crt"}));
  ASSERT_EQ(made->warnings.size(), 1u);
  EXPECT_NE(made->warnings[0].find("admin"), std::string::npos);
}

TEST_F(CertsTest, ADamagedHalfOrExpiredCaIsAnErrorThatNamesTheFile) {
  ASSERT_TRUE(ensure_certificates(dir_, {}, kNow).ok());
  auto expired = ensure_certificates(dir_, {}, kNow + 3651 * kDay);
  ASSERT_FALSE(expired.ok());
  EXPECT_NE(expired.error().text.find("expired"), std::string::npos);
  const std::string key = text("ca.key");
  std::ofstream(dir_ + "/ca.key") << text("server.key");
  auto foreign = ensure_certificates(dir_, {}, kNow);
  ASSERT_FALSE(foreign.ok());
  EXPECT_EQ(foreign.error().code, PINTLE_BAD_REQUEST);
  EXPECT_NE(foreign.error().text.find("ca.key"), std::string::npos);
  std::filesystem::remove(dir_ + "/ca.key");
  EXPECT_NE(ensure_certificates(dir_, {}, kNow).error().text.find("ca.key"), std::string::npos);
  std::ofstream(dir_ + "/ca.key") << key;
  ASSERT_EQ(chmod((dir_ + "/ca.key").c_str(), 0600), 0);
  std::filesystem::remove(dir_ + "/ca.crt");
  EXPECT_NE(ensure_certificates(dir_, {}, kNow).error().text.find("ca.crt"), std::string::npos);
}

TEST_F(CertsTest, ABadExtraNameIsRefused) {
  CertificateOptions options;
  options.extra_sans = {"a,DNS:evil.example.org"};
  auto made = ensure_certificates(dir_, options, kNow);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, PINTLE_BAD_REQUEST);
}

TEST_F(CertsTest, AKeyThatOthersCouldReadIsNotUsedAnyMore) {
  ASSERT_TRUE(ensure_certificates(dir_, {}, kNow).ok());
  const std::string before = text("admin.key");
  ASSERT_EQ(chmod((dir_ + "/admin.key").c_str(), 0644), 0);
  auto again = ensure_certificates(dir_, {}, kNow);
  ASSERT_TRUE(again.ok()) << again.error().text;
  EXPECT_EQ(again->renewed, (std::vector<std::string>{"admin.crt"}));
  EXPECT_NE(text("admin.key"), before);
  EXPECT_EQ(mode(dir_ + "/admin.key"), 0600u);
  ASSERT_EQ(again->warnings.size(), 1u);
  EXPECT_NE(again->warnings[0].find("mode 0644"), std::string::npos) << again->warnings[0];
  // The CA's own cannot be replaced without its clients.
  ASSERT_EQ(chmod((dir_ + "/ca.key").c_str(), 0666), 0);
  const auto refused = ensure_certificates(dir_, {}, kNow);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().text.find("ca.key\" has mode 0666"), std::string::npos) << refused.error().text;
}

TEST_F(CertsTest, ARunningServerRenewsItsLeavesAndSaysWhenItsCaIsOver) {
  SimulatedExecutor executor(3);
  ASSERT_TRUE(ensure_certificates(dir_, {}, executor.wall()).ok());
  const std::string ca = text("ca.crt");
  const uint64_t day = static_cast<uint64_t>(kDay);
  int renewals = 0;
  std::string error;
  {
    CertificateRenewal renewal(executor, dir_, {}, [&](const Result<Certificates>& r) {
      if (!r) {
        error = r.error().text;
        return;
      }
      ++renewals;
      EXPECT_EQ(r->renewed, (std::vector<std::string>{"server.crt", "admin.crt"}));
      EXPECT_EQ(mode(dir_ + "/server.key"), 0600u);
    });
    executor.run_for(243 * day);
    EXPECT_EQ(renewals, 0);
    executor.run_for(2 * day);
    EXPECT_EQ(renewals, 1) << "two thirds of a year have passed";
    executor.run_for(243 * day);
    EXPECT_EQ(renewals, 2) << "and again";
    EXPECT_LT(executor.wall() / 1000000000, life_of(load("server.crt").get()).not_after);
    EXPECT_EQ(error, "");
    EXPECT_EQ(ca, text("ca.crt"));
    // Ten years after the CA was made, less a day: looks are a day apart, so the next but one at the latest finds it over.
    std::filesystem::remove_all(dir_);
    ASSERT_TRUE(ensure_certificates(dir_, {}, executor.wall() - 3649 * kDay).ok());
    executor.run_for(day / 2);
    EXPECT_EQ(error, "");
    executor.run_for(2 * day);
    EXPECT_NE(error.find("expired"), std::string::npos) << error;
    error.clear();
  }
  executor.run_for(10 * day);
  EXPECT_EQ(error, "") << "nothing is looked at any more";
}

TEST_F(CertsTest, TheKubeconfigHoldsEverythingAndIsPrivate) {
  ASSERT_TRUE(ensure_certificates(dir_, {}, kNow).ok());
  const std::string path = root_ + "/admin.kubeconfig";
  KubeconfigOptions options;
  options.server = "https://127.0.0.1:6443";
  auto written = write_kubeconfig(path, dir_, options);
  ASSERT_TRUE(written.ok()) << written.error().text;
  EXPECT_EQ(mode(path), 0600u);
  const std::string content = *read_small_file(path);
  for (const char* part : {"server: \"https://127.0.0.1:6443\"", "certificate-authority-data: LS0t", "client-certificate-data: LS0t",
                           "client-key-data: LS0t", "current-context: \"pintle\""})
    EXPECT_NE(content.find(part), std::string::npos) << part;
}

}  // namespace
}  // namespace pintle::kernel

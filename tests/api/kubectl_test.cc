// The real kubectl against the real front end, over TLS: widgets come from the test's tables only.
// Uses $PINTLE_KUBECTL or build/clients/kubectl-1.35; skipped when there is neither.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "kernel/run/thread_executor.h"
#include "tests/api/api_world.h"

namespace pintle::kernel {
namespace {

struct Output {
  int code = -1;
  std::string text;  // stdout and stderr
};

Output run(const std::string& command) {
  Output out;
  FILE* p = popen((command + " 2>&1").c_str(), "r");
  if (!p) return out;
  char buf[4096];
  for (size_t n; (n = fread(buf, 1, sizeof buf, p)) > 0;) out.text.append(buf, n);
  const int status = pclose(p);
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return out;
}

std::string find_kubectl() {
  if (const char* given = std::getenv("PINTLE_KUBECTL")) return given;
  const std::string fetched = PINTLE_SOURCE_DIR "/build/clients/kubectl-1.35";
  return access(fetched.c_str(), X_OK) == 0 ? fetched : "";
}

class Kubectl : public testing::Test {
 protected:
  void SetUp() override {
    kubectl_ = find_kubectl();
    if (kubectl_.empty()) GTEST_SKIP() << "no kubectl: set PINTLE_KUBECTL";
    dir_ = testing::TempDir() + "pintle-kubectl-" + std::to_string(getpid());
    std::filesystem::create_directories(dir_);
    const Output cert = run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost "
                            "-addext subjectAltName=IP:127.0.0.1 -keyout " + dir_ + "/key.pem -out " + dir_ + "/cert.pem");
    ASSERT_EQ(cert.code, 0) << cert.text;
    std::ofstream(dir_ + "/tokens.csv") << "secret-token,admin,1,\"system:masters\"\n";
    store_ = std::move(*open_store(executor_, StoreOptions()));
    json::Value meta = json::Value::object();
    meta.set("types", read_yaml(PINTLE_SOURCE_DIR "/plugins/core/types/meta-v1.yaml")["types"]);
    ASSERT_TRUE(registry_.add("core", meta).ok());
    ASSERT_TRUE(registry_.add("widget", read_yaml(PINTLE_SOURCE_DIR "/tests/api/widget.yaml")).ok());
    pipeline_ = make_pipeline(executor_, *store_, registry_, hooks_);
    bus_ = make_bus(*store_, executor_);
    RestOptions options;
    options.version = "0.1.0";
    options.token_file = dir_ + "/tokens.csv";
    rest_ = std::make_unique<RestServer>(*pipeline_, *bus_, executor_, hooks_, options);
    FrontOptions front;
    front.listen = {"127.0.0.1:0"};
    front.tls = {dir_ + "/cert.pem", dir_ + "/key.pem", ""};
    front_ = make_front(executor_, front, [this](HttpRequest&& r, std::shared_ptr<Responder> out) { rest_->handle(std::move(r), std::move(out)); });
    const Result<void> started = front_->start();
    ASSERT_TRUE(started.ok()) << started.error().text;
    std::ofstream(dir_ + "/kubeconfig") << "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: \"https://"
                                        << front_->addresses()[0] << "\", certificate-authority: " << dir_ << "/cert.pem}}]\n"
                                        << "users: [{name: u, user: {token: secret-token}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n";
    const Output ns = kubectl("create -f -", R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}})");
    ASSERT_EQ(ns.code, 0) << ns.text;
  }
  void TearDown() override {
    if (front_) front_->stop(0);
    if (!dir_.empty()) std::filesystem::remove_all(dir_);
  }
  Output kubectl(const std::string& arguments, const std::string& input = "") {
    std::ofstream(dir_ + "/input") << input;
    return run("HOME=" + dir_ + " timeout 60 " + kubectl_ + " --kubeconfig " + dir_ + "/kubeconfig " + arguments + " < " + dir_ + "/input");
  }

  std::string kubectl_, dir_;
  ThreadExecutor executor_;
  WidgetHooks hooks_{executor_};
  Registry registry_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<Bus> bus_;
  std::unique_ptr<RestServer> rest_;
  std::unique_ptr<Front> front_;
};

constexpr const char* kWidget = R"(
apiVersion: test.example.com/v1
kind: Widget
metadata: {name: w1, labels: {app: demo}}
spec: {size: %SIZE%, parts: [{name: wheel}]}
)";

std::string widget(int size) {
  std::string text = kWidget;
  text.replace(text.find("%SIZE%"), 6, std::to_string(size));
  return text;
}

TEST_F(Kubectl, GetsAppliesWatchesAndPatchesWidgets) {
  Output o = kubectl("apply -f -", widget(3));
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_NE(o.text.find("widget.test.example.com/w1 created"), std::string::npos) << o.text;
  o = kubectl("apply -f -", widget(20));
  EXPECT_NE(o.text.find("configured"), std::string::npos) << o.text;
  o = kubectl("apply -f -", widget(20));
  EXPECT_NE(o.text.find("unchanged"), std::string::npos) << o.text;

  o = kubectl("get widgets -o wide --show-labels");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_NE(o.text.find("NAME   SIZE   MOOD    AGE"), std::string::npos) << o.text;
  EXPECT_NE(o.text.find("great"), std::string::npos) << o.text;
  EXPECT_NE(o.text.find("wheel"), std::string::npos) << o.text;
  EXPECT_NE(o.text.find("app=demo"), std::string::npos) << o.text;
  EXPECT_EQ(kubectl("get wd w1 -o jsonpath={.spec.parts[0].weight}").text, "10");
  EXPECT_NE(kubectl("get all").text.find("w1"), std::string::npos);
  EXPECT_NE(kubectl("api-resources").text.find("widgets"), std::string::npos);
  EXPECT_NE(kubectl("explain widgets.spec").text.find("replicas"), std::string::npos);

  o = kubectl("patch widget w1 --type=merge -p '{\"spec\":{\"color\":\"green\"}}'");
  EXPECT_EQ(o.code, 0) << o.text;
  o = kubectl("label widget w1 extra=yes");
  EXPECT_EQ(o.code, 0) << o.text;
  o = kubectl("scale widget w1 --replicas=4");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_EQ(kubectl("get widget w1 -o jsonpath={.spec.color}/{.spec.replicas}").text, "green/4");
  o = kubectl("wait widget w1 --for=jsonpath={.spec.replicas}=4 --timeout=10s");
  EXPECT_EQ(o.code, 0) << o.text;

  o = kubectl("apply -f -", "apiVersion: test.example.com/v1\nkind: Widget\nmetadata: {name: w2}\nspec: {sise: 3}\n");
  EXPECT_NE(o.code, 0);
  EXPECT_NE(o.text.find("unknown field \"spec.sise\""), std::string::npos) << o.text;

  const Output watched = kubectl("get widgets -w --output-watch-events --request-timeout=3s");
  EXPECT_NE(watched.text.find("ADDED"), std::string::npos) << watched.text;

  o = kubectl("delete widget w1");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_NE(kubectl("get widget w1").text.find("Error from server (NotFound)"), std::string::npos);
}

}  // namespace
}  // namespace pintle::kernel

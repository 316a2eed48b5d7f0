// The plugin's own .so on the testing harness.
#include <gtest/gtest.h>

#include "pintle/host.h"
#include "pintle/if/controller.h"
#include "pintle/testing/harness.h"
#include "pintle/timestamp.h"

namespace pintle::ns {
namespace {

class NamespaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(harness.ok().ok()) << harness.ok().error().text;
    ASSERT_TRUE(harness.start().ok());
  }
  json::Value parse(const std::string& text) {
    const json::ParseResult r = json::parse(text);
    EXPECT_TRUE(r.ok) << r.error;
    return r.value;
  }
  void terminate(const char* finalizers = R"(["kubernetes"])") {
    harness.put("namespaces", parse(std::string(R"({"metadata":{"name":"a","deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"finalizers":)") + finalizers +
                                    R"(},"status":{"phase":"Terminating"}})"));
  }
  void put(const char* kind, const char* ns, const char* name, const char* more = "") {
    harness.put(kind, parse(std::string(R"({"metadata":{"namespace":")") + ns + R"(","name":")" + name + R"(","uid":"u")" + more + "}}"));
  }
  std::string reconcile() {
    auto a = harness.call(PINTLE_CONTROLLER, PINTLE_METHOD(pintle_controller, reconcile),
                          json::Value::object({{"controller", "namespace"}, {"keys", json::Value::array({json::Value("a")})}}));
    EXPECT_TRUE(a.reply.ok()) << a.reply.error().text;
    return std::string((*a.reply)["results"][0]["result"].as_string());
  }
  void settle() {
    for (int i = 0; i < 10; ++i) {
      reconcile();
      harness.run_for(kSecond);
    }
  }
  size_t finalizers() {
    const json::Value ns = harness.get("namespaces", "", "a");
    return ns["spec"]["finalizers"].size();
  }
  testing::Harness harness{{.library = NAMESPACE_PLUGIN}};
};

TEST_F(NamespaceTest, AnActiveNamespaceIsLeftAlone) {
  harness.put("namespaces", parse(R"({"metadata":{"name":"a"},"spec":{"finalizers":["kubernetes"]}})"));
  put("configmaps", "a", "c");
  EXPECT_EQ(reconcile(), "done");
  EXPECT_EQ(harness.list("configmaps").size(), 1u);
}

TEST_F(NamespaceTest, EverythingInItGoesAndNothingElse) {
  put("configmaps", "a", "c");
  put("deployments.apps", "a", "d");
  put("widgets.example.com", "a", "w");
  put("configmaps", "b", "c");
  terminate();
  settle();
  EXPECT_EQ(harness.list("configmaps").size(), 1u);
  EXPECT_TRUE(harness.list("deployments.apps").empty());
  EXPECT_TRUE(harness.list("widgets.example.com").empty());
  EXPECT_EQ(finalizers(), 0u);
}

TEST_F(NamespaceTest, ForeignFinalizersOfTheSpecStay) {
  terminate(R"(["kubernetes","example.com/mine"])");
  settle();
  EXPECT_EQ(finalizers(), 1u);
}

TEST_F(NamespaceTest, PodsGoFirst) {
  put("pods", "a", "p", R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")");
  put("configmaps", "a", "c");
  terminate();
  settle();
  EXPECT_EQ(harness.list("configmaps").size(), 1u);  // the pod is still on its way out
  harness.remove("pods", "a", "p");
  settle();
  EXPECT_TRUE(harness.list("configmaps").empty());
  EXPECT_EQ(finalizers(), 0u);
}

TEST_F(NamespaceTest, AnObjectThatWaitsIsNamedInTheConditions) {
  put("configmaps", "a", "c", R"(,"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["example.com/f"])");
  terminate();
  settle();
  EXPECT_EQ(finalizers(), 1u);
  const json::Value ns = harness.get("namespaces", "", "a");
  std::string text;
  for (const auto& c : ns["status"]["conditions"].items())
    if (c["status"].as_string() == "True") text += std::string(c["message"].as_string()) + "\n";
  EXPECT_EQ(text, "Some resources are remaining: configmaps has 1 resource instances\n"
                  "Some content in the namespace has finalizers remaining: example.com/f in 1 resource instances\n");
}

TEST_F(NamespaceTest, NothingIsLeftAfterStop) {
  harness.run_for(kSecond);
  EXPECT_TRUE(harness.drain().ok());
  harness.stop();
  const json::Value left = harness.left();
  for (const auto& m : left.members()) EXPECT_EQ(m.value.as_int(), 0) << m.key;
}

}  // namespace
}  // namespace pintle::ns

// The plugin's own .so on the testing harness; the test plays the kernel's queue.
#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "pintle/host.h"
#include "pintle/if/controller.h"
#include "pintle/testing/harness.h"
#include "pintle/timestamp.h"

namespace pintle::gc {
namespace {

class GcTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(harness.ok().ok()) << harness.ok().error().text; }
  json::Value parse(const std::string& text) {
    const json::ParseResult r = json::parse(text);
    EXPECT_TRUE(r.ok) << r.error << " " << text;
    return r.value;
  }
  // `owner`: "Kind/name/uid" in apps/v1, or "". `more`: further metadata members.
  void put(const char* kind, const char* api, const char* kind_name, const char* ns, const char* name, const char* uid,
           const std::string& owner = "", const std::string& more = "", bool blocks = true) {
    std::string refs;
    if (!owner.empty()) {
      const size_t a = owner.find('/'), b = owner.rfind('/');
      refs = R"(,"ownerReferences":[{"apiVersion":"apps/v1","kind":")" + owner.substr(0, a) + R"(","name":")" + owner.substr(a + 1, b - a - 1) +
             R"(","uid":")" + owner.substr(b + 1) + R"(","controller":true,"blockOwnerDeletion":)" + (blocks ? "true" : "false") + "}]";
    }
    harness.put(kind, parse(std::string(R"({"apiVersion":")") + api + R"(","kind":")" + kind_name + R"(","metadata":{"namespace":")" + ns +
                            R"(","name":")" + name + R"(","uid":")" + uid + "\"" + refs + more + "}}"));
  }
  void pod(const char* name, const char* uid, const std::string& owner, const std::string& more = "", bool blocks = true) {
    put("pods", "v1", "Pod", "a", name, uid, owner, more, blocks);
  }
  void set(const char* name, const char* uid, const std::string& owner = "", const std::string& more = "") {
    put("replicasets.apps", "apps/v1", "ReplicaSet", "a", name, uid, owner, more);
  }
  json::Value call(uint32_t method, const json::Value& request) {
    auto a = harness.call(PINTLE_CONTROLLER, method, request);
    EXPECT_TRUE(a.reply.ok()) << a.reply.error().text;
    return a.reply.ok() ? *a.reply : json::Value();
  }
  // Keys of all objects, as the kernel hands them over at the start.
  void start() {
    ASSERT_TRUE(harness.start().ok());
    harness.run_for(kSecond);
  }
  void event(const char* type, const char* kind, const json::Value& object) {
    const json::Value reply = call(PINTLE_METHOD(pintle_controller, map),
                                   json::Value::object({{"controller", "gc"}, {"kind", kind}, {"type", type}, {"object", object}}));
    for (const auto& k : reply["keys"].items()) keys.insert(std::string(k.as_string()));
  }
  void everything() {
    for (const char* kind : {"pods", "replicasets.apps", "deployments.apps"})
      for (const auto& o : harness.list(kind)) event("ADDED", kind, o);
  }
  // Looks at everything again and again, until nothing changes any more.
  void settle() {
    for (int i = 0; i < 6; ++i) {
      everything();
      for (const auto& k : std::set<std::string>(keys))
        call(PINTLE_METHOD(pintle_controller, reconcile),
             json::Value::object({{"controller", "gc"}, {"keys", json::Value::array({json::Value(k)})}}));
      harness.run_for(kSecond);
    }
  }
  std::set<std::string> keys;
  testing::Harness harness{{.library = GC_PLUGIN}};
};

constexpr const char* kDeleting = R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")";

TEST_F(GcTest, AnObjectWhoseOwnerIsThereStays) {
  set("r", "1");
  pod("p", "2", "ReplicaSet/r/1");
  start();
  settle();
  EXPECT_EQ(harness.list("pods").size(), 1u);
}

TEST_F(GcTest, AnObjectWhoseOwnerIsGoneGoes) {
  set("other", "7");
  pod("p", "2", "ReplicaSet/r/1");
  pod("free", "3", "");
  start();
  settle();
  ASSERT_EQ(harness.list("pods").size(), 1u);
  EXPECT_FALSE(harness.get("pods", "a", "free").is_null());
}

TEST_F(GcTest, AnotherObjectOfTheSameNameIsNotTheOwner) {
  set("r", "new");
  pod("p", "2", "ReplicaSet/r/old");
  start();
  settle();
  EXPECT_TRUE(harness.list("pods").empty());
}

TEST_F(GcTest, ADeletedOwnerTakesItsDependentsAlong) {
  set("r", "1");
  set("other", "7");
  pod("p", "2", "ReplicaSet/r/1");
  start();
  everything();
  const json::Value owner = harness.get("replicasets.apps", "a", "r");
  keys.clear();
  harness.remove("replicasets.apps", "a", "r");
  harness.run_for(kSecond);
  event("DELETED", "replicasets.apps", owner);
  ASSERT_EQ(keys.size(), 1u);
  settle();
  EXPECT_TRUE(harness.list("pods").empty());
}

TEST_F(GcTest, OneOfTwoOwnersIsEnoughAndTheAbsentReferenceGoes) {
  set("r", "1");
  harness.put("pods", parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"a","name":"p","uid":"2","ownerReferences":[
    {"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"1"},{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"s","uid":"5"}]}})"));
  start();
  settle();
  const json::Value p = harness.get("pods", "a", "p");
  ASSERT_EQ(p["metadata"]["ownerReferences"].size(), 1u);
  EXPECT_EQ(p["metadata"]["ownerReferences"][0]["uid"].as_string(), "1");
}

TEST_F(GcTest, ForegroundWaitsForTheDependentsThatBlock) {
  set("r", "1", "", std::string(kDeleting) + R"(,"finalizers":["foregroundDeletion"])");
  pod("p", "2", "ReplicaSet/r/1", std::string(kDeleting) + R"(,"finalizers":["x"])");
  start();
  settle();
  json::Value r = harness.get("replicasets.apps", "a", "r");
  EXPECT_EQ(r["metadata"]["finalizers"].size(), 1u);
  harness.remove("pods", "a", "p");
  settle();
  r = harness.get("replicasets.apps", "a", "r");
  EXPECT_EQ(r["metadata"]["finalizers"].size(), 0u);
}

TEST_F(GcTest, ForegroundDeletesTheDependents) {
  set("r", "1", "", std::string(kDeleting) + R"(,"finalizers":["foregroundDeletion","keep"])");
  pod("p", "2", "ReplicaSet/r/1");
  start();
  settle();
  EXPECT_TRUE(harness.list("pods").empty());
  const json::Value r = harness.get("replicasets.apps", "a", "r");
  EXPECT_EQ(r["metadata"]["finalizers"].dump(), R"(["keep"])");
}

TEST_F(GcTest, ForegroundDoesNotWaitForDependentsThatDoNotBlock) {
  set("r", "1", "", std::string(kDeleting) + R"(,"finalizers":["foregroundDeletion"])");
  pod("p", "2", "ReplicaSet/r/1", std::string(kDeleting) + R"(,"finalizers":["x"])", false);
  start();
  settle();
  const json::Value r = harness.get("replicasets.apps", "a", "r");
  EXPECT_EQ(r["metadata"]["finalizers"].size(), 0u);
}

TEST_F(GcTest, OrphanTakesTheReferencesOff) {
  set("r", "1", "", std::string(kDeleting) + R"(,"finalizers":["orphan"])");
  pod("p", "2", "ReplicaSet/r/1");
  start();
  settle();
  const json::Value p = harness.get("pods", "a", "p"), r = harness.get("replicasets.apps", "a", "r");
  EXPECT_FALSE(p.is_null());
  EXPECT_EQ(p["metadata"]["ownerReferences"].size(), 0u);
  EXPECT_EQ(r["metadata"]["finalizers"].size(), 0u);
}

TEST_F(GcTest, NothingIsLeftAfterStop) {
  start();
  EXPECT_TRUE(harness.drain().ok());
  harness.stop();
  const json::Value left = harness.left();
  for (const auto& m : left.members()) EXPECT_EQ(m.value.as_int(), 0) << m.key;
}

}  // namespace
}  // namespace pintle::gc

#include "plugins/gc/graph.h"

#include <gtest/gtest.h>

namespace pintle::gc {
namespace {

json::Value owners(const char* uid) { return json::Value::array({json::Value::object({{"uid", uid}})}); }

TEST(Graph, KnowsTheDependentsOfAnOwner) {
  Graph g;
  g.seen({"pods", "a", "p", "1"}, owners("9"));
  g.seen({"pods", "a", "q", "2"}, owners("9"));
  EXPECT_EQ(g.dependents("9").size(), 2u);
  g.seen({"pods", "a", "q", "2"}, {});
  EXPECT_EQ(g.dependents("9").size(), 1u);
  EXPECT_EQ(g.dependents("9")[0].name, "p");
}

TEST(Graph, WhatIsGoneDoesNotComeBackWithALateEvent) {
  Graph g;
  g.seen({"pods", "a", "p", "1"}, owners("9"));
  g.gone("1");
  g.seen({"pods", "a", "p", "1"}, owners("9"));
  EXPECT_FALSE(g.has_dependents("9"));
}

TEST(Graph, WhatLeavesIsKnownWithoutBeingRead) {
  Graph g;
  const json::Value blocking = json::Value::array({json::Value::object({{"uid", "9"}, {"blockOwnerDeletion", true}})});
  g.seen({"pods", "a", "p", "1"}, blocking);
  g.seen({"pods", "a", "q", "2"}, owners("9"));
  EXPECT_EQ(g.staying("9").size(), 2u);
  EXPECT_FALSE(g.waits_for_leaving("9"));
  g.seen({"pods", "a", "q", "2"}, owners("9"), true);
  EXPECT_EQ(g.staying("9").size(), 1u);
  EXPECT_FALSE(g.waits_for_leaving("9"));
  g.seen({"pods", "a", "p", "1"}, blocking, true);
  EXPECT_TRUE(g.staying("9").empty());
  EXPECT_EQ(g.dependents("9").size(), 2u);
  EXPECT_TRUE(g.waits_for_leaving("9"));
  g.doubt();
  EXPECT_FALSE(g.waits_for_leaving("9"));
  EXPECT_EQ(g.staying("9").size(), 2u);
  g.seen({"pods", "a", "p", "1"}, blocking, true);
  g.gone("1");
  EXPECT_FALSE(g.waits_for_leaving("9"));
  EXPECT_EQ(g.dependents("9").size(), 1u);
}

TEST(Place, KeysReadBack) {
  const Place p{"deployments.apps", "ns", "d", "u"};
  const auto back = Place::parse(p.key());
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->key(), p.key());
  EXPECT_EQ(Place::parse(Place{"nodes", "", "n", "u"}.key())->ns, "");
  EXPECT_FALSE(Place::parse("nonsense").has_value());
}

}  // namespace
}  // namespace pintle::gc

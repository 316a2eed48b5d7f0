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

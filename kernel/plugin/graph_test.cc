#include "kernel/plugin/graph.h"

#include <gtest/gtest.h>

namespace pintle::kernel {
namespace {

TEST(Graph, NeedsComeFirstAndTiesGoByName) {
  const Plan p = plan({{"b", {}}, {"a", {{}, {}, {"z"}, {}}}, {"z", {}}}, {});
  EXPECT_EQ(p.order, (std::vector<std::string>{"z", "a", "b"}));
}

TEST(Graph, ACycleIsPrinted) {
  const Plan p = plan({{"a", {{}, {}, {"b"}, {}}}, {"b", {{}, {}, {"a"}, {}}}, {"c", {{}, {}, {"a"}, {}}}}, {});
  EXPECT_TRUE(p.order.empty());
  EXPECT_NE(p.refused.at("a").find("a -> b -> a"), std::string::npos) << p.refused.at("a");
  EXPECT_NE(p.refused.at("c").find("needs plugin \"a\""), std::string::npos);
}

TEST(Graph, AMissingInterfaceIsNamed) {
  const Plan p = plan({{"a", {{}, {"x/1"}, {}, {}}}, {"b", {{}, {"host/1"}, {}, {}}}}, {"host/1"});
  EXPECT_EQ(p.order, std::vector<std::string>{"b"});
  EXPECT_NE(p.refused.at("a").find("x/1"), std::string::npos);
}

TEST(Graph, AfterOrdersOnlyWhatIsThere) {
  const Plan p = plan({{"a", {{}, {}, {}, {"z", "nobody", "net/1"}}}, {"m", {{"net/1"}, {}, {}, {}}}, {"z", {}}}, {});
  EXPECT_EQ(p.order.back(), "a");
  EXPECT_TRUE(p.refused.empty());
}

TEST(Graph, DependentsAreThoseWhoWouldBreak) {
  const std::map<std::string, GraphNode> nodes = {{"core", {}}, {"gc", {{}, {}, {"core"}, {}}}, {"net", {{"n/1"}, {}, {}, {}}}, {"agent", {{}, {"n/1"}, {}, {}}}};
  EXPECT_EQ(dependents(nodes, "core"), std::vector<std::string>{"gc"});
  EXPECT_EQ(dependents(nodes, "net"), std::vector<std::string>{"agent"});
  EXPECT_TRUE(dependents(nodes, "gc").empty());
}

}  // namespace
}  // namespace pintle::kernel

#include "ledger.h"

#include <gtest/gtest.h>

namespace pintle::scheduling_plugin {
namespace {

Amounts amounts(int64_t cpu, int64_t pods = 1) {
  Amounts a;
  a.set("cpu", cpu);
  a.set("pods", pods);
  return a;
}

TEST(Ledger, RoomIsGivenOnceAndComesBack) {
  Ledger l;
  l.set_node("n1", amounts(1000, 10));
  std::string why;
  EXPECT_TRUE(l.fits("n1", amounts(600), &why));
  l.put("a", "n1", amounts(600), true);
  EXPECT_FALSE(l.fits("n1", amounts(600), &why));
  EXPECT_EQ(why, "Insufficient cpu: needs 600m, 400m of 1000m free");
  l.put("a", "n1", amounts(600), false);  // the bind is seen in the store
  EXPECT_FALSE(l.assumed("a"));
  EXPECT_EQ(l.account("n1")->used.get("cpu"), 600);
  EXPECT_EQ(l.remove("a"), "n1");
  EXPECT_TRUE(l.fits("n1", amounts(1000), nullptr));
  EXPECT_EQ(l.remove("a"), "");
}

TEST(Ledger, TheNumberOfPodsIsBounded) {
  Ledger l;
  l.set_node("n1", amounts(1000, 1));
  l.put("a", "n1", amounts(0), false);
  std::string why;
  EXPECT_FALSE(l.fits("n1", amounts(0), &why));
  EXPECT_EQ(why, "Too many pods: 1 of 1 are there");
}

TEST(Ledger, PodsOutliveTheirNode) {
  Ledger l;
  l.set_node("n1", amounts(1000, 10));
  l.put("a", "n1", amounts(600), false);
  l.remove_node("n1");
  EXPECT_FALSE(l.fits("n1", amounts(1), nullptr));
  l.set_node("n1", amounts(1000, 10));
  EXPECT_FALSE(l.fits("n1", amounts(600), nullptr));
  EXPECT_FALSE(l.account("n1")->known);
}

TEST(Ledger, APodOnItsWayToOneNodeHasNoRoomOnAnother) {
  Ledger l;
  l.set_node("n1", amounts(1000, 10));
  l.set_node("n2", amounts(1000, 10));
  l.put("other", "n2", amounts(600), false);
  l.put("a", "n1", amounts(600), true);
  EXPECT_TRUE(l.fits("n1", amounts(600), nullptr, "a"));
  EXPECT_FALSE(l.fits("n2", amounts(600), nullptr, "a"));
}

TEST(Ledger, AResizedPodIsCountedAnew) {
  Ledger l;
  l.set_node("n1", amounts(1000, 10));
  l.put("a", "n1", amounts(600), false);
  l.put("a", "n1", amounts(200), false);
  EXPECT_EQ(l.account("n1")->used.get("cpu"), 200);
  EXPECT_EQ(l.account("n1")->used.get("pods"), 1);
}

}  // namespace
}  // namespace pintle::scheduling_plugin

#include "addresses.h"

#include <gtest/gtest.h>

#include <set>

namespace pintle::runtime_sim {
namespace {

TEST(Addresses, AreUniqueUntilTheRangeIsUsedUp) {
  auto range = Addresses::from_cidr("10.1.2.0/28");
  ASSERT_TRUE(range.ok());
  std::set<std::string> seen;
  for (int i = 0; i < 14; ++i) seen.insert(range->take());
  EXPECT_EQ(seen.size(), 14u);
  EXPECT_EQ(range->take(), "");
  range->release("10.1.2.5");
  EXPECT_EQ(range->take(), "10.1.2.5");
}

TEST(Addresses, RefuseWhatIsNoRange) {
  for (const char* bad : {"", "10.0.0.0", "10.0.0/8", "10.0.0.0/31", "10.0.0.0/0", "10.0.0.256/8", "::1/64"})
    EXPECT_FALSE(Addresses::from_cidr(bad).ok()) << bad;
}

}  // namespace
}  // namespace pintle::runtime_sim

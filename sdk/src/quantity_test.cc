#include "pintle/quantity.h"

#include <gtest/gtest.h>

#include <limits>

namespace pintle {
namespace {

TEST(Quantity, TextBecomesNumbersRoundedUp) {
  struct Case {
    const char* text;
    int64_t value, milli;
  };
  const Case cases[] = {{"0", 0, 0},           {"1", 1, 1000},          {"1500m", 2, 1500},     {"0.5", 1, 500},
                        {".5", 1, 500},        {"1.", 1, 1000},         {"512Mi", 536870912, 536870912000}, {"1k", 1000, 1000000},
                        {"1e3", 1000, 1000000}, {"1E3", 1000, 1000000}, {"-1", -1, -1000},      {"100n", 1, 1},
                        {"1.5Gi", 1610612736, 1610612736000}, {"+2", 2, 2000}, {"0.1", 1, 100}, {"-1500m", -1, -1500}};
  for (const auto& c : cases) {
    const auto q = Quantity::parse(c.text);
    ASSERT_TRUE(q) << c.text;
    EXPECT_EQ(q->value(), c.value) << c.text;
    EXPECT_EQ(q->milli(), c.milli) << c.text;
  }
}

TEST(Quantity, WhatIsNoQuantityIsRefused) {
  for (const char* text : {"", "-", "m", "1.2.3", "1 ", " 1", "1x", "1mi", "1ki", "1e", "1e+", "1Kib", "abc", "1,5"})
    EXPECT_FALSE(Quantity::parse(text)) << text;
}

TEST(Quantity, HugeValuesAreCappedNotWrapped) {
  EXPECT_EQ(Quantity::parse("99999999999999999999999999999999999999999")->value(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Quantity::parse("9223372036854775807")->value(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Quantity::parse("1000Ei")->value(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Quantity::parse("1e1000")->value(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Quantity::parse("1e-1000")->value(), 1);
  EXPECT_EQ(Quantity::parse("8Ei")->milli(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Quantity::parse("0.00000000000000000000000001Ki")->value(), 1);
}

TEST(Quantity, TextIsCanonical) {
  const std::pair<const char*, const char*> cases[] = {{"1000m", "1"},  {"1024Ki", "1Mi"}, {"1500m", "1500m"}, {"0.5", "500m"},
                                                       {"1000", "1k"},  {"1000Mi", "1000Mi"}, {"512", "512"},  {"1.5Gi", "1536Mi"},
                                                       {"1e3", "1e3"},  {"0", "0"},        {"-1000m", "-1"},   {"128Mi", "128Mi"},
                                                       {"1100m", "1100m"}, {"0.1Ki", "102400m"}};
  for (const auto& [in, out] : cases) EXPECT_EQ(Quantity::parse(in)->text(), out) << in;
}

TEST(Quantity, ResourcesAreCountedInMilliForCpuAndUnitsOtherwise) {
  EXPECT_EQ(resource_amount("cpu", "2"), 2000);
  EXPECT_EQ(resource_amount("memory", "1Ki"), 1024);
  EXPECT_EQ(resource_amount("vendor.example/gpu", "3"), 3);
  EXPECT_EQ(resource_amount("cpu", "x"), std::nullopt);
  EXPECT_EQ(resource_text("cpu", 1500), "1500m");
  EXPECT_EQ(resource_text("memory", 1 << 20), "1Mi");
  EXPECT_EQ(resource_text("pods", 110), "110");
}

TEST(Quantity, SumsAndDifferencesAreExact) {
  Quantity q = *Quantity::parse("1");
  q += *Quantity::parse("500m");
  EXPECT_EQ(q.text(), "1500m");
  q -= *Quantity::parse("1500m");
  EXPECT_EQ(q.text(), "0");
  EXPECT_EQ(q.compare(Quantity()), 0);
}

}  // namespace
}  // namespace pintle

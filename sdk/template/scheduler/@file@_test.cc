#include <gtest/gtest.h>

#include "pintle/sdk.h"
#include "pintle/testing/harness.h"

using pintle::json::Value;
using pintle::testing::Harness;

namespace {

TEST(@Class@, FillsNodesAndSaysWhyNot) {
  Harness h({.library = PINTLE_PLUGIN_UNDER_TEST});
  ASSERT_TRUE(h.ok().ok()) << h.ok().error().text;
  ASSERT_TRUE(h.start().ok());
  const Value node = Value::object({{"name", "n1"}, {"ready", true}, {"allocatable", Value::object({{"cpu", 1000}})}});
  ASSERT_TRUE(h.call(PINTLE_SCHEDULER, PINTLE_METHOD(pintle_scheduler, observe),
                     Value::object({{"reset", true}, {"nodes", Value::array({node})}})).reply.ok());
  const auto pod = [](const char* uid) {
    return Value::object({{"uid", uid}, {"requests", Value::object({{"cpu", 600}})}});
  };
  auto answer = h.call(PINTLE_SCHEDULER, PINTLE_METHOD(pintle_scheduler, schedule),
                       Value::object({{"pods", Value::array({pod("a"), pod("b")})}}));
  ASSERT_TRUE(answer.reply.ok()) << answer.reply.error().text;
  EXPECT_EQ(answer.reply->at("decisions[0].node").as_string(), "n1");
  EXPECT_EQ(answer.reply->at("decisions[1].unschedulable.message").as_string(),
            "0/1 nodes are available: Insufficient cpu: needs 600, 400 free.");
}

}  // namespace

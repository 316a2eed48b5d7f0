#include <gtest/gtest.h>

#include "pintle/sdk.h"
#include "pintle/testing/harness.h"

using pintle::json::Value;
using pintle::testing::Harness;

namespace {

TEST(@Class@, CountsTheKeys) {
  Harness h({.library = PINTLE_PLUGIN_UNDER_TEST});
  ASSERT_TRUE(h.ok().ok()) << h.ok().error().text;
  ASSERT_TRUE(h.start().ok());
  h.put("configmaps", Value::object({{"metadata", Value::object({{"namespace", "default"}, {"name", "m"}})},
                                     {"data", Value::object({{"a", "1"}, {"b", "2"}})}}));
  auto answer = h.call(PINTLE_CONTROLLER, PINTLE_METHOD(pintle_controller, reconcile),
                       Value::object({{"controller", "@name@"}, {"keys", Value::array({"default/m"})}}));
  ASSERT_TRUE(answer.reply.ok()) << answer.reply.error().text;
  EXPECT_EQ(h.get("configmaps", "default", "m").at("metadata.annotations[example.org/keys]").as_string(), "2");
}

}  // namespace

#include <gtest/gtest.h>

#include "pintle/sdk.h"
#include "pintle/testing/harness.h"

using pintle::json::Value;
using pintle::testing::Harness;

namespace {

TEST(@Class@, RunsAContainerToItsEnd) {
  Harness h({.library = PINTLE_PLUGIN_UNDER_TEST, .config = R"({"startLatencyMs":50})"});
  ASSERT_TRUE(h.ok().ok()) << h.ok().error().text;
  ASSERT_TRUE(h.start().ok());
  ASSERT_TRUE(h.activate("runtime.@short@").ok());
  const auto call = [&](uint32_t method, Value request) {
    auto answer = h.call(PINTLE_RUNTIME, method, request);
    EXPECT_TRUE(answer.reply.ok()) << answer.reply.error().text;
    return answer.reply.ok() ? *answer.reply : Value();
  };
  const Value pod = call(PINTLE_METHOD(pintle_runtime, create_pod), Value::object({{"uid", "u1"}, {"namespace", "default"}, {"name", "p"}}));
  const Value request = Value::object({{"podId", pod["id"]}, {"podUid", "u1"}, {"name", "c"}, {"attempt", 0}, {"image", "web:1"}});
  const Value made = call(PINTLE_METHOD(pintle_runtime, create), request);
  EXPECT_EQ(made["id"], call(PINTLE_METHOD(pintle_runtime, create), request)["id"]) << "create must be idempotent";

  call(PINTLE_METHOD(pintle_runtime, start), made);
  Value list = call(PINTLE_METHOD(pintle_runtime, list), Value::object());
  EXPECT_EQ(list.at("containers[0].state").as_string(), "running");

  call(PINTLE_METHOD(pintle_runtime, stop), made);
  list = call(PINTLE_METHOD(pintle_runtime, list), Value::object());
  EXPECT_EQ(list.at("containers[0].state").as_string(), "exited");

  call(PINTLE_METHOD(pintle_runtime, remove_pod), pod);
  list = call(PINTLE_METHOD(pintle_runtime, list), Value::object());
  EXPECT_EQ(list["pods"].size() + list["containers"].size(), 0u);
}

TEST(@Class@, LeavesNothingBehind) {
  Harness h({.library = PINTLE_PLUGIN_UNDER_TEST});
  ASSERT_TRUE(h.start().ok());
  ASSERT_TRUE(h.drain().ok());
  h.stop();
  const Value left = h.left();
  for (const auto& counter : left.members()) EXPECT_EQ(counter.value.as_int(), 0) << counter.key;
}

}  // namespace

#include "endpoints.h"

#include <gtest/gtest.h>

namespace pintle::service {
namespace {

using json::Value;

Value service() {
  return json::parse(R"({"metadata":{"name":"web","namespace":"default","uid":"u"},"spec":{"selector":{"a":"b"},
      "ports":[{"name":"http","port":80,"targetPort":"web"},{"name":"raw","port":81,"targetPort":9}]}})").value;
}
Value pod(int i, bool ready = true, bool terminating = false) {
  Value p = json::parse(R"({"metadata":{"namespace":"default"},"spec":{"nodeName":"n","containers":[{"ports":[{"name":"web","containerPort":8080}]}]},
      "status":{"phase":"Running"}})").value;
  p.make("metadata.name") = "p" + std::to_string(i);
  p.make("metadata.uid") = "u" + std::to_string(i);
  p.make("status.podIP") = "10.0." + std::to_string(i / 200) + "." + std::to_string(i % 200 + 1);
  p.make("status.conditions") = Value::array({Value::object({{"type", "Ready"}, {"status", ready ? "True" : "False"}})});
  if (terminating) p.make("metadata.deletionTimestamp") = "2026-01-01T00:00:00Z";
  return p;
}
std::vector<Value> pods(int n) {
  std::vector<Value> out;
  for (int i = 0; i < n; ++i) out.push_back(pod(i));
  return out;
}
// Applies ops as the store would.
std::vector<Value> applied(std::vector<Value> slices, const std::vector<Op>& ops) {
  static int n = 0;
  for (const Op& op : ops) {
    Value v = json::parse_or_null(op.body);
    if (op.verb == PINTLE_CREATE) {
      v.make("metadata.name") = "web-" + std::to_string(n++);
      slices.push_back(v);
      continue;
    }
    for (size_t i = 0; i < slices.size(); ++i)
      if (slices[i].at("metadata.name").as_string() == op.name) {
        if (op.verb == PINTLE_DELETE) slices.erase(slices.begin() + static_cast<long>(i));
        else slices[i] = v;
        break;
      }
  }
  return slices;
}

TEST(Endpoints, NamedPortsAreLookedUpInThePod) {
  const auto slices = applied({}, plan_slices(service(), pods(1), {}));
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_EQ(slices[0].at("ports[0].port").as_int(), 8080);
  EXPECT_EQ(slices[0].at("ports[1].port").as_int(), 9);
  EXPECT_EQ(slices[0].at("metadata.labels[kubernetes.io/service-name]").as_string(), "web");
}

TEST(Endpoints, TheSamePodsWriteNothing) {
  const auto slices = applied({}, plan_slices(service(), pods(250), {}));
  EXPECT_EQ(slices.size(), 3u);
  EXPECT_TRUE(plan_slices(service(), pods(250), slices).empty());
}

TEST(Endpoints, OnePodsChangeWritesOneSlice) {
  auto all = pods(250);
  const auto slices = applied({}, plan_slices(service(), all, {}));
  all[120] = pod(120, false);
  const auto ops = plan_slices(service(), all, slices);
  ASSERT_EQ(ops.size(), 1u);
  EXPECT_EQ(ops[0].verb, PINTLE_UPDATE);
}

TEST(Endpoints, ATerminatingPodServesButIsNotReady) {
  const auto slices = applied({}, plan_slices(service(), {pod(1, true, true)}, {}));
  EXPECT_FALSE(slices[0].at("endpoints[0].conditions.ready").as_bool(true));
  EXPECT_TRUE(slices[0].at("endpoints[0].conditions.serving").as_bool());
  EXPECT_TRUE(slices[0].at("endpoints[0].conditions.terminating").as_bool());
  EXPECT_TRUE(make_endpoints(service(), {pod(1, true, true)})["subsets"].empty());
}

TEST(Endpoints, ThereIsAlwaysASlice) {
  auto slices = applied({}, plan_slices(service(), {}, {}));
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_TRUE(plan_slices(service(), {}, slices).empty());
  slices = applied(slices, plan_slices(service(), pods(1), slices));
  slices = applied(slices, plan_slices(service(), {}, slices));
  EXPECT_EQ(slices.size(), 1u);
}

TEST(Endpoints, HandMadeEndpointsAreMirrored) {
  const Value ep = json::parse(R"({"metadata":{"name":"web","namespace":"default","uid":"e"},"subsets":[{"addresses":[{"ip":"192.0.2.1"}],"ports":[{"port":80}]}]})").value;
  const auto slices = applied({}, plan_mirror(ep, {}));
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_EQ(slices[0].at("endpoints[0].addresses[0]").as_string(), "192.0.2.1");
  EXPECT_TRUE(plan_mirror(ep, slices).empty());
}

}  // namespace
}  // namespace pintle::service

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

bool at_once(const Value&) { return true; }
bool never(const Value&) { return false; }
std::vector<Op> planned(const Value& s, const std::vector<Value>& all, const std::vector<Value>& existing) { return plan_slices(s, all, existing, at_once); }

TEST(Endpoints, NamedPortsAreLookedUpInThePod) {
  const auto slices = applied({}, planned(service(), pods(1), {}));
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_EQ(slices[0].at("ports[0].port").as_int(), 8080);
  EXPECT_EQ(slices[0].at("ports[1].port").as_int(), 9);
  EXPECT_EQ(slices[0].at("metadata.labels[kubernetes.io/service-name]").as_string(), "web");
}

TEST(Endpoints, TheSamePodsWriteNothing) {
  const auto slices = applied({}, planned(service(), pods(250), {}));
  EXPECT_EQ(slices.size(), 3u);
  EXPECT_TRUE(planned(service(), pods(250), slices).empty());
}

TEST(Endpoints, OnePodsChangeWritesOneSlice) {
  auto all = pods(250);
  const auto slices = applied({}, planned(service(), all, {}));
  all[120] = pod(120, false);
  const auto ops = planned(service(), all, slices);
  ASSERT_EQ(ops.size(), 1u);
  EXPECT_EQ(ops[0].verb, PINTLE_UPDATE);
}

TEST(Endpoints, ATerminatingPodServesButIsNotReady) {
  const auto slices = applied({}, planned(service(), {pod(1, true, true)}, {}));
  EXPECT_FALSE(slices[0].at("endpoints[0].conditions.ready").as_bool(true));
  EXPECT_TRUE(slices[0].at("endpoints[0].conditions.serving").as_bool());
  EXPECT_TRUE(slices[0].at("endpoints[0].conditions.terminating").as_bool());
  EXPECT_TRUE(make_endpoints(service(), {pod(1, true, true)})["subsets"].empty());
}

TEST(Endpoints, ThereIsAlwaysASlice) {
  auto slices = applied({}, planned(service(), {}, {}));
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_TRUE(planned(service(), {}, slices).empty());
  slices = applied(slices, planned(service(), pods(1), slices));
  slices = applied(slices, planned(service(), {}, slices));
  EXPECT_EQ(slices.size(), 1u);
}

// A pod's removal is confirmed by the revision of the slice that held it: an emptied one is written before it goes.
TEST(Endpoints, AnEmptiedSliceStaysForAWhile) {
  const auto old = applied({}, planned(service(), pods(1), {}));
  Value moved = pod(2);
  moved.make("spec.containers").make_array()[0].set("ports").make_array()[0].set("containerPort", 9090);
  const auto ops = plan_slices(service(), {moved}, old, at_once);
  ASSERT_EQ(ops.size(), 2u);
  EXPECT_EQ(ops[0].verb, PINTLE_CREATE);
  EXPECT_EQ(ops[1].verb, PINTLE_UPDATE);
  const auto both = applied(old, ops);
  EXPECT_TRUE(plan_slices(service(), {moved}, both, never).empty());
  const auto rest = plan_slices(service(), {moved}, both, at_once);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].verb, PINTLE_DELETE);
}

TEST(Endpoints, PodsHaveNamesBelowTheirService) {
  Value p = pod(1);
  p.make("spec.hostname") = "db-0";
  p.make("spec.subdomain") = "web";
  EXPECT_EQ(applied({}, planned(service(), {p}, {}))[0].at("endpoints[0].hostname").as_string(), "db-0");
  EXPECT_EQ(make_endpoints(service(), {p}).at("subsets[0].addresses[0].hostname").as_string(), "db-0");
  p.make("spec.subdomain") = "other";
  EXPECT_TRUE(applied({}, planned(service(), {p}, {}))[0].at("endpoints[0].hostname").is_null());
}

TEST(Endpoints, WhoPublishesAllPublishesThoseThatEndToo) {
  Value s = service();
  s.make("spec.publishNotReadyAddresses") = true;
  const Value slice = applied({}, planned(s, {pod(1, false, true)}, {}))[0];
  EXPECT_TRUE(slice.at("endpoints[0].conditions.ready").as_bool());
  EXPECT_FALSE(slice.at("endpoints[0].conditions.serving").as_bool(true)) << "it is not ready by itself";
  EXPECT_EQ(make_endpoints(s, {pod(1, false, true)}).at("subsets[0].addresses").size(), 1u);
}

TEST(Endpoints, HandMadeEndpointsAreMirrored) {
  const Value ep = json::parse(R"({"metadata":{"name":"web","namespace":"default","uid":"e"},"subsets":[{"addresses":[{"ip":"192.0.2.1"}],"ports":[{"port":80}]}]})").value;
  const auto slices = applied({}, plan_mirror(ep, {}));
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_EQ(slices[0].at("endpoints[0].addresses[0]").as_string(), "192.0.2.1");
  EXPECT_TRUE(plan_mirror(ep, slices).empty());
  Value alone = ep;
  alone.make("metadata.labels").set("endpointslice.kubernetes.io/skip-mirror", "true");
  for (const Value& none : {alone, Value()}) {
    const auto ops = plan_mirror(none, slices);
    ASSERT_EQ(ops.size(), 1u);
    EXPECT_EQ(ops[0].verb, PINTLE_DELETE);
    EXPECT_EQ(ops[0].ns, "default");
  }
}

}  // namespace
}  // namespace pintle::service

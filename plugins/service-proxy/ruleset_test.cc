#include "ruleset.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "packet_filter.h"

namespace pintle::service_proxy {
namespace {

using json::Value;

Value service(const char* ip, const char* more = "") {
  return json::parse(std::string(R"({"metadata":{"name":"web","namespace":"default"},"spec":{"type":"NodePort","clusterIP":")") + ip +
                     R"(","ports":[{"name":"http","port":80,"nodePort":30080,"protocol":"TCP"}])" + more + "}}")
      .value;
}
Value slice(std::initializer_list<const char*> ready, std::initializer_list<const char*> terminating = {}) {
  Value v = json::parse(R"({"metadata":{"name":"web-1","namespace":"default","labels":{"kubernetes.io/service-name":"web"}},
      "addressType":"IPv4","ports":[{"name":"http","port":8080,"protocol":"TCP"}],"endpoints":[]})").value;
  for (const char* a : ready)
    v.set("endpoints").push(Value::object({{"addresses", Value::array({a})}, {"nodeName", "n1"}, {"conditions", Value::object({{"ready", true}, {"serving", true}})}}));
  for (const char* a : terminating)
    v.set("endpoints").push(Value::object({{"addresses", Value::array({a})}, {"conditions", Value::object({{"ready", false}, {"serving", true}, {"terminating", true}})}}));
  return v;
}

TEST(Ruleset, OneServicesChangeIsAFewLines) {
  Ruleset r("pintle-test", "n1");
  for (int i = 0; i < 500; ++i) {
    Value s = service(("10.96.1." + std::to_string(i % 250)).c_str());
    s.make("metadata.name") = "s" + std::to_string(i);
    s.make("spec").set("ports").make_array()[0].set("nodePort", 30100 + i);
    r.set_service("default/s" + std::to_string(i), s);
  }
  r.set_service("default/web", service("10.96.0.9"));
  r.set_slice("default/web-1", slice({"10.0.0.1"}));
  EXPECT_GT(r.everything().size(), 10000u);
  EXPECT_EQ(r.changes(), "");
  r.set_slice("default/web-1", slice({"10.0.0.1", "10.0.0.2"}));
  const std::string change = r.changes();
  EXPECT_LT(std::count(change.begin(), change.end(), '\n'), 20);
  EXPECT_NE(change.find("0 : 10.0.0.1 . 8080, 1 : 10.0.0.2 . 8080"), std::string::npos);
  r.set_slice("default/web-1", slice({"10.0.0.1", "10.0.0.2"}));
  EXPECT_EQ(r.changes(), "");
}

TEST(Ruleset, TerminatingEndpointsServeOnlyWhenThereIsNoOther) {
  Ruleset r("pintle-test", "n1");
  r.set_service("default/web", service("10.96.0.9"));
  r.set_slice("default/web-1", slice({"10.0.0.1"}, {"10.0.0.2"}));
  EXPECT_EQ(r.everything().find("10.0.0.2 . 8080"), std::string::npos);
  r.set_slice("default/web-1", slice({}, {"10.0.0.2"}));
  EXPECT_NE(r.changes().find("dnat ip to 10.0.0.2:8080"), std::string::npos);
}

TEST(Ruleset, NothingButAddressesGetsIntoACommand) {
  Ruleset r("pintle-test", "n1");
  r.set_service("default/web", service("10.96.0.9"));
  r.set_slice("default/web-1", slice({"10.0.0.1 }; flush ruleset"}));
  EXPECT_EQ(r.everything().find("flush ruleset"), std::string::npos);
}

TEST(Ruleset, WhatVanishedDuringAResyncGoes) {
  Ruleset r("pintle-test", "n1");
  r.set_service("default/web", service("10.96.0.9"));
  r.set_slice("default/web-1", slice({"10.0.0.1"}));
  (void)r.everything();
  r.begin_resync();
  r.end_resync();
  EXPECT_NE(r.changes().find("delete element ip pintle-test service-ips { 10.96.0.9 . tcp . 80 }"), std::string::npos);
  EXPECT_EQ(r.services(), 0u);
}

// The kernel takes what we write: every state and every step between them, in a network namespace of its own.
TEST(Ruleset, TheKernelTakesEveryStep) {
  if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs root for a network namespace";
  PacketFilter filter;
  Ruleset r("pintle-test", "n1");
  const auto step = [&](const std::string& commands) {
    auto result = filter.apply(commands);
    EXPECT_TRUE(result.ok()) << result.error().text << "\n" << commands;
  };
  step(r.everything());
  r.set_service("default/web", service("10.96.0.9"));
  step(r.changes());  // refused: no endpoints
  r.set_slice("default/web-1", slice({"10.0.0.1"}));
  step(r.changes());
  r.set_slice("default/web-1", slice({"10.0.0.1", "10.0.0.2", "10.0.0.3"}));
  step(r.changes());
  r.set_service("default/web", service("10.96.0.9", R"(,"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":60}})"));
  step(r.changes());
  r.set_slice("default/web-1", slice({"10.0.0.2"}));
  step(r.changes());
  r.set_service("default/web", service("10.96.0.9", R"(,"externalTrafficPolicy":"Local","externalIPs":["192.0.2.9"])"));
  step(r.changes());
  r.set_bridges({"172.17.0.0/16"});
  step(r.changes());
  step(r.everything());
  r.set_service("default/web", {});
  step(r.changes());
  step(r.removal());
}

}  // namespace
}  // namespace pintle::service_proxy

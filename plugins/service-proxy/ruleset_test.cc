#include "ruleset.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "flows.h"
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
  EXPECT_EQ(change.find(" service-ips "), std::string::npos) << "the way to the chains stays: " << change;
  EXPECT_EQ(change.find(" node-ports "), std::string::npos) << change;
  EXPECT_EQ(change.find("delete "), std::string::npos) << change;
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

TEST(Ruleset, WhatANewListDoesNotHoldGoes) {
  Ruleset r("pintle-test", "n1");
  r.set_service("default/web", service("10.96.0.9"));
  r.set_slice("default/web-1", slice({"10.0.0.1"}));
  (void)r.everything();
  r.keep_slices({"default/web-1"});
  EXPECT_EQ(r.changes(), "") << "a list of the one kind says nothing about the other";
  r.keep_services({});
  EXPECT_NE(r.changes().find("delete element ip pintle-test service-ips { 10.96.0.9 . tcp . 80 }"), std::string::npos);
  EXPECT_EQ(r.services(), 0u);
  EXPECT_EQ(r.endpoints(), 0u);
}

TEST(Ruleset, WhatIsNoAddressDoesNotSpoilTheTransaction) {
  Ruleset r("pintle-test", "n1");
  r.set_service("default/web", service("10.96.0.9", R"(,"externalIPs":["300.1.1.1","1.2.3.4.5","1.2.3.4"])"));
  r.set_slice("default/web-1", slice({"10.0.0.999", "10.0.0.1"}));
  const std::string all = r.everything();
  EXPECT_EQ(all.find("999"), std::string::npos);
  EXPECT_EQ(all.find("300.1"), std::string::npos);
  EXPECT_NE(all.find("1.2.3.4 . tcp . 80 : goto ext-"), std::string::npos);
}

Value other(const char* ip, const char* more) {
  Value s = service(ip, more);
  s.make("metadata.name") = "other";
  s.make("spec").set("ports").make_array()[0].set("nodePort", 30081);
  return s;
}

TEST(Ruleset, AnAddressIsTheFirstOnesUntilItLetsGo) {
  Ruleset r("pintle-test", "n1");
  r.set_service("default/web", service("10.96.0.9", R"(,"externalIPs":["192.0.2.9"])"));
  r.set_slice("default/web-1", slice({"10.0.0.1"}));
  (void)r.everything();
  r.set_service("default/other", other("10.96.0.10", R"(,"externalIPs":["192.0.2.9"])"));
  EXPECT_EQ(r.changes().find("192.0.2.9"), std::string::npos);
  auto news = r.take_news();
  ASSERT_EQ(news.conflicts.size(), 1u);
  EXPECT_NE(news.conflicts[0].find("default/other cannot have 192.0.2.9 . tcp . 80: default/web"), std::string::npos) << news.conflicts[0];
  r.set_service("default/web", service("10.96.0.9"));
  const std::string moved = r.changes();
  EXPECT_NE(moved.find("delete element ip pintle-test service-ips { 192.0.2.9 . tcp . 80 }"), std::string::npos);
  EXPECT_NE(moved.find("add element ip pintle-test refused-ips { 192.0.2.9 . tcp . 80 }"), std::string::npos) << "it has no endpoints";
}

constexpr char kAffinity[] = R"(,"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":60}})";

TEST(Ruleset, ClientsKeepTheirEndpointWhenOthersCome) {
  Ruleset r("pintle-test", "n1");
  r.set_service("default/web", service("10.96.0.9", kAffinity));
  r.set_slice("default/web-1", slice({"10.0.0.1", "10.0.0.2"}));
  (void)r.everything();
  r.set_slice("default/web-1", slice({"10.0.0.1", "10.0.0.3"}));
  const std::string change = r.changes();
  const auto count = [&](const std::string& what) {
    size_t n = 0;
    for (size_t at = 0; (at = change.find(what, at)) != std::string::npos; ++at) ++n;
    return n;
  };
  EXPECT_EQ(count("delete set ip pintle-test aff-"), 1u) << change;
  EXPECT_EQ(count("add set ip pintle-test aff-"), 1u) << change;
}

TEST(Ruleset, SaysWhichUdpFlowsMayGoOn) {
  Ruleset r("pintle-test", "n1");
  Value s = service("10.96.0.9");
  s.make("spec").set("ports").make_array()[0].set("protocol", "UDP");
  Value e = slice({"10.0.0.1"});
  e.set("ports").make_array()[0].set("protocol", "UDP");
  r.set_service("default/web", s);
  r.set_slice("default/web-1", e);
  (void)r.everything();
  const auto news = r.take_news();
  ASSERT_EQ(news.udp.size(), 2u);
  EXPECT_EQ(news.udp[0].addresses, std::set<std::string>{"10.96.0.9"});
  EXPECT_EQ(news.udp[0].endpoints, std::set<std::string>{"10.0.0.1 . 8080"});
  EXPECT_EQ(news.udp[1].port, 30080);
  r.set_service("default/web", {});
  (void)r.changes();
  EXPECT_TRUE(r.take_news().udp.at(0).endpoints.empty());
}

TEST(Ruleset, SaysWhichEndpointsHaveEnded) {
  Ruleset r("pintle-test", "n1");
  using Ended = std::set<std::string>;
  const auto ended = [&r] {
    Ended out;
    for (const auto& e : r.take_news().ended) {
      EXPECT_EQ(e.reached_at, (std::set<std::pair<std::string, uint16_t>>{{"10.96.0.9", uint16_t{80}}, {"", uint16_t{30080}}}));
      if (!r.lists(e)) out.insert(e.endpoint);
    }
    return out;
  };
  r.set_service("default/web", service("10.96.0.9"));
  r.set_slice("default/web-1", slice({"10.0.0.1", "10.0.0.2", "10.0.0.3"}));
  r.set_slice("default/web-2", slice({}, {"10.0.0.3"}));
  r.set_slice("default/web-1", slice({"10.0.0.1"}, {"10.0.0.2", "10.0.0.3"}));
  EXPECT_EQ(ended(), Ended{}) << "one that terminates is there";
  r.set_slice("default/web-1", slice({}));
  EXPECT_EQ(ended(), (Ended{"10.0.0.2 . 8080"})) << "the first may live on elsewhere, another slice has the third";
  r.set_slice("default/web-2", {});
  EXPECT_EQ(ended(), Ended{}) << "the pods of a Service that is deleted may live on";
  r.set_slice("default/web-1", slice({}, {"10.0.0.4"}));
  r.set_slice("default/web-1", slice({}));
  r.set_slice("default/web-1", slice({"10.0.0.4"}));
  EXPECT_EQ(ended(), Ended{}) << "the address is another pod's already";
  Value foreign = slice({}, {"10.0.0.4"});
  foreign.make("metadata").erase("labels");
  r.set_slice("evil/own", foreign);
  foreign.set("endpoints").make_array().clear();
  r.set_slice("evil/own", foreign);
  EXPECT_EQ(ended(), Ended{}) << "a slice of no Service ends nobody's connections";
}

// On connection tracking's own table, in a network namespace of its own.
TEST(Flows, OnlyThoseThroughTheServiceToWhatHasEndedAreForgotten) {
  if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs root for a network namespace";
  const auto plant = [](const std::string& what) { ASSERT_EQ(std::system(("conntrack -I -s 10.9.0.1 -t 60 " + what + " >/dev/null 2>&1").c_str()), 0) << what; };
  const auto tcp = [&](int port, const std::string& to, const std::string& endpoint) {
    plant("-p tcp --state ESTABLISHED -u SEEN_REPLY,ASSURED --sport " + std::to_string(port) + " -d " + to + " --dport 80 --dst-nat " + endpoint);
  };
  const auto left = [] {
    std::string out;
    FILE* p = popen("conntrack -L 2>/dev/null | grep -o 'sport=[0-9]* ' | sed -n 'p;n'", "r");
    for (char line[64]; fgets(line, sizeof line, p);) out += std::string(line).substr(6, 4) + " ";
    pclose(p);
    return out;
  };
  tcp(5001, "10.96.0.9", "10.0.0.2:8080");   // what has ended
  tcp(5002, "10.96.0.9", "10.0.0.1:8080");   // another endpoint
  tcp(5003, "10.96.0.77", "10.0.0.2:8080");  // another Service, or somebody else's translation
  std::vector<EndedEndpoint> ended{{"default/web", "10.0.0.2 . 8080", {{"10.96.0.9", uint16_t{80}}}}};
  auto forgotten = forget_tcp_flows(ended);
  ASSERT_TRUE(forgotten.ok()) << forgotten.error().text;
  EXPECT_EQ(*forgotten, 1u);
  EXPECT_EQ(left().find("5001"), std::string::npos);
  EXPECT_NE(left().find("5002"), std::string::npos) << left();
  EXPECT_NE(left().find("5003"), std::string::npos) << left();
  // Many at once are looked for in another way.
  for (int i = 10; i < 30; ++i) ended.push_back({"default/web", "10.0.0." + std::to_string(i) + " . 8080", {{"10.96.0.9", uint16_t{80}}}});
  tcp(5004, "10.96.0.9", "10.0.0.29:8080");
  forgotten = forget_tcp_flows(ended);
  ASSERT_TRUE(forgotten.ok()) << forgotten.error().text;
  EXPECT_EQ(*forgotten, 1u);
  // A client that asked before there was a Service is not translated; it would go on like that.
  plant("-p udp --sport 6001 -d 10.96.0.53 --dport 53");
  plant("-p udp --sport 6002 -d 10.96.0.53 --dport 53 --dst-nat 10.0.0.3:53");
  forgotten = forget_udp_flows({{{"10.96.0.53"}, 53, {"10.0.0.3 . 53"}}});
  ASSERT_TRUE(forgotten.ok()) << forgotten.error().text;
  EXPECT_EQ(*forgotten, 1u);
  EXPECT_NE(left().find("6002"), std::string::npos) << left();
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
  r.set_slice("default/web-1", slice({"10.0.0.2", "10.0.0.4"}));  // one stays, two go, one comes
  step(r.changes());
  r.set_slice("default/web-1", slice({"10.0.0.2"}));
  step(r.changes());
  r.set_service("default/other", other("10.96.0.10", R"(,"externalIPs":["192.0.2.9","192.0.2.9","10.96.0.10"])"));
  step(r.changes());
  r.set_service("default/web", service("10.96.0.9", R"(,"externalTrafficPolicy":"Local","externalIPs":["192.0.2.9"])"));
  step(r.changes());
  r.set_bridges({"172.17.0.0/16"});
  step(r.changes());
  step(r.everything());
  r.set_service("default/web", {});
  step(r.changes());  // the external address goes to the other one
  // A successor takes the table over: nothing of ours gets in or takes it away any more.
  Ruleset successor("pintle-test", "n1");
  successor.set_holder(2);
  step(successor.everything());
  r.set_service("default/web", service("10.96.0.9"));
  EXPECT_FALSE(filter.apply(r.changes()).ok());
  EXPECT_FALSE(filter.apply(r.removal()).ok());
  successor.set_service("default/web", service("10.96.0.9"));
  step(successor.changes());
  step(successor.removal());
  EXPECT_FALSE(filter.apply("list table ip pintle-test").ok());
}

// One Service more among thousands: few lines and little time, however many there are.
TEST(Ruleset, TheCostIsTheChanges) {
  if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs root for a network namespace";
  PacketFilter filter;
  Ruleset r("pintle-test", "n1");
  const auto add = [&](int i) {
    const std::string name = "s" + std::to_string(i);
    Value s = service(("10.96." + std::to_string(i / 200) + "." + std::to_string(i % 200 + 1)).c_str());
    s.make("metadata.name") = name;
    s.make("spec").set("ports").make_array()[0].set("nodePort", 30000 + i);
    r.set_service("default/" + name, s);
    Value e = slice({"10.0.0.1", "10.0.0.2", "10.0.0.3"});
    e.make("metadata.labels").set("kubernetes.io/service-name", name);
    r.set_slice("default/" + name + "-1", e);
  };
  const auto timed = [&](const std::string& commands) {
    const auto from = std::chrono::steady_clock::now();
    auto result = filter.apply(commands);
    EXPECT_TRUE(result.ok()) << result.error().text;
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - from).count();
  };
  const auto one_more = [&](int i) {
    add(i);
    const std::string change = r.changes();
    EXPECT_LT(std::count(change.begin(), change.end(), '\n'), 15) << change;
    return timed(change);
  };
  (void)timed(r.everything());
  const double first = one_more(2400);
  for (int i = 0; i < 2000; ++i) add(i);
  const double all = timed(r.changes());
  double least = one_more(2401);
  for (int i = 2402; i < 2406; ++i) least = std::min(least, one_more(i));
  std::printf("one Service alone: %.1f ms; 2000 at once: %.0f ms; one more: %.1f ms\n", first, all, least);
  EXPECT_LT(least, all / 10);
}

}  // namespace
}  // namespace pintle::service_proxy

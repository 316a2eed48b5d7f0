// The whole agent on runtime-sim, on a virtual clock.
#include <gtest/gtest.h>

#include <set>

#include "pintle/sdk.h"
#include "pintle/testing/harness.h"
#include "pintle/timestamp.h"

namespace {

using pintle::kSecond;

using pintle::json::Value;
using pintle::testing::Harness;

class NodeAgent : public ::testing::Test {
 protected:
  void begin(const std::string& config = R"({"simulated":{"count":2}})", const std::string& sim = "{}") {
    h = std::make_unique<Harness>(pintle::testing::HarnessOptions{
        .library = PINTLE_PLUGIN_UNDER_TEST, .config = config, .peers = {{"runtime.sim", PINTLE_RUNTIME_SIM, sim}}});
    ASSERT_TRUE(h->ok().ok()) << h->ok().error().text;
    ASSERT_TRUE(h->start().ok());
    auto active = h->activate("node-agent.*");
    ASSERT_TRUE(active.ok()) << active.error().text;
  }
  static Value pod(const std::string& name, Value spec = Value::object(), Value annotations = Value::object()) {
    Value s = std::move(spec);
    if (!s.contains("nodeName")) s.set("nodeName", "sim-1");
    if (!s.contains("containers")) s.set("containers", Value::array({Value::object({{"name", "c"}, {"image", "web:1"}})}));
    return Value::object({{"apiVersion", "v1"}, {"kind", "Pod"},
                          {"metadata", Value::object({{"name", name}, {"namespace", "default"}, {"uid", "uid-" + name}, {"annotations", std::move(annotations)}})},
                          {"spec", std::move(s)}, {"status", Value::object({{"phase", "Pending"}})}});
  }
  Value get(const std::string& name) const { return h->get("pods", "default", name); }
  std::string phase(const std::string& name) const { return std::string(get(name).at("status.phase").as_string()); }
  bool is(const std::string& name, const std::string& condition) const {
    const Value p = get(name);
    for (const auto& c : p["status"]["conditions"].items())
      if (c["type"].as_string() == condition) return c["status"].as_string() == "True";
    return false;
  }
  Value container(const std::string& name, size_t i = 0) const { return get(name)["status"]["containerStatuses"][i]; }
  bool event(const std::string& reason, const std::string& text = "") const {
    for (const auto& e : h->list("events"))
      if (e["reason"].as_string() == reason && e["message"].as_string().find(text) != std::string_view::npos) return true;
    return false;
  }
  void remove(const std::string& name, int64_t grace = 30) {
    Value p = get(name);
    p.find("metadata")->set("deletionTimestamp", "2030-01-01T00:00:00Z");
    p.find("metadata")->set("deletionGracePeriodSeconds", grace);
    h->put("pods", p);
  }
  bool until(const std::function<bool()>& done, uint64_t seconds = 30) { return h->run_until(done, seconds * kSecond); }
  std::string why(const std::string& name) const { return get(name).dump(true); }
  std::unique_ptr<Harness> h;
};

TEST_F(NodeAgent, RegistersItsNodesAndKeepsTheirLeasesFresh) {
  begin();
  ASSERT_TRUE(until([&] { return h->list("leases.coordination.k8s.io").size() == 2; }));
  const Value n = h->get("nodes", "", "sim-1");
  EXPECT_EQ(n.at("status.nodeInfo.kubeletVersion").as_string(), "v1.35.0");
  EXPECT_EQ(n.at("metadata.labels[kubernetes.io/hostname]").as_string(), "sim-1");
  EXPECT_EQ(n.at("spec.taints[0].key").as_string(), "pintle.dev/simulated");
  ASSERT_TRUE(until([&] {
    const Value node = h->get("nodes", "", "sim-1");
    for (const auto& c : node["status"]["conditions"].items())
      if (c["type"].as_string() == "Ready") return c["status"].as_string() == "True";
    return false;
  })) << n.dump(true);
  const std::string before = h->get("leases.coordination.k8s.io", "kube-node-lease", "sim-2").at("spec.renewTime").as_string().data();
  h->run_for(25 * kSecond);
  EXPECT_NE(h->get("leases.coordination.k8s.io", "kube-node-lease", "sim-2").at("spec.renewTime").as_string(), before);
}

TEST_F(NodeAgent, RunsAPodAndSaysSo) {
  begin();
  h->put("pods", pod("web"));
  ASSERT_TRUE(until([&] { return is("web", "Ready"); })) << why("web");
  const Value p = get("web");
  EXPECT_EQ(p.at("status.phase").as_string(), "Running");
  EXPECT_FALSE(p.at("status.podIP").as_string().empty());
  EXPECT_EQ(p.at("status.qosClass").as_string(), "BestEffort");
  EXPECT_TRUE(container("web").at("state.running").is_object());
  EXPECT_TRUE(container("web")["containerID"].as_string().starts_with("sim://"));
  h->run_for(kSecond);
  EXPECT_TRUE(event("Started", "Started container c"));
  EXPECT_TRUE(event("Pulled"));
}

TEST_F(NodeAgent, WritesTheStatusOnlyWhenItChanges) {
  begin();
  h->put("pods", pod("web"));
  ASSERT_TRUE(until([&] { return is("web", "Ready"); }));
  h->run_for(kSecond);
  const Value before = get("web");
  h->run_for(120 * kSecond);
  EXPECT_EQ(get("web")["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
}

TEST_F(NodeAgent, BacksOffFromAContainerThatKeepsFailing) {
  begin();
  h->put("pods", pod("bad", Value::object(), Value::object({{"sim.pintle.dev/exit-after", "1s"}, {"sim.pintle.dev/exit-code", "3"}})));
  ASSERT_TRUE(until([&] { return container("bad").at("state.waiting.reason").as_string() == "CrashLoopBackOff"; }, 60)) << why("bad");
  EXPECT_EQ(container("bad").at("lastState.terminated.exitCode").as_int(), 3);
  EXPECT_EQ(container("bad")["restartCount"].as_int(), 1) << "the first restart is immediate";
  EXPECT_EQ(phase("bad"), "Running");
  ASSERT_TRUE(until([&] { return container("bad")["restartCount"].as_int() == 3; }, 120)) << why("bad");
  EXPECT_TRUE(event("BackOff", "restarting failed container c"));
}

TEST_F(NodeAgent, AJobLikePodSucceedsAndStaysSo) {
  begin();
  h->put("pods", pod("job", Value::object({{"restartPolicy", "Never"}}), Value::object({{"sim.pintle.dev/exit-after", "2s"}})));
  ASSERT_TRUE(until([&] { return phase("job") == "Succeeded"; })) << why("job");
  EXPECT_EQ(container("job").at("state.terminated.reason").as_string(), "Completed");
  h->run_for(60 * kSecond);
  EXPECT_EQ(phase("job"), "Succeeded");
  EXPECT_EQ(container("job")["restartCount"].as_int(), 0);
}

TEST_F(NodeAgent, InitContainersRunOneAfterTheOtherBeforeTheRest) {
  begin(R"({"simulated":{"count":2}})", R"({"startLatencyMs":500})");
  h->put("pods", pod("p", Value::object({{"initContainers", Value::array({Value::object({{"name", "i1"}, {"image", "a:1"}, {"command", Value::array({"sleep", "3"})}}),
                                                                           Value::object({{"name", "side"}, {"image", "a:1"}, {"restartPolicy", "Always"}}),
                                                                           Value::object({{"name", "i2"}, {"image", "a:1"}})})}})));
  h->run_for(2 * kSecond);
  EXPECT_EQ(phase("p"), "Pending");
  EXPECT_FALSE(is("p", "Initialized")) << why("p");
  EXPECT_EQ(container("p").at("state.waiting.reason").as_string(), "PodInitializing");
  ASSERT_TRUE(until([&] { return is("p", "Ready"); })) << why("p");
  const Value p = get("p");
  EXPECT_EQ(p.at("status.initContainerStatuses[0].state.terminated.exitCode").as_int(-1), 0);
  EXPECT_TRUE(p.at("status.initContainerStatuses[1].state.running").is_object());
  EXPECT_EQ(p.at("status.phase").as_string(), "Running");
}

TEST_F(NodeAgent, ReadinessFollowsItsProbe) {
  begin();
  Value c = Value::object({{"name", "c"}, {"image", "web:1"}, {"readinessProbe", Value::object({{"httpGet", Value::object({{"port", 80}})}, {"periodSeconds", 1}})}});
  h->put("pods", pod("p", Value::object({{"containers", Value::array({c})}}), Value::object({{"sim.pintle.dev/ready-after", "10s"}})));
  ASSERT_TRUE(until([&] { return phase("p") == "Running"; })) << why("p");
  EXPECT_FALSE(is("p", "Ready"));
  ASSERT_TRUE(until([&] { return is("p", "Ready"); }, 30)) << why("p");
  EXPECT_TRUE(event("Unhealthy", "Readiness probe failed"));
}

TEST_F(NodeAgent, ALivenessProbeThatFailsRestartsTheContainer) {
  begin();
  Value c = Value::object({{"name", "c"}, {"image", "web:1"}, {"livenessProbe", Value::object({{"exec", Value::object({{"command", Value::array({"false"})}})}, {"periodSeconds", 1}, {"failureThreshold", 2}})}});
  h->put("pods", pod("p", Value::object({{"containers", Value::array({c})}})));
  ASSERT_TRUE(until([&] { return container("p")["restartCount"].as_int() >= 1; }, 60)) << why("p");
  EXPECT_TRUE(event("Killing", "failed liveness probe, will be restarted"));
}

TEST_F(NodeAgent, DeletionStopsRemovesAndForgets) {
  begin();
  h->put("pods", pod("p"));
  ASSERT_TRUE(until([&] { return is("p", "Ready"); }));
  remove("p");
  ASSERT_TRUE(until([&] { return get("p").is_null(); })) << why("p");
  EXPECT_TRUE(event("Killing", "Stopping container c"));
  // The room and the address are free again.
  h->put("pods", pod("p2"));
  ASSERT_TRUE(until([&] { return is("p2", "Ready"); }));
}

TEST_F(NodeAgent, TheGraceIsGivenAndThenItKills) {
  begin();
  h->put("pods", pod("p", Value::object(), Value::object({{"sim.pintle.dev/stop-after", "600s"}})));
  ASSERT_TRUE(until([&] { return is("p", "Ready"); }));
  const uint64_t before = h->now();
  remove("p", 7);
  ASSERT_TRUE(until([&] { return get("p").is_null(); }, 60)) << why("p");
  EXPECT_EQ((h->now() - before) / kSecond, 7u);
}

TEST_F(NodeAgent, WaitsForServiceProxiesBeforeItStopsAnything) {
  begin();
  h->put("pods", pod("p"));
  ASSERT_TRUE(until([&] { return is("p", "Ready"); }));
  const auto slice = [&](bool ready) {
    h->put("endpointslices.discovery.k8s.io",
           Value::object({{"metadata", Value::object({{"name", "s"}, {"namespace", "default"}})},
                          {"endpoints", Value::array({Value::object({{"targetRef", Value::object({{"uid", "uid-p"}})}, {"conditions", Value::object({{"ready", ready}})}})})}}));
  };
  const auto proxy = [&](int64_t revision) {
    h->put("serviceproxies.pintle.dev", Value::object({{"metadata", Value::object({{"name", "n"}})}, {"status", Value::object({{"syncedRevision", revision}})}}));
  };
  slice(true);
  proxy(0);
  remove("p");
  h->run_for(kSecond);
  EXPECT_FALSE(event("Killing")) << "the slice still sends traffic";
  slice(false);
  h->run_for(kSecond);
  EXPECT_FALSE(event("Killing")) << "the proxy has not confirmed";
  proxy(std::stoll(std::string(h->get("endpointslices.discovery.k8s.io", "default", "s").at("metadata.resourceVersion").as_string())));
  h->run_for(kSecond / 2);
  EXPECT_TRUE(event("Killing"));
  ASSERT_TRUE(until([&] { return get("p").is_null(); }));
}

TEST_F(NodeAgent, AProxyThatNeverConfirmsHoldsAPodForFiveSeconds) {
  begin();
  h->put("pods", pod("p"));
  ASSERT_TRUE(until([&] { return is("p", "Ready"); }));
  h->put("endpointslices.discovery.k8s.io", Value::object({{"metadata", Value::object({{"name", "s"}, {"namespace", "default"}})}, {"endpoints", Value::array()}}));
  h->put("serviceproxies.pintle.dev", Value::object({{"metadata", Value::object({{"name", "n"}})}, {"status", Value::object({{"syncedRevision", 0}})}}));
  remove("p");
  h->run_for(4 * kSecond);
  EXPECT_FALSE(get("p").is_null());
  ASSERT_TRUE(until([&] { return get("p").is_null(); }, 3));
}

TEST_F(NodeAgent, AForcedDeletionIsCleanedUpToo) {
  begin();
  h->put("pods", pod("p", Value::object(), Value::object({{"sim.pintle.dev/log-every", "1s"}})));
  ASSERT_TRUE(until([&] { return is("p", "Ready"); }));
  h->remove("pods", "default", "p");
  h->run_for(10 * kSecond);
  h->put("pods", pod("q"));
  ASSERT_TRUE(until([&] { return is("q", "Ready"); }));
  EXPECT_TRUE(get("p").is_null());
}

TEST_F(NodeAgent, AReplacedAgentAdoptsWhatRuns) {
  begin();
  h->put("pods", pod("a"));
  h->put("pods", pod("b", Value::object(), Value::object({{"sim.pintle.dev/exit-after", "3s"}})));
  ASSERT_TRUE(until([&] { return is("a", "Ready") && container("b")["restartCount"].as_int() == 1; }, 60));
  h->run_for(kSecond / 10);
  const Value before = container("a");
  ASSERT_TRUE(h->replace().ok());
  ASSERT_TRUE(h->start().ok());
  ASSERT_TRUE(h->activate("node-agent.*", 2).ok());
  h->run_for(20 * kSecond);
  EXPECT_EQ(container("a"), before);
  EXPECT_TRUE(is("a", "Ready"));
  EXPECT_GE(container("b")["restartCount"].as_int(), 2);
}

// A node or pod that is not ready for a moment is out of service for everybody: the next agent says so only after it has looked.
TEST_F(NodeAgent, WhatIsReadyStaysSoThroughAReplacement) {
  h = std::make_unique<Harness>(pintle::testing::HarnessOptions{.library = PINTLE_PLUGIN_UNDER_TEST,
                                                                .config = R"({"simulated":{"count":1}})",
                                                                .peers = {{"runtime.sim", PINTLE_RUNTIME_SIM, "{}"}, {"runtime.other", PINTLE_RUNTIME_SIM, "{}"}}});
  ASSERT_TRUE(h->ok().ok()) << h->ok().error().text;
  ASSERT_TRUE(h->start().ok());
  ASSERT_TRUE(h->activate("node-agent.*").ok());
  h->put("runtimeclasses.node.k8s.io", Value::object({{"metadata", Value::object({{"name", "other"}})}, {"handler", "other"}}));
  const auto with = [](const char* key, Value probe) {
    return Value::object({{"containers", Value::array({Value::object({{"name", "c"}, {"image", "web:1"}, {key, std::move(probe)}})})}});
  };
  const Value slow = Value::object({{"exec", Value::object({{"command", Value::array({"true"})}})}, {"initialDelaySeconds", 5}});
  h->put("pods", pod("plain"));
  h->put("pods", pod("probed", with("readinessProbe", slow)));
  h->put("pods", pod("startup", with("startupProbe", slow)));
  h->put("pods", pod("other", Value::object({{"runtimeClassName", "other"}})));
  const auto all = [&] {
    const Value node = h->get("nodes", "", "sim-1");
    for (const auto& c : node["status"]["conditions"].items())
      if (c["type"].as_string() == "Ready" && c["status"].as_string() != "True") return std::string("node: ") + c.dump();
    for (const char* name : {"plain", "probed", "startup", "other"})
      if (!is(name, "Ready")) return why(name);
    return std::string();
  };
  ASSERT_TRUE(until([&] { return all().empty(); }, 60)) << all();
  for (uint64_t epoch = 2; epoch < 5; ++epoch) {
    ASSERT_TRUE(h->replace().ok());
    ASSERT_TRUE(h->start().ok());
    ASSERT_TRUE(h->activate("node-agent.*", epoch).ok());
    std::string unready;
    until([&] { return !(unready = all()).empty(); }, 20);
    EXPECT_EQ(unready, "");
  }
}

// Killed at any moment of a pod's start, the next agent finishes the work and nothing runs twice.
TEST_F(NodeAgent, KilledAtAnyMomentNothingIsStartedTwice) {
  for (int steps = 0; steps < 60; ++steps) {
    SCOPED_TRACE(steps);
    begin();
    h->put("pods", pod("p"));
    int left = steps;
    h->run_until([&] { return left-- <= 0; }, 30 * kSecond);
    ASSERT_TRUE(h->replace().ok());
    ASSERT_TRUE(h->start().ok());
    ASSERT_TRUE(h->activate("node-agent.*", 2).ok());
    ASSERT_TRUE(until([&] { return is("p", "Ready"); })) << why("p");
    EXPECT_EQ(container("p")["restartCount"].as_int(), 0);
    h->run_for(5 * kSecond);
    EXPECT_EQ(container("p")["restartCount"].as_int(), 0);
  }
}

TEST_F(NodeAgent, RefusesWhatDoesNotFit) {
  begin(R"({"simulated":{"count":1,"cpu":"1"}})");
  const Value c = Value::object({{"name", "c"}, {"image", "web:1"}, {"resources", Value::object({{"requests", Value::object({{"cpu", "600m"}})}})}});
  h->put("pods", pod("a", Value::object({{"containers", Value::array({c})}})));
  ASSERT_TRUE(until([&] { return is("a", "Ready"); }));
  h->put("pods", pod("b", Value::object({{"containers", Value::array({c})}})));
  ASSERT_TRUE(until([&] { return phase("b") == "Failed"; })) << why("b");
  EXPECT_EQ(get("b").at("status.reason").as_string(), "OutOfcpu");
}

// A refusal would have its owner replace it, and the scheduler, for whom the other is gone, send it back: for ever, at one moment.
TEST_F(NodeAgent, WaitsForTheRoomOfAPodThatWasDeletedByForce) {
  begin(R"({"simulated":{"count":1,"cpu":"1"}})");
  const Value c = Value::object({{"name", "c"}, {"image", "web:1"}, {"resources", Value::object({{"requests", Value::object({{"cpu", "600m"}})}})}});
  h->put("pods", pod("a", Value::object({{"containers", Value::array({c})}})));
  ASSERT_TRUE(until([&] { return is("a", "Ready"); }));
  h->remove("pods", "default", "a");
  h->put("pods", pod("b", Value::object({{"containers", Value::array({c})}})));
  EXPECT_TRUE(until([&] { return is("b", "Ready") || phase("b") == "Failed"; })) << why("b");
  EXPECT_EQ(phase("b"), "Running") << why("b");
}

TEST_F(NodeAgent, WhatItCannotDoStaysPendingAndSaysWhy) {
  begin();
  const Value c = Value::object({{"name", "c"}, {"image", "web:1"}, {"livenessProbe", Value::object({{"grpc", Value::object({{"port", 1}})}})}});
  h->put("pods", pod("p", Value::object({{"containers", Value::array({c})}})));
  ASSERT_TRUE(until([&] { return container("p").at("state.waiting.reason").as_string() == "Unsupported"; })) << why("p");
  EXPECT_EQ(phase("p"), "Pending");
  EXPECT_NE(container("p").at("state.waiting.message").as_string().find("livenessProbe.grpc"), std::string_view::npos);
}

TEST_F(NodeAgent, AMissingImageIsToldAndTriedAgain) {
  begin();
  h->put("pods", pod("p", Value::object({{"containers", Value::array({Value::object({{"name", "c"}, {"image", "sim-missing:1"}})})}})));
  ASSERT_TRUE(until([&] { return container("p").at("state.waiting.reason").as_string() == "ImagePullBackOff"; })) << why("p");
  EXPECT_EQ(phase("p"), "Pending");
  EXPECT_TRUE(event("Failed", "Failed to pull image"));
}

TEST_F(NodeAgent, AnImageNameThatIsNoneIsTold) {
  begin();
  h->put("pods", pod("p", Value::object({{"containers", Value::array({Value::object({{"name", "c"}, {"image", "../../../x"}})})}})));
  ASSERT_TRUE(until([&] { return container("p").at("state.waiting.reason").as_string() == "InvalidImageName"; })) << why("p");
  const std::string text = "Failed to apply default image tag \"../../../x\": couldn't parse image name \"../../../x\": invalid reference format";
  EXPECT_EQ(container("p").at("state.waiting.message").as_string(), text);
  EXPECT_TRUE(event("InspectFailed", text));
  h->run_for(60 * kSecond);
  EXPECT_EQ(container("p").at("state.waiting.reason").as_string(), "InvalidImageName");
}

TEST_F(NodeAgent, AMissingConfigMapHoldsThePodUntilItComes) {
  begin();
  const Value c = Value::object({{"name", "c"}, {"image", "web:1"}, {"env", Value::array({Value::object({{"name", "A"}, {"valueFrom", Value::object({{"configMapKeyRef", Value::object({{"name", "cm"}, {"key", "a"}})}})}})})}});
  h->put("pods", pod("p", Value::object({{"containers", Value::array({c})}})));
  ASSERT_TRUE(until([&] { return container("p").at("state.waiting.reason").as_string() == "CreateContainerConfigError"; })) << why("p");
  EXPECT_EQ(container("p").at("state.waiting.message").as_string(), "configmap \"cm\" not found");
  h->put("configmaps", Value::object({{"metadata", Value::object({{"name", "cm"}, {"namespace", "default"}})}, {"data", Value::object({{"a", "1"}})}}));
  ASSERT_TRUE(until([&] { return is("p", "Ready"); }, 5)) << why("p");
}

TEST_F(NodeAgent, ADeadlineEndsAPod) {
  begin();
  h->put("pods", pod("p", Value::object({{"activeDeadlineSeconds", 5}}), Value::object({{"sim.pintle.dev/stop-after", "10s"}})));
  ASSERT_TRUE(until([&] { return is("p", "Ready"); }, 5)) << why("p");
  ASSERT_TRUE(until([&] { return !is("p", "Ready"); }, 7)) << "out of its Services while it is being stopped: " << why("p");
  EXPECT_EQ(phase("p"), "Running");
  ASSERT_TRUE(until([&] { return phase("p") == "Failed"; }, 20)) << why("p");
  EXPECT_EQ(get("p").at("status.reason").as_string(), "DeadlineExceeded");
}

TEST_F(NodeAgent, AContainerThatIsBeingStoppedIsAsReadyAsItSays) {
  begin();
  const auto probe = [](const char* command) { return Value::object({{"exec", Value::object({{"command", Value::array({command})}})}, {"periodSeconds", 1}, {"failureThreshold", 3}}); };
  const Value annotations = Value::object({{"sim.pintle.dev/ready-after", "8s"}, {"sim.pintle.dev/stop-after", "20s"}});
  const auto of = [](Value c) { return Value::object({{"containers", Value::array({std::move(c)})}}); };
  h->put("pods", pod("deleted", of(Value::object({{"name", "c"}, {"image", "web:1"}, {"readinessProbe", probe("true")}})), annotations));
  h->put("pods", pod("killed", of(Value::object({{"name", "c"}, {"image", "web:1"}, {"readinessProbe", probe("true")}, {"livenessProbe", probe("false")}})), annotations));
  ASSERT_TRUE(until([&] { return event("Killing", "failed liveness probe"); }, 7));
  remove("deleted");
  for (const char* name : {"deleted", "killed"}) {
    EXPECT_FALSE(is(name, "Ready")) << why(name);
    ASSERT_TRUE(until([&] { return is(name, "Ready"); }, 10)) << "its readiness is not asked for: " << why(name);
    EXPECT_EQ(container(name)["restartCount"].as_int(), 0);
  }
}

TEST_F(NodeAgent, ChangesThatNobodyWaitsForAreWrittenTogether) {
  begin();
  size_t writes = 0;
  std::string last;
  h->put("pods", pod("p"));
  ASSERT_TRUE(until([&] {
    const std::string now = get("p")["status"].dump();
    if (std::exchange(last, now) != now) ++writes;
    return is("p", "Ready");
  }));
  EXPECT_LE(writes, 3u) << "as it was made, on the way up, ready";
  // What comes alone is written all the same.
  h->put("pods", pod("held", Value::object({{"containers", Value::array({Value::object({{"name", "c"}, {"image", "sim-missing:1"}})})}})));
  ASSERT_TRUE(until([&] { return get("held").at("status.podIP").is_string(); }, 2)) << why("held");
}

TEST_F(NodeAgent, LogsComeThroughTheStream) {
  begin();
  h->put("pods", pod("p"));
  ASSERT_TRUE(until([&] { return is("p", "Ready"); }));
  const auto a = h->call(PINTLE_STREAM, PINTLE_METHOD(pintle_stream, open),
                         Value::object({{"mode", "text"}, {"namespace", "default"}, {"name", "p"}, {"container", "c"}, {"options", Value::object()}}));
  ASSERT_TRUE(a.reply.ok()) << a.reply.error().text;
  ASSERT_FALSE(a.parts.empty());
  EXPECT_NE(a.parts[0].find("c started"), std::string::npos);
}

TEST_F(NodeAgent, AHundredNodesRunOnOneAgent) {
  begin(R"({"simulated":{"count":100}})");
  for (int i = 0; i < 200; ++i) h->put("pods", pod("p" + std::to_string(i), Value::object({{"nodeName", "sim-" + std::to_string(i % 100 + 1)}})));
  std::set<std::string> ips;
  h->run_for(20 * kSecond);
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(is("p" + std::to_string(i), "Ready")) << why("p" + std::to_string(i));
    ips.insert(std::string(get("p" + std::to_string(i)).at("status.podIP").as_string()));
  }
  EXPECT_EQ(ips.size(), 200u);
}

TEST_F(NodeAgent, LeavesNothingBehind) {
  begin();
  h->put("pods", pod("p"));
  ASSERT_TRUE(until([&] { return is("p", "Ready"); }));
  ASSERT_TRUE(h->drain().ok());
  h->stop();
  const Value left = h->left();
  for (const auto& counter : left.members()) EXPECT_EQ(counter.value.as_int(), 0) << counter.key;
}

}  // namespace

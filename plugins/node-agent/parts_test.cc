// The pure parts: environment, requests, status, back-off, files.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "action.h"
#include "agent_config.h"
#include "backoff.h"
#include "endpoint_gate.h"
#include "image_name.h"
#include "pod_env.h"
#include "pod_status.h"
#include "probes.h"
#include "runtime_request.h"
#include "unsupported.h"
#include "volumes.h"

namespace pintle::node_agent {
namespace {

namespace fs = std::filesystem;
using json::Value;

Value js(std::string_view text) {
  auto r = json::parse(text);
  EXPECT_TRUE(r) << r.error;
  return std::move(r.value);
}

Sources with(Value config_map, Value secret = Value()) {
  const auto one = [](Value v) {
    return [v](const std::string& name) -> Result<Value> {
      if (v.is_null() || v["metadata"]["name"].as_string() != name) return Error(PINTLE_NOT_FOUND, "not found");
      return v;
    };
  };
  Sources s;
  s.config_map = one(std::move(config_map));
  s.secret = one(std::move(secret));
  s.pod_ips = {"10.0.0.9"};
  s.host_ip = "192.0.2.1";
  s.allocatable = js(R"({"cpu":"4","memory":"8Gi"})");
  return s;
}

std::string value(const Env& env, std::string_view name) {
  for (const auto& [k, v] : env)
    if (k == name) return v;
  return "<none>";
}

TEST(Expand, KnowsNamesAndLeavesTheRest) {
  const Env env = {{"A", "1"}, {"B", "2"}};
  EXPECT_EQ(expand("$(A)-$(B)-$(C)-$$(A)-$A-$", env), "1-2-$(C)-$(A)-$A-$");
  EXPECT_EQ(expand("$(A", env), "$(A");
}

TEST(PodEnv, TakesEverySourceInKubernetesOrder) {
  const Value pod = js(R"j({"metadata":{"name":"p","namespace":"ns","uid":"u","labels":{"a":"x"}},"spec":{"nodeName":"n","containers":[{"name":"c",
    "resources":{"limits":{"cpu":"1500m"}},
    "envFrom":[{"configMapRef":{"name":"cm"},"prefix":"P_"},{"secretRef":{"name":"gone","optional":true}}],
    "env":[{"name":"X","value":"$(P_k)!"},{"name":"P_o","value":"mine"},
           {"name":"N","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['a']"}}},
           {"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
           {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},
           {"name":"MEM","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
           {"name":"S","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}},
           {"name":"O","valueFrom":{"configMapKeyRef":{"name":"cm","key":"absent","optional":true}}},
           {"name":"U","value":"$(WEB_SERVICE_HOST)"}]}]}})j");
  Sources from = with(js(R"({"metadata":{"name":"cm"},"data":{"k":"v","o":"theirs"}})"), js(R"({"metadata":{"name":"s"},"data":{"k":"aGk="}})"));
  from.services = {js(R"({"metadata":{"name":"web"},"spec":{"clusterIP":"10.96.0.1","ports":[{"name":"http","port":80,"protocol":"TCP"}]}})")};
  const auto env = container_env(pod, pod["spec"]["containers"][0], from);
  ASSERT_TRUE(env.ok()) << env.error().text;
  EXPECT_EQ(value(*env, "X"), "v!");
  EXPECT_EQ(value(*env, "P_o"), "mine");
  EXPECT_EQ(value(*env, "N"), "x");
  EXPECT_EQ(value(*env, "IP"), "10.0.0.9");
  EXPECT_EQ(value(*env, "CPU"), "2");
  EXPECT_EQ(value(*env, "MEM"), "8192");
  EXPECT_EQ(value(*env, "S"), "hi");
  EXPECT_EQ(value(*env, "O"), "<none>");
  EXPECT_EQ(value(*env, "U"), "10.96.0.1");
  EXPECT_EQ(value(*env, "WEB_PORT_80_TCP"), "tcp://10.96.0.1:80");
  EXPECT_EQ(value(*env, "WEB_SERVICE_PORT_HTTP"), "80");
}

TEST(PodEnv, NamesWhatIsMissing) {
  const Value pod = js(R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]}]}})");
  const auto env = container_env(pod, pod["spec"]["containers"][0], with(Value()));
  ASSERT_FALSE(env.ok());
  EXPECT_EQ(env.error().text, "secret \"s\" not found");
}

TEST(Backoff, DoublesFromTenSecondsAndForgetsAfterTenMinutes) {
  constexpr uint64_t s = 1'000'000'000;
  Backoff b;
  uint64_t now = 1000 * s;
  EXPECT_EQ(b.remaining(now, now), 0u);
  b.tried(now);
  EXPECT_EQ(b.remaining(now + s, now + s), 10 * s);
  EXPECT_EQ(b.remaining(now + s, now + 11 * s), 0u);
  for (int i = 0; i < 8; ++i) b.tried(now);
  EXPECT_EQ(b.delay(), 300 * s);
  EXPECT_EQ(b.remaining(now + 700 * s, now + 700 * s), 0u) << "ran for longer than ten minutes";
  EXPECT_EQ(b.delay(), 0u);
}

TEST(ProbeJudge, NeedsItsThresholdsInARow) {
  ProbeJudge j(2, 3, false);
  EXPECT_FALSE(j.add(true));
  EXPECT_FALSE(j.add(false));
  EXPECT_FALSE(j.add(true));
  EXPECT_TRUE(j.add(true));
  EXPECT_TRUE(j.verdict());
  EXPECT_FALSE(j.add(false));
  EXPECT_FALSE(j.add(false));
  EXPECT_TRUE(j.add(false));
  EXPECT_FALSE(j.verdict());
}

TEST(PodSpec, QualityOfServiceFollowsRequestsAndLimits) {
  EXPECT_EQ(qos_class(js(R"({"spec":{"containers":[{"name":"c"}]}})")), "BestEffort");
  EXPECT_EQ(qos_class(js(R"({"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]}})")), "Guaranteed");
  EXPECT_EQ(qos_class(js(R"({"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]}})")), "Burstable");
  EXPECT_EQ(oom_score_adj("Guaranteed", 0, 1), -997);
  EXPECT_EQ(oom_score_adj("Burstable", 1 << 20, 4 << 20), 750);
}

TEST(PodSpec, RequestsTakeTheLargerOfInitAndRest) {
  const auto r = pod_requests(js(R"({"spec":{"initContainers":[{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"100m"}}},
    {"name":"i","resources":{"requests":{"cpu":"1"}}}],"containers":[{"name":"a","resources":{"requests":{"cpu":"200m","memory":"1Mi"}}}]}})"));
  EXPECT_EQ(r.at("cpu"), 1100);
  EXPECT_EQ(r.at("memory"), 1 << 20);
}

TEST(PodSpec, ThePullPolicyFollowsTheTag) {
  EXPECT_EQ(pull_policy(js(R"({"image":"web"})")), "Always");
  EXPECT_EQ(pull_policy(js(R"({"image":"r:5000/web"})")), "Always");
  EXPECT_EQ(pull_policy(js(R"({"image":"web:1"})")), "IfNotPresent");
  EXPECT_EQ(pull_policy(js(R"({"image":"web@sha256:00"})")), "IfNotPresent");
}

TEST(ImageName, ShortAndLongNamesAreTheSame) {
  EXPECT_EQ(full_image_name("busybox"), "docker.io/library/busybox:latest");
  EXPECT_EQ(full_image_name("a/b:1"), "docker.io/a/b:1");
  EXPECT_EQ(full_image_name("localhost:5000/b"), "localhost:5000/b:latest");
  const Value auth = credentials_for(js(R"({"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"ghcr.io":{"username":"x","password":"y"}}})"), "busybox");
  EXPECT_EQ(auth["username"].as_string(), "u");
  EXPECT_EQ(auth["password"].as_string(), "p");
  EXPECT_TRUE(credentials_for(js(R"({"auths":{"ghcr.io":{}}})"), "quay.io/a").is_null());
}

TEST(ImageName, WhatIsNoReferenceIsTold) {
  const std::string hex(64, 'a');
  for (const std::string& good : std::vector<std::string>{"busybox", "busybox:1", "library/busybox", "localhost:5000/a/b-c_d.e:V1.2_x", "Registry.example/a", "a__b", "a--b",
                                 "busybox@sha256:" + hex, "busybox:1@sha256:" + hex, "sha256:" + hex, "[fd00::1]:5000/a", "10.0.0.1:5000/a"})
    EXPECT_EQ(image_name_error(good), "") << good;
  for (const char* bad : {"../../../x", "a?b=c&d#e", "", " a", "a b", "a/", "/a", "a//b", "a:", "a:-x", "a@sha256:00", "a@b", "a_-b", "a___b", "-a", "a.", "http://a/b",
                                "a.b-:1/c", "a\nb"})
    EXPECT_EQ(image_name_error(bad), "invalid reference format") << bad;
  EXPECT_EQ(image_name_error("a:" + std::string(129, 'x')), "invalid reference format");
  EXPECT_EQ(image_name_error("a/" + std::string(300, 'x')), "repository name must not be more than 255 characters");
  EXPECT_EQ(image_name_error("BusyBox"), "invalid reference format: repository name (library/BusyBox) must be lowercase");
  EXPECT_EQ(image_name_error(hex), "invalid repository name (" + hex + "), cannot specify 64-byte hexadecimal strings");
}

TEST(Unsupported, NamesTheField) {
  EXPECT_EQ(unsupported(js(R"({"spec":{"containers":[{"name":"c"}],"volumes":[{"name":"v","emptyDir":{}}]}})")), "");
  EXPECT_NE(unsupported(js(R"({"spec":{"containers":[{"name":"c"}],"volumes":[{"name":"v","nfs":{}}]}})")).find("spec.volumes[v].nfs"), std::string::npos);
  EXPECT_NE(unsupported(js(R"({"spec":{"hostUsers":false,"containers":[]}})")).find("spec.hostUsers"), std::string::npos);
}

TEST(Unsupported, TellsWhichLimitsAreNotKept) {
  EXPECT_EQ(not_enforced(js(R"({"spec":{"volumes":[{"name":"m","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}}],"containers":[{"name":"c"}]}})")), "");
  EXPECT_EQ(not_enforced(js(R"({"spec":{"volumes":[{"name":"d","emptyDir":{"sizeLimit":"1Gi"}}],"containers":[{"name":"c","resources":{"limits":{"ephemeral-storage":"1Gi"}}}]}})")),
            "not enforced by this node: spec.volumes[d].emptyDir.sizeLimit, the ephemeral-storage limit of container \"c\"");
}

TEST(RuntimeRequest, CarriesWhatTheSpecSays) {
  const Value pod = js(R"j({"metadata":{"name":"p","namespace":"ns","uid":"u"},"spec":{"securityContext":{"runAsUser":7,"fsGroup":9},"containers":[{"name":"c","image":"i:1",
    "command":["sh","-c","echo $(A)"],"securityContext":{"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}},
    "resources":{"requests":{"cpu":"500m"},"limits":{"cpu":"1","memory":"64Mi"}}}]}})j");
  ContainerInputs in;
  in.env = {{"A", "x"}};
  const auto rq = container_request(pod, containers_of(pod)[0], in, {.name = "n", .memory = 1 << 30});
  ASSERT_TRUE(rq.ok()) << rq.error().text;
  EXPECT_EQ((*rq)["command"][2].as_string(), "echo x");
  EXPECT_EQ(rq->at("security.user").as_int(), 7);
  EXPECT_TRUE(rq->at("security.readOnlyRoot").as_bool());
  EXPECT_TRUE(rq->at("security.noNewPrivileges").as_bool());
  EXPECT_EQ(rq->at("security.seccomp").as_string(), "RuntimeDefault");
  EXPECT_EQ(rq->at("security.supplementalGroups")[0].as_int(), 9);
  EXPECT_EQ(rq->at("resources.cpuShares").as_int(), 512);
  EXPECT_EQ(rq->at("resources.cpuQuota").as_int(), 100000);
  EXPECT_EQ(rq->at("resources.memoryBytes").as_int(), 64 << 20);
}

TEST(RuntimeRequest, NamespacesThatAPodSharesReachItsContainers) {
  for (const auto& [field, key] : std::map<std::string, std::string>{{"hostPID", "hostPid"}, {"hostIPC", "hostIpc"}, {"shareProcessNamespace", "sharePid"}}) {
    const Value pod = js(R"({"metadata":{"name":"p"},"spec":{")" + field + R"(":true,"containers":[{"name":"c","image":"i:1"}]}})");
    EXPECT_TRUE(sandbox_request(pod, 0, {})[key].as_bool()) << field;
    EXPECT_TRUE((*container_request(pod, containers_of(pod)[0], {}, {}))[key].as_bool()) << field;
  }
}

TEST(RuntimeRequest, RefusesRootWhereItMustNotBe) {
  const Value pod = js(R"({"metadata":{"name":"p"},"spec":{"securityContext":{"runAsNonRoot":true},"containers":[{"name":"c","image":"i:1"}]}})");
  ContainerInputs in;
  EXPECT_FALSE(container_request(pod, containers_of(pod)[0], in, {}).ok());
  in.image_user = "1000:1000";
  EXPECT_TRUE(container_request(pod, containers_of(pod)[0], in, {}).ok());
}

TEST(RuntimeRequest, NamesAreSearchedInTheCluster) {
  const Value rq = sandbox_request(js(R"({"metadata":{"name":"p","namespace":"ns","uid":"u"},"spec":{"containers":[],"dnsConfig":{"options":[{"name":"ndots","value":"2"}]}}})"), 0,
                                   {.name = "n", .cluster_dns = "10.96.0.10", .cluster_domain = "cluster.local"});
  EXPECT_EQ(rq.at("dns.servers")[0].as_string(), "10.96.0.10");
  EXPECT_EQ(rq.at("dns.searches")[0].as_string(), "ns.svc.cluster.local");
  EXPECT_EQ(rq.at("dns.options"), js(R"(["ndots:2"])"));
}

TEST(RuntimeRequest, NoFieldOfAPodBeginsALineOfItsOwn) {
  const Value rq = sandbox_request(js(R"({"metadata":{"name":"p","namespace":"ns","uid":"u"},"spec":{"containers":[],"dnsPolicy":"None","hostnameOverride":"a\nb",
    "hostAliases":[{"ip":"10.0.0.1","hostnames":["good","x\n10.6.6.6 bank.example","a b",""]},{"ip":"10.0.0.2\n10.6.6.6 y","hostnames":["z"]}],
    "dnsConfig":{"nameservers":["192.0.2.7","192.0.2.8\nnameserver 192.0.2.9"],"searches":["good.example","a\noptions rotate","a b"],
      "options":[{"name":"ndots","value":"2"},{"name":"x\ny"},{"name":"x","value":"1\n2"},{"name":"rotate"}]}}})"), 0, {.name = "n"});
  EXPECT_EQ(rq["hosts"].dump(), R"([{"ip":"10.0.0.1","hostnames":["good"]}])");
  EXPECT_EQ(rq["dns"].dump(), R"({"servers":["192.0.2.7"],"searches":["good.example"],"options":["ndots:2","rotate"]})");
  EXPECT_EQ(rq["hostname"].as_string(), "p");
}

TEST(RequestPath, IsEscapedAsKubernetesDoes) {
  EXPECT_EQ(request_path(""), "/");
  EXPECT_EQ(request_path("healthz"), "/healthz");
  EXPECT_EQ(request_path("/a/b;c=1?x=y&z=%20#part"), "/a/b;c=1?x=y&z=%20");
  EXPECT_EQ(request_path("/a b?c d"), "/a%20b?c%20d");
  EXPECT_EQ(request_path("/a\r\nDELETE /b?c"), "/a%0D%0ADELETE%20/b%3Fc");
  EXPECT_EQ(request_path("/100%"), "/100%25");
  EXPECT_EQ(request_path("/\xc3\xa9"), "/%C3%A9");
}

TEST(PodStatus, AFinishedStatusIsNoReasonToWrite) {
  Value pod = js(R"({"metadata":{"name":"p","namespace":"ns","uid":"u","generation":1},"spec":{"containers":[{"name":"c","image":"i:1"}]},
    "status":{"conditions":[{"type":"PodScheduled","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"},{"type":"example.com/gate","status":"True"}]}})");
  PodView view;
  view.sandboxes.push_back({.id = "s", .uid = "u", .ready = true, .ips = {"10.0.0.1"}});
  ContainerView c;
  c.id = "x";
  c.pod_id = "s";
  c.name = "c";
  c.state = ContainerView::State::kRunning;
  c.started_ns = 1700000000000000000;
  view.containers.push_back(c);
  std::map<std::string, ContainerNote, std::less<>> notes;
  notes["c"].started = notes["c"].ready = true;
  StatusInputs in{.pod = &pod, .view = &view, .notes = &notes, .node_name = "n", .host_ip = "192.0.2.1", .runtime_name = "docker", .now = 1800000000000000000, .containers_ready_to_start = true};
  const Value first = pod_status(in);
  EXPECT_EQ(first["phase"].as_string(), "Running");
  EXPECT_EQ(first.at("containerStatuses[0].containerID").as_string(), "docker://x");
  bool kept = false;
  for (const auto& k : first["conditions"].items()) kept |= k["type"].as_string() == "example.com/gate";
  EXPECT_TRUE(kept) << "conditions of others stay";
  pod.set("status", first);
  in.now += 60'000'000'000;
  EXPECT_TRUE(merge_patch(first, pod_status(in)).is_null()) << merge_patch(first, pod_status(in)).dump();
}

TEST(PodStatus, WhatSomebodyMayWaitForIsPressing) {
  const Value pod = js(R"({"metadata":{"name":"p","namespace":"ns","uid":"u","generation":1},"spec":{"containers":[{"name":"c","image":"i:1"}]},"status":{"phase":"Pending"}})");
  std::map<std::string, ContainerNote, std::less<>> notes;
  PodView view;
  StatusInputs in{.pod = &pod, .view = &view, .notes = &notes, .node_name = "n", .host_ip = "192.0.2.1", .runtime_name = "docker", .now = 1800000000000000000};
  const auto next = [&](const Value& before) {
    Value status = pod_status(in);
    EXPECT_FALSE(merge_patch(before, status).is_null());
    return status;
  };
  const Value creating = next(pod["status"]);
  EXPECT_FALSE(is_pressing(pod["status"], creating)) << "it is being made";
  notes["c"].waiting_reason = "ErrImagePull";
  const Value held_up = next(creating);
  EXPECT_TRUE(is_pressing(creating, held_up)) << "the image cannot be pulled";
  EXPECT_TRUE(is_pressing(pod["status"], held_up));
  notes["c"].waiting_message = "no such image";
  EXPECT_TRUE(is_pressing(held_up, next(held_up))) << "why";
  notes.clear();
  view.sandboxes.push_back({.id = "s", .uid = "u", .ready = true, .ips = {"10.0.0.1"}});
  in.containers_ready_to_start = true;
  const Value sandbox = next(creating);
  EXPECT_FALSE(is_pressing(creating, sandbox)) << "its address";
  ContainerView c;
  c.id = "x";
  c.pod_id = "s";
  c.name = "c";
  c.state = ContainerView::State::kCreated;
  view.containers.push_back(c);
  const Value created = next(sandbox);
  EXPECT_FALSE(is_pressing(sandbox, created)) << "its id";
  view.containers[0].state = ContainerView::State::kRunning;
  const Value running = next(created);
  EXPECT_TRUE(is_pressing(created, running)) << "it runs";
  notes["c"].started = notes["c"].ready = true;
  const Value ready = next(running);
  EXPECT_TRUE(is_pressing(running, ready)) << "it is ready";
  view.containers[0].attempt = 1;
  EXPECT_TRUE(is_pressing(ready, next(ready))) << "it was restarted";
  view.containers[0].attempt = 0;
  view.containers[0].state = ContainerView::State::kExited;
  EXPECT_TRUE(is_pressing(ready, next(ready))) << "it ended";
}

TEST(PodStatus, AContainerThatNeverStartedHasNoTimesAndIsNoReasonToWriteAgain) {
  Value pod = js(R"({"metadata":{"name":"p","namespace":"ns","uid":"u","generation":1},"spec":{"containers":[{"name":"c","image":"i:1"}]}})");
  PodView view;
  ContainerView c;
  c.id = "x";
  c.name = "c";
  c.state = ContainerView::State::kExited;
  c.exit_code = 128;
  c.reason = "ContainerCannotRun";
  view.containers.push_back(c);
  std::map<std::string, ContainerNote, std::less<>> notes;
  notes["c"].waiting_reason = "RunContainerError";
  StatusInputs in{.pod = &pod, .view = &view, .notes = &notes, .node_name = "n", .host_ip = "192.0.2.1", .runtime_name = "docker", .now = 1800000000000000000};
  const Value status = pod_status(in);
  const Value& ended = status.at("containerStatuses[0].lastState.terminated");
  EXPECT_EQ(ended["reason"].as_string(), "ContainerCannotRun");
  EXPECT_FALSE(ended.contains("startedAt")) << "the store drops a null: the status would differ for ever";
  EXPECT_FALSE(ended.contains("finishedAt"));
}

TEST(PodStatus, LastWordsStayWithTheirContainerAfterARestart) {
  Value pod = js(R"({"metadata":{"name":"p","namespace":"ns","uid":"u","generation":1},"spec":{"containers":[{"name":"c","image":"i:1"}]}})");
  PodView view;
  ContainerView c;
  c.id = "x0";
  c.name = "c";
  c.state = ContainerView::State::kExited;
  c.exit_code = 1;
  view.containers.push_back(c);
  c.id = "x1";
  c.attempt = 1;
  c.state = ContainerView::State::kRunning;
  view.containers.push_back(c);
  std::map<std::string, ContainerNote, std::less<>> notes;
  notes["c"].last_words["x0"] = "no such table";
  StatusInputs in{.pod = &pod, .view = &view, .notes = &notes, .node_name = "n", .host_ip = "192.0.2.1", .runtime_name = "docker", .now = 1800000000000000000};
  EXPECT_EQ(pod_status(in).at("containerStatuses[0].lastState.terminated.message").as_string(), "no such table");
}

TEST(MergePatch, RemovesWhatIsGone) {
  EXPECT_EQ(merge_patch(js(R"({"a":1,"b":{"c":1,"d":2}})"), js(R"({"a":1,"b":{"c":3}})")), js(R"({"b":{"c":3,"d":null}})"));
  EXPECT_TRUE(merge_patch(js(R"({"a":[1]})"), js(R"({"a":[1]})")).is_null());
}

TEST(InHand, TellsWhenTheLastCopyOfTheLastActionIsGone) {
  InHand in_hand;
  int told = 0;
  in_hand.when_none([&] { ++told; });
  EXPECT_EQ(told, 1) << "there is nothing";
  auto one = in_hand.begin();
  auto two = in_hand.begin(), copy = two;
  in_hand.when_none([&] { ++told; });
  one.reset();
  two.reset();
  EXPECT_EQ(told, 1);
  EXPECT_FALSE(in_hand.none());
  copy.reset();
  EXPECT_EQ(told, 2);
  in_hand.begin().reset();
  EXPECT_EQ(told, 2) << "once";
}

TEST(EndpointGate, ReadsReadyFromTheSlice) {
  EXPECT_TRUE(lists_as_ready(js(R"({"endpoints":[{"targetRef":{"uid":"u"},"conditions":{"ready":true}}]})"), "u"));
  EXPECT_FALSE(lists_as_ready(js(R"({"endpoints":[{"targetRef":{"uid":"u"},"conditions":{"ready":false}}]})"), "u"));
  EXPECT_FALSE(lists_as_ready(js(R"({"endpoints":[{"targetRef":{"uid":"v"},"conditions":{"ready":true}}]})"), "u"));
}

TEST(AgentConfig, SimulatedNodesSpreadOverZones) {
  const auto c = read_config(js(R"({"simulated":{"count":50,"zones":5,"taint":false}})"), HostFacts{});
  ASSERT_TRUE(c.ok()) << c.error().text;
  ASSERT_EQ(c->nodes.size(), 50u);
  EXPECT_TRUE(c->nodes[0].taints.empty());
  EXPECT_EQ(c->nodes[7].labels["topology.kubernetes.io/zone"].as_string(), "zone-3");
  EXPECT_FALSE(read_config(js(R"({"nodes":[{"name":"a"},{"name":"a"}]})"), HostFacts{}).ok());
}

class Files : public ::testing::Test {
 protected:
  Files() {
    char name[] = "/tmp/pintle-node-agent-XXXXXX";
    root = mkdtemp(name);
  }
  ~Files() override { fs::remove_all(root); }
  static std::string text(const fs::path& p) {
    std::ifstream in(p);
    std::stringstream s;
    s << in.rdbuf();
    return s.str();
  }
  std::string root;
};

TEST_F(Files, AVolumeSwitchesAtOnce) {
  ASSERT_TRUE(write_payload(root, {{"a", {"1", 0644}}, {"d/b", {"2", 0400}}}, "s1").ok());
  EXPECT_EQ(text(root + "/a"), "1");
  EXPECT_EQ(text(root + "/d/b"), "2");
  EXPECT_EQ(fs::read_symlink(root + "/a"), "..data/a");
  EXPECT_EQ(fs::read_symlink(root + "/..data"), "..s1");
  ASSERT_TRUE(write_payload(root, {{"a", {"1", 0644}}, {"d/b", {"2", 0400}}}, "s2").ok());
  EXPECT_EQ(fs::read_symlink(root + "/..data"), "..s1") << "nothing changed";
  ASSERT_TRUE(write_payload(root, {{"a", {"3", 0644}}}, "s3").ok());
  EXPECT_EQ(text(root + "/a"), "3");
  EXPECT_FALSE(fs::exists(fs::symlink_status(root + "/d")));
  EXPECT_FALSE(fs::exists(root + "/..s1"));
}

TEST_F(Files, PathsThatLeaveTheVolumeAreRefused) {
  for (const char* bad : {"", "/a", "../a", "a/../../b", "..data", "a//b", "./a"}) EXPECT_FALSE(check_payload_path(bad).ok()) << bad;
  EXPECT_TRUE(check_payload_path("a/b..c").ok());
}

TEST_F(Files, VolumesHoldWhatTheirSourcesSay) {
  const Value pod = js(R"({"metadata":{"name":"p","namespace":"ns","uid":"u","labels":{"a":"x"}},"spec":{"containers":[{"name":"c"}],"volumes":[
    {"name":"e","emptyDir":{}},
    {"name":"c","configMap":{"name":"cm","items":[{"key":"k","path":"sub/f","mode":256}]}},
    {"name":"s","secret":{"secretName":"s","defaultMode":256}},
    {"name":"d","projected":{"sources":[{"downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}}]}},{"configMap":{"name":"none","optional":true}}]}}]}})");
  const auto plan = plan_volumes(pod, root, with(js(R"({"metadata":{"name":"cm"},"data":{"k":"v","x":"y"}})"), js(R"({"metadata":{"name":"s"},"data":{"k":"aGk="}})")));
  ASSERT_TRUE(plan.ok()) << plan.error().text;
  const auto put = put_volumes(root, "u", *plan, "1");
  ASSERT_TRUE(put.ok()) << put.error().text;
  const std::string v = root + "/pods/u/volumes/";
  EXPECT_EQ(text(v + "c/sub/f"), "v");
  EXPECT_FALSE(fs::exists(v + "c/x"));
  EXPECT_EQ(text(v + "s/k"), "hi");
  EXPECT_EQ(text(v + "d/labels"), "a=\"x\"");
  struct stat st {};
  ASSERT_EQ(stat((v + "s/k").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0400u);
  ASSERT_EQ(stat((root + "/pods/u").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700u);
  remove_pod_files(root, "u");
  EXPECT_FALSE(fs::exists(root + "/pods/u"));
}

TEST_F(Files, AMissingSourceSaysWhichVolume) {
  const auto plan = plan_volumes(js(R"({"metadata":{"uid":"u"},"spec":{"volumes":[{"name":"v","configMap":{"name":"x"}}]}})"), root, with(Value()));
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().text, "MountVolume.SetUp failed for volume \"v\" : configmap \"x\" not found");
}

TEST_F(Files, ASubPathDoesNotLeaveItsVolume) {
  fs::create_directories(root + "/vol");
  fs::create_directory_symlink("/etc", root + "/vol/out");
  VolumePlan plan;
  plan.name = "v";
  plan.path = root + "/vol";
  const auto mount = [&](const std::string& sub) {
    return container_mounts(Value::object({{"name", "c"}, {"volumeMounts", Value::array({Value::object({{"name", "v"}, {"mountPath", "/m"}, {"subPath", sub}})})}}), {plan}, {});
  };
  const auto fine = mount("a/b");
  ASSERT_TRUE(fine.ok()) << fine.error().text;
  EXPECT_EQ((*fine)[0]["hostPath"].as_string(), fs::canonical(root + "/vol/a/b").string());
  EXPECT_FALSE(mount("out/passwd").ok());
  EXPECT_FALSE(mount("../x").ok());
  EXPECT_FALSE(mount("/etc").ok());
}

TEST_F(Files, LastWordsAreCut) {
  const auto path = termination_file(root, "u", "c", 0);
  ASSERT_TRUE(path.ok()) << path.error().text;
  std::ofstream(*path) << std::string(10000, 'x');
  EXPECT_EQ(read_termination_file(root, "u", "c", 0).size(), 4096u);
  EXPECT_EQ(read_termination_file(root, "u", "c", 1), "");
}

}  // namespace
}  // namespace pintle::node_agent

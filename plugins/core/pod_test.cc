#include <gtest/gtest.h>

#include "plugins/core/pod_defaults.h"
#include "plugins/core/pod_deletion.h"
#include "plugins/core/pod_validation.h"
#include "plugins/core/parse_test.h"

namespace pintle::core {
namespace {

// "field: message" of all causes, one a line.
std::string problems(const json::Value& spec) {
  Causes causes;
  validate_pod_spec(spec, causes);
  std::string out;
  for (const auto& c : causes.list().items())
    out += std::string(c["field"].as_string()) + ": " + std::string(c["message"].as_string()) + "\n";
  return out;
}
std::string update_problems(const json::Value& now, const json::Value& old) {
  Causes causes;
  validate_pod_update(now, old, causes);
  std::string out;
  for (const auto& c : causes.list().items())
    out += std::string(c["field"].as_string()) + ": " + std::string(c["message"].as_string()) + "\n";
  return out;
}

TEST(PodDefaults, PullPolicyFollowsTheTag) {
  json::Value spec = parse(R"({"containers":[{"image":"a"},{"image":"a:latest"},{"image":"a:1"},{"image":"r:5000/a"},
    {"image":"a@sha256:00"},{"image":"a","imagePullPolicy":"Never"}]})");
  default_pod_spec(spec);
  std::string got;
  for (const auto& c : spec["containers"].items()) got += std::string(c["imagePullPolicy"].as_string()) + " ";
  EXPECT_EQ(got, "Always Always IfNotPresent Always IfNotPresent Never ");
}

TEST(PodDefaults, AVolumeWithoutASourceIsAnEmptyDir) {
  json::Value spec = parse(R"({"volumes":[{"name":"a"},{"name":"b","hostPath":{"path":"/x"}}]})");
  default_pod_spec(spec);
  EXPECT_TRUE(spec["volumes"][0].contains("emptyDir"));
  EXPECT_FALSE(spec["volumes"][1].contains("emptyDir"));
}

TEST(PodDefaults, HostNetworkMakesContainerPortsHostPorts) {
  json::Value spec = parse(R"({"hostNetwork":true,"containers":[{"image":"a","ports":[{"containerPort":80}]}]})");
  default_pod_spec(spec);
  EXPECT_EQ(spec["containers"][0]["ports"][0]["hostPort"].as_int(), 80);
}

TEST(PodDefaults, RequestsComeFromLimits) {
  json::Value pod = parse(R"({"spec":{"containers":[{"resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m"}}}]}})");
  default_pod(pod);
  EXPECT_EQ(pod["spec"]["containers"][0]["resources"]["requests"].dump(), R"({"cpu":"500m","memory":"1Gi"})");
}

TEST(PodDefaults, QosClassNeedsEqualLimitsForGuaranteed) {
  EXPECT_EQ(qos_class(parse(R"({"containers":[{}]})")), "BestEffort");
  EXPECT_EQ(qos_class(parse(R"({"containers":[{"resources":{"requests":{"cpu":"1"}}}]})")), "Burstable");
  EXPECT_EQ(qos_class(parse(R"({"containers":[{"resources":{"requests":{"cpu":"1000m","memory":"1Gi"},
    "limits":{"cpu":"1","memory":"1024Mi"}}}]})")), "Guaranteed");
}

TEST(PodDefaults, ANewPodToleratesUnreadyNodesForFiveMinutes) {
  json::Value pod = parse(R"({"spec":{"containers":[],"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute"}]}})");
  complete_new_pod(pod);
  ASSERT_EQ(pod["spec"]["tolerations"].size(), 2u);
  EXPECT_EQ(pod["spec"]["tolerations"][1]["key"].as_string(), "node.kubernetes.io/unreachable");
  EXPECT_EQ(pod["spec"]["tolerations"][1]["tolerationSeconds"].as_int(), 300);
  EXPECT_EQ(pod["spec"]["serviceAccountName"].as_string(), "default");
  EXPECT_EQ(pod["status"]["phase"].as_string(), "Pending");
}

TEST(PodValidation, AGoodPodHasNoProblems) {
  EXPECT_EQ(problems(parse(R"({"volumes":[{"name":"v","emptyDir":{}}],"containers":[{"name":"a","image":"a:1",
    "env":[{"name":"X","value":"1"},{"name":"N","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['app']"}}}],
    "volumeMounts":[{"name":"v","mountPath":"/v"}],"readinessProbe":{"httpGet":{"port":80}}}]})")), "");
}

TEST(PodValidation, AnEmptyListOfContainersIsRefused) { EXPECT_EQ(problems(parse(R"({"containers":[]})")), "containers: Required value\n"); }

// Two of one list are the schema's matter, which would say it a second time.
TEST(PodValidation, NamesMustBeUniqueAmongInitAndOtherContainers) {
  EXPECT_EQ(problems(parse(R"({"containers":[{"name":"a","image":"x"},{"name":"a","image":"x"}],"initContainers":[{"name":"a","image":"x"}]})")),
            "initContainers[0].name: Duplicate value: \"a\"\n");
}

TEST(PodValidation, HostsAndResolverGetNothingButNames) {
  const std::string subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
                                "alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')\n";
  EXPECT_EQ(problems(parse(R"({"containers":[{"name":"a","image":"x"}],"hostAliases":[{"ip":"10.0.0.1","hostnames":["ok.example","x\n10.6.6.6 bank.example",""]}]})")),
            "hostAliases[0].hostnames[1]: Invalid value: \"x\\n10.6.6.6 bank.example\": " + subdomain + "hostAliases[0].hostnames[2]: Invalid value: \"\": " + subdomain);
  EXPECT_EQ(problems(parse(R"({"containers":[{"name":"a","image":"x"}],"dnsConfig":{"nameservers":["192.0.2.1","fd00::1","x\nnameserver 192.0.2.2"],
      "searches":["svc.example",".","_tcp.example."],"options":[{"name":"ndots","value":"2"},{"name":""},{"name":"a\nb"},{"name":"a","value":"b c"}]}})")),
            "dnsConfig.nameservers[2]: Invalid value: \"x\\nnameserver 192.0.2.2\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)\n"
            "dnsConfig.options[1]: Required value: must not be empty\n"
            "dnsConfig.options[2].name: Invalid value: \"a\\nb\": must not contain whitespace or control characters\n"
            "dnsConfig.options[3].value: Invalid value: \"b c\": must not contain whitespace or control characters\n");
  EXPECT_NE(problems(parse(R"({"containers":[{"name":"a","image":"x"}],"dnsConfig":{"searches":["a\nnameserver 192.0.2.2"]}})")).find("dnsConfig.searches[0]: Invalid value: "), std::string::npos);
  json::Value wide = parse(R"({"containers":[{"name":"a","image":"x"}]})");
  for (int i = 0; i < 12; ++i) wide.make("dnsConfig.searches").push(std::string(60, 'a') + "." + std::string(60, 'b') + "." + std::string(60, 'c'));
  EXPECT_NE(problems(wide).find("must not have more than 2048 characters (including spaces) in the search list"), std::string::npos);
}

TEST(PodValidation, ProbesAndHooksAreWellFormed) {
  EXPECT_EQ(problems(parse(R"({"terminationGracePeriodSeconds":5,"containers":[{"name":"a","image":"x","readinessProbe":{"httpGet":{"port":"Web","httpHeaders":[
      {"name":"X-A","value":"b"},{"name":"X A","value":"b\r\nC: d"}]}},"livenessProbe":{"tcpSocket":{"port":"1234"}},
      "lifecycle":{"preStop":{"sleep":{"seconds":6}},"postStart":{"sleep":{"seconds":5}}}},
      {"name":"b","image":"x","lifecycle":{"preStop":{"sleep":{"seconds":0}}}}]})")),
            "containers[0].livenessProbe.tcpSocket.port: Invalid value: \"1234\": must contain at least one letter (a-z)\n"
            "containers[0].readinessProbe.httpGet.port: Invalid value: \"Web\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)\n"
            "containers[0].readinessProbe.httpGet.httpHeaders: Invalid value: \"X A\": a valid HTTP header must consist of alphanumeric characters or '-' "
            "(e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')\n"
            "containers[0].readinessProbe.httpGet.httpHeaders: Invalid value: \"b\\r\\nC: d\": must not contain control characters\n"
            "containers[0].lifecycle.preStop.sleep: Invalid value: 6: must be non-negative and less than terminationGracePeriodSeconds (5)\n");
}

TEST(PodValidation, PlacementNamesLabelsAndNodes) {
  const std::string text = problems(parse(R"({"containers":[{"name":"a","image":"x"}],"nodeSelector":{"ok/disk":"ssd","a b":"c","zone":"-x"},"nodeName":"No_de"})"));
  EXPECT_NE(text.find("nodeSelector: Invalid value: \"a b\": name part must consist of alphanumeric characters"), std::string::npos) << text;
  EXPECT_NE(text.find("nodeSelector: Invalid value: \"-x\": a valid label must be an empty string or consist of"), std::string::npos) << text;
  EXPECT_NE(text.find("nodeName: Invalid value: \"No_de\": a lowercase RFC 1123 subdomain must consist of"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << text;
}

TEST(PodValidation, SecurityProfilesStayInTheirDirectory) {
  EXPECT_EQ(problems(parse(R"({"securityContext":{"seccompProfile":{"type":"Localhost","localhostProfile":"../x"},
      "sysctls":[{"name":"net.core.somaxconn","value":"1"},{"name":"A b","value":"1"},{"name":"","value":"1"},{"name":"net.core.somaxconn","value":"2"}]},
      "containers":[{"name":"a","image":"x","securityContext":{"seccompProfile":{"type":"Localhost","localhostProfile":"/etc/x"}}},
      {"name":"b","image":"x","securityContext":{"seccompProfile":{"type":"Localhost"}}},
      {"name":"c","image":"x","securityContext":{"seccompProfile":{"type":"RuntimeDefault","localhostProfile":"x"}}}]})")),
            "containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: \"/etc/x\": must be a relative path\n"
            "containers[1].securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost\n"
            "containers[2].securityContext.seccompProfile.localhostProfile: Invalid value: \"x\": can only be set when seccomp type is Localhost\n"
            "securityContext.sysctls[1].name: Invalid value: \"A b\": must have at most 253 characters and match regex "
            "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$\n"
            "securityContext.sysctls[2].name: Required value\n"
            "securityContext.sysctls[3].name: Duplicate value: \"net.core.somaxconn\"\n"
            "securityContext.seccompProfile.localhostProfile: Invalid value: \"../x\": must not contain '..'\n");
}

TEST(PodValidation, DevicesAndHugePagesAreWholeAndNotPromisedTwice) {
  EXPECT_EQ(problems(parse(R"({"containers":[{"name":"a","image":"x","resources":{"limits":{"example.com/gpu":"1500m"},"requests":{"example.com/gpu":"1500m"}}},
      {"name":"b","image":"x","resources":{"limits":{"hugepages-2Mi":"4Mi"},"requests":{"hugepages-2Mi":"2Mi","example.com/gpu":"1"}}},
      {"name":"c","image":"x","resources":{"limits":{"hugepages-2Mi":"4Mi","memory":"1Gi"},"requests":{"hugepages-2Mi":"4Mi"}}}]})")),
            "containers[0].resources.limits[example.com/gpu]: Invalid value: \"1500m\": must be an integer\n"
            "containers[0].resources.requests[example.com/gpu]: Invalid value: \"1500m\": must be an integer\n"
            "containers[1].resources.requests: Invalid value: \"2Mi\": must be equal to hugepages-2Mi limit of 4Mi\n"
            "containers[1].resources.limits: Required value: Limit must be set for non overcommitable resources\n"
            "containers[1].resources: Forbidden: HugePages require cpu or memory\n");
}

TEST(PodValidation, AContainerPortIsANumberOnce) {
  EXPECT_EQ(problems(parse(R"({"containers":[{"name":"a","image":"x","ports":[{"containerPort":0},{"containerPort":70000},{"containerPort":80}],
      "volumeMounts":[{"name":"v","mountPath":"/a:b"}]}],"volumes":[{"name":"v","emptyDir":{}}]})")),
            "containers[0].ports[0].containerPort: Required value\n"
            "containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive\n"
            "containers[0].volumeMounts[0].mountPath: Invalid value: \"/a:b\": must not contain ':'\n");
}

TEST(PodPriority, IsTheClassesAlone) {
  const auto priority = [](const char* spec) { return pod_priority(parse(spec)); };
  EXPECT_EQ(*priority("{}"), 0);
  EXPECT_EQ(*priority(R"({"priority":0})"), 0);
  EXPECT_EQ(*priority(R"({"priorityClassName":"system-node-critical"})"), 2000001000);
  EXPECT_EQ(*priority(R"({"priorityClassName":"system-cluster-critical","priority":2000000000})"), 2000000000);
  const auto refused = priority(R"({"priority":5})");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().text, "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name");
}

TEST(PodValidation, MountsMustNameVolumes) {
  EXPECT_EQ(problems(parse(R"({"containers":[{"name":"a","image":"x","volumeMounts":[{"name":"no","mountPath":"/a"},{"name":"no","mountPath":"/a"}]}]})")),
            "containers[0].volumeMounts[0].name: Not found: \"no\"\ncontainers[0].volumeMounts[1].name: Not found: \"no\"\n"
            "containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique\n");
}

TEST(PodValidation, AProbeHasExactlyOneHandler) {
  EXPECT_EQ(problems(parse(R"({"containers":[{"name":"a","image":"x","livenessProbe":{},"readinessProbe":{"exec":{"command":["a"]},"tcpSocket":{"port":1}}}]})")),
            "containers[0].livenessProbe: Required value: must specify a handler type\n"
            "containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type\n");
}

TEST(PodValidation, InitContainersHaveNoProbesUnlessTheyAreSidecars) {
  const char* spec = R"({"containers":[{"name":"a","image":"x"}],"initContainers":[
    {"name":"b","image":"x","readinessProbe":{"tcpSocket":{"port":1}}},
    {"name":"c","image":"x","restartPolicy":"Always","readinessProbe":{"tcpSocket":{"port":1}}},
    {"name":"d","image":"x","restartPolicy":"Never"}]})";
  EXPECT_EQ(problems(parse(spec)),
            "initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always\n"
            "initContainers[2].restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"\n");
}

TEST(PodValidation, RequestsMayNotExceedLimits) {
  EXPECT_EQ(problems(parse(R"({"containers":[{"name":"a","image":"x","resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1"}}}]})")),
            "containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1\n");
}

TEST(PodValidation, AVolumeHasOneSource) {
  EXPECT_EQ(problems(parse(R"({"containers":[{"name":"a","image":"x"}],"volumes":[{"name":"v","emptyDir":{},"secret":{"secretName":"s"}},{"name":"w","configMap":{}}]})")),
            "volumes[0].secret: Forbidden: may not specify more than 1 volume type\n"
            "volumes[1].configMap.name: Required value\n");
}

TEST(PodValidation, HostPortsCollide) {
  EXPECT_EQ(problems(parse(R"({"hostNetwork":true,"containers":[{"name":"a","image":"x","ports":[{"containerPort":80,"hostPort":81,"protocol":"TCP"}]},
    {"name":"b","image":"x","ports":[{"containerPort":81,"hostPort":81,"protocol":"TCP"}]}]})")),
            "containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true\n"
            "containers[1].ports[0].hostPort: Duplicate value: \"TCP//81\"\n");
}

TEST(PodValidation, EnvironmentSourcesAreChecked) {
  EXPECT_EQ(problems(parse(R"({"containers":[{"name":"a","image":"x","env":[{"name":"A=B"},{"name":"C","value":"1","valueFrom":{"secretKeyRef":{"key":"k"}}},
    {"name":"D","valueFrom":{}}],"envFrom":[{}]}]})")),
            "containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='\n"
            "containers[0].env[1].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty\n"
            "containers[0].env[1].valueFrom.secretKeyRef.name: Required value\n"
            "containers[0].env[2].valueFrom: Invalid value: \"\": must specify one of: `configMapKeyRef`, `fieldRef`, `fileKeyRef`, `resourceFieldRef` or `secretKeyRef`\n"
            "containers[0].envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`\n");
}

TEST(PodValidation, TolerationsAreConsistent) {
  EXPECT_EQ(problems(parse(R"({"containers":[{"name":"a","image":"x"}],"tolerations":[{"operator":"Equal"},{"key":"a","operator":"Exists","value":"b"},
    {"key":"a","effect":"NoSchedule","tolerationSeconds":3}]})")),
            "tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"\n"
            "tolerations[1].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'\n"
            "tolerations[2].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set\n");
}

TEST(PodValidation, LabelKeysNeedASelectorThatDoesNotNameThem) {
  EXPECT_EQ(problems(parse(R"({"containers":[{"name":"a","image":"x"}],
    "topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"DoNotSchedule","matchLabelKeys":["v"]}],
    "affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
      {"topologyKey":"z","labelSelector":{"matchLabels":{"app":"web"}},"matchLabelKeys":["v","app"],"mismatchLabelKeys":["v"]}]}}})")),
            "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys[0]: Invalid value: \"v\": "
            "exists in both matchLabelKeys and mismatchLabelKeys\n"
            "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys[1]: Invalid value: \"app\": "
            "exists in both matchLabelKeys and labelSelector\n"
            "topologySpreadConstraints[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set\n");
}

TEST(PodUpdate, ImageTolerationsAndDeadlineMayChange) {
  const json::Value old = parse(R"({"spec":{"containers":[{"name":"a","image":"x:1"}],"tolerations":[{"key":"a","effect":"NoExecute"}]}})");
  const json::Value now = parse(R"({"spec":{"containers":[{"name":"a","image":"x:2"}],"activeDeadlineSeconds":5,
    "tolerations":[{"key":"a","effect":"NoExecute","tolerationSeconds":4},{"key":"b"}]}})");
  EXPECT_EQ(update_problems(now, old), "");
}

TEST(PodUpdate, OtherFieldsMayNotChange) {
  const json::Value old = parse(R"({"spec":{"containers":[{"name":"a","image":"x","env":[]}],"nodeName":"n1","hostname":"h"}})");
  const json::Value now = parse(R"({"spec":{"containers":[{"name":"a","image":"x","env":[{"name":"X"}]}],"nodeName":"n2"}})");
  const std::string text = update_problems(now, old);
  EXPECT_NE(text.find("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"), std::string::npos) << text;
  EXPECT_NE(text.find("changed: spec.containers spec.nodeName spec.hostname"), std::string::npos) << text;
}

TEST(PodUpdate, ContainersMayNotComeOrGo) {
  const json::Value old = parse(R"({"spec":{"containers":[{"name":"a"}]}})"), now = parse(R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})");
  EXPECT_EQ(update_problems(now, old), "spec.containers: Forbidden: pod updates may not add or remove containers\n");
}

TEST(PodUpdate, ExistingTolerationsStay) {
  const json::Value old = parse(R"({"spec":{"tolerations":[{"key":"a"}]}})"), now = parse(R"({"spec":{"tolerations":[]}})");
  EXPECT_EQ(update_problems(now, old), "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds\n");
}

TEST(PodUpdate, GatesMayOnlyGo) {
  const json::Value gated = parse(R"({"spec":{"schedulingGates":[{"name":"a"}]}})"), free = parse(R"({"spec":{}})");
  EXPECT_EQ(update_problems(free, gated), "");
  EXPECT_NE(update_problems(gated, free), "");
}

TEST(PodDeletion, GraceComesFromThePodUnlessAskedOtherwise) {
  const json::Value running = parse(R"({"spec":{"nodeName":"n","terminationGracePeriodSeconds":7},"status":{"phase":"Running"}})");
  EXPECT_EQ(delete_pod(running, {})["gracePeriodSeconds"].as_int(), 7);
  EXPECT_EQ(delete_pod(running, parse(R"({"gracePeriodSeconds":3})"))["gracePeriodSeconds"].as_int(), 3);
  EXPECT_EQ(delete_pod(running, parse(R"({"gracePeriodSeconds":-5})"))["gracePeriodSeconds"].as_int(), 1);
  EXPECT_EQ(delete_pod(running, parse(R"({"gracePeriodSeconds":0})"))["action"].as_string(), "immediate");
}

TEST(PodDeletion, PodsThatNothingRunsGoAtOnce) {
  EXPECT_EQ(delete_pod(parse(R"({"spec":{},"status":{"phase":"Pending"}})"), {})["action"].as_string(), "immediate");
  EXPECT_EQ(delete_pod(parse(R"({"spec":{"nodeName":"n"},"status":{"phase":"Failed"}})"), {})["action"].as_string(), "immediate");
}

TEST(PodDeletion, ASecondRequestCanOnlyShortenTheGrace) {
  const json::Value going = parse(R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","deletionGracePeriodSeconds":10},
    "spec":{"nodeName":"n","terminationGracePeriodSeconds":30},"status":{"phase":"Running"}})");
  EXPECT_EQ(delete_pod(going, {})["gracePeriodSeconds"].as_int(), 10);
  EXPECT_EQ(delete_pod(going, parse(R"({"gracePeriodSeconds":60})"))["gracePeriodSeconds"].as_int(), 10);
  EXPECT_EQ(delete_pod(going, parse(R"({"gracePeriodSeconds":2})"))["gracePeriodSeconds"].as_int(), 2);
}

TEST(NamespaceDeletion, TheFourOfEveryClusterStay) {
  EXPECT_EQ(delete_namespace(parse(R"({"metadata":{"name":"kube-system"}})"))["action"].as_string(), "deny");
}

TEST(NamespaceDeletion, ItTerminatesUntilItsFinalizersAreGone) {
  const json::Value ns = parse(R"({"metadata":{"name":"a"},"spec":{"finalizers":["kubernetes"]},"status":{"phase":"Active"}})");
  const json::Value reply = delete_namespace(ns);
  EXPECT_EQ(reply["action"].as_string(), "grace");
  EXPECT_EQ(reply["object"]["status"]["phase"].as_string(), "Terminating");
  EXPECT_EQ(delete_namespace(parse(R"({"metadata":{"name":"a"},"spec":{}})"))["action"].as_string(), "immediate");
}

}  // namespace
}  // namespace pintle::core

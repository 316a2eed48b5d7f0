// The published types, as the plugin that exports them hands them over.
#include <gmock/gmock.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>

#include "kernel/api/schema/widget_test.h"
#include "kernel/api/schema/wire_test.h"

namespace pintle::kernel::testing {
namespace {

using ::testing::IsEmpty;

class PublishedTypes : public ::testing::Test {
 protected:
  PublishedTypes() {
    std::ifstream in(PINTLE_CORE_MANIFEST);
    std::stringstream text;
    text << in.rdbuf();
    const Result<void> r = registry.add("core", parse(text.str()));
    EXPECT_TRUE(r.ok()) << r.error().text;
    snapshot = registry.snapshot();
  }
  json::Value decode(const std::string& body, const char* type) {
    Result<Decoded> r = decode_body(body, type, *snapshot);
    EXPECT_TRUE(r.ok()) << r.error().text;
    if (!r) return {};
    EXPECT_THAT(r->problems, IsEmpty());
    const TypeId id = snapshot->body_type("", "v1", r->value["kind"].as_string());
    std::vector<std::string> problems;
    const Result<void> n = normalise(r->value, id, snapshot->types, &problems);
    EXPECT_TRUE(n.ok()) << n.error().text;
    EXPECT_THAT(problems, IsEmpty());
    return std::move(r->value);
  }
  Registry registry;
  std::shared_ptr<const RegistrySnapshot> snapshot;
};

constexpr const char* kPod = R"(
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, labels: {app: web}}
spec:
  volumes:
  - {name: data, emptyDir: {sizeLimit: 1024Mi}}
  - {name: conf, configMap: {name: c, items: [{key: a, path: b}]}}
  containers:
  - name: web
    image: nginx:1.27
    command: [sh, -c, "echo hi"]
    env:
    - {name: A, value: "1"}
    - {name: B, valueFrom: {configMapKeyRef: {name: c, key: k, optional: true}}}
    ports: [{containerPort: 80, name: http}]
    resources: {requests: {cpu: 0.5, memory: 64Mi}, limits: {memory: 128Mi}}
    readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 5}
    volumeMounts: [{name: data, mountPath: /data}]
  tolerations: [{key: x, operator: Exists, effect: NoSchedule, tolerationSeconds: 5}]
)";

TEST_F(PublishedTypes, APodInYamlIsUnderstood) {
  json::Value pod = decode(kPod, "application/yaml");
  const TypeId type = snapshot->body_type("", "v1", "Pod");
  apply_defaults(pod, type, snapshot->types);
  EXPECT_EQ(pod.at("spec.containers[0].resources.requests.cpu").as_string(), "500m");
  EXPECT_EQ(pod.at("spec.volumes[0].emptyDir.sizeLimit").as_string(), "1Gi");
  EXPECT_EQ(pod.at("spec.containers[0].readinessProbe.httpGet.port").as_string(), "http");
  std::vector<FieldCause> causes;
  validate(pod, nullptr, type, snapshot->types, "", causes);
  for (const FieldCause& c : causes) ADD_FAILURE() << c.field << ": " << c.message;
}

TEST_F(PublishedTypes, ANamespaceAndASecretInProtobufAreUnderstood) {
  const Message meta = Message().bytes(1, "x").bytes(2, "").bytes(3, "").bytes(4, "").bytes(5, "").bytes(6, "").number(7, 0).message(8, Message());
  const json::Value ns = decode(envelope("v1", "Namespace", Message().message(1, meta).message(2, Message()).message(3, Message().bytes(1, ""))), "application/vnd.kubernetes.protobuf");
  EXPECT_EQ(ns.at("metadata.name").as_string(), "x");
  const json::Value secret = decode(envelope("v1", "Secret", Message().message(1, meta).entry(2, "k", Message().bytes(2, "v")).bytes(3, "Opaque")), "application/vnd.kubernetes.protobuf");
  EXPECT_EQ(secret.at("data.k").as_string(), "dg==");
  EXPECT_EQ(secret["type"].as_string(), "Opaque");
}

TEST_F(PublishedTypes, StrategicPatchesFollowThePublishedKeys) {
  json::Value pod = decode(kPod, "application/yaml");
  const TypeId type = snapshot->body_type("", "v1", "Pod");
  ASSERT_TRUE(strategic_patch(pod, parse(R"({"spec":{"containers":[{"name":"web","image":"nginx:2"}],"volumes":[{"name":"data","$retainKeys":["name","hostPath"],"hostPath":{"path":"/x"}}]}})"),
                              type, snapshot->types).ok());
  EXPECT_EQ(pod.at("spec.containers[0].image").as_string(), "nginx:2");
  EXPECT_EQ(pod.at("spec.containers[0].env").size(), 2u);
  EXPECT_EQ(pod.at("spec.volumes[0]").dump(), R"({"name":"data","hostPath":{"path":"/x"}})");
}

TEST_F(PublishedTypes, DocumentsRender) {
  const std::string text = openapi_v3_text(*snapshot, "", "v1");
  const auto parsed = json::parse(text);
  ASSERT_TRUE(parsed.ok) << parsed.error;
  EXPECT_TRUE(parsed.value["components"]["schemas"].contains("io.k8s.api.core.v1.Pod"));
  EXPECT_FALSE(discovery_aggregated(*snapshot, true)["items"].empty());
}

TEST_F(PublishedTypes, OneOlderDocumentHoldsTheKindsOfAllGroups) {
  const std::string text = openapi_v2_text(*snapshot);
  const auto parsed = json::parse(text);
  ASSERT_TRUE(parsed.ok) << parsed.error;
  const json::Value& definitions = parsed.value["definitions"];
  EXPECT_EQ(definitions["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"].dump(), R"([{"group":"","version":"v1","kind":"Pod"}])");
  EXPECT_TRUE(definitions.contains("io.k8s.api.node.v1.RuntimeClass"));
  EXPECT_EQ(definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"]["type"].as_string(), "string");
  const json::Value& options = definitions["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"]["x-kubernetes-group-version-kind"];
  EXPECT_GT(options.size(), 2u) << "of each group and version";
  EXPECT_TRUE(definitions.contains("io.k8s.apimachinery.pkg.apis.meta.v1.Status"));
  std::set<std::string> once;
  for (const json::Member& m : definitions.members()) EXPECT_TRUE(once.insert(m.key).second) << m.key;
  std::cout << "OpenAPI v2: " << text.size() << " bytes of JSON, " << openapi_v2_protobuf(*snapshot).size() << " of protobuf\n";
}

TEST_F(PublishedTypes, APodCostsMicroseconds) {
  const TypeId type = snapshot->body_type("", "v1", "Pod");
  const json::Value pod = decode(kPod, "application/yaml");
  constexpr int kRounds = 200;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRounds; ++i) {
    json::Value copy = pod;
    ASSERT_TRUE(normalise(copy, type, snapshot->types, nullptr).ok());
    apply_defaults(copy, type, snapshot->types);
    std::vector<FieldCause> causes;
    validate(copy, nullptr, type, snapshot->types, "", causes);
  }
  const auto spent = std::chrono::steady_clock::now() - start;
  std::cout << "copy, normalise, default, validate: " << std::chrono::duration_cast<std::chrono::microseconds>(spent).count() / kRounds << " us a pod\n";
}

}  // namespace
}  // namespace pintle::kernel::testing

// What schema and plugins refuse together: each cause once, and what only admission knows.
#include <gtest/gtest.h>

#include "tests/cluster/cluster.h"

namespace pintle::kernel {
namespace {

json::Value json_of(const std::string& text) {
  auto r = json::parse(text);
  EXPECT_TRUE(r.ok) << r.error;
  return r.value;
}

size_t occurrences(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
  return n;
}

class Rules : public ::testing::Test {
 protected:
  Cluster c{1, {"core", "service"}};
  void SetUp() override {
    ASSERT_TRUE(c.started()) << c.problem();
    ASSERT_TRUE(c.until([&] { return !c.read("namespaces", "", "default").is_null(); }));
  }
  // "" when it was created.
  std::string refused(const char* kind, const std::string& object) { return c.create(kind, json_of(object)).is_null() ? c.problem() : ""; }
  std::string pod(const std::string& spec) {
    return refused("pods", R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"default"},"spec":{)" + spec + "}}");
  }
};

TEST_F(Rules, ACauseIsToldOnce) {
  const std::string text = pod(R"("volumes":[{"name":"v"},{"name":"v"}],"initContainers":[{"name":"i","image":"x"},{"name":"i","image":"x"},{"name":"a","image":"x"}],
    "containers":[{"name":"a","image":"x","ports":[{"containerPort":0},{"containerPort":-1}],"volumeMounts":[{"name":"v","mountPath":"/m"},{"name":"v","mountPath":"/m"}]},
    {"name":"a","image":"x"}])");
  EXPECT_EQ(occurrences(text, "spec.volumes[1].name: Duplicate value: \"v\""), 1u) << text;
  EXPECT_EQ(occurrences(text, "spec.containers[1].name: Duplicate value: \"a\""), 1u) << text;
  EXPECT_EQ(occurrences(text, "spec.initContainers[1].name: Duplicate value: \"i\""), 1u) << text;
  EXPECT_EQ(occurrences(text, "spec.initContainers[2].name: Duplicate value: \"a\""), 1u) << text;
  EXPECT_EQ(occurrences(text, "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/m\": must be unique"), 1u) << text;
  EXPECT_EQ(occurrences(text, "spec.containers[0].ports[0].containerPort: Required value"), 1u) << text;
  EXPECT_EQ(occurrences(text, "spec.containers[0].ports[1].containerPort: Invalid value: -1"), 1u) << text;
  EXPECT_EQ(occurrences(text, "spec."), 7u) << text;
}

TEST_F(Rules, PriorityAndRuntimeClassAreForTheClusterToGive) {
  const std::string containers = R"("containers":[{"name":"c","image":"x"}])";
  EXPECT_EQ(pod(R"("priority":5,)" + containers), "pods \"p\" is forbidden: the integer value of priority (5) must not be provided in pod spec; "
                                                 "priority admission controller computed 0 from the given PriorityClass name");
  EXPECT_EQ(pod(R"("runtimeClassName":"nope",)" + containers), "pods \"p\" is forbidden: pod rejected: RuntimeClass \"nope\" not found");
  EXPECT_EQ(refused("runtimeclasses.node.k8s.io", R"({"apiVersion":"node.k8s.io/v1","kind":"RuntimeClass","metadata":{"name":"nope"},"handler":"sim"})"), "");
  EXPECT_EQ(pod(R"("runtimeClassName":"nope","priorityClassName":"system-node-critical",)" + containers), "");
  EXPECT_EQ(c.read("pods", "default", "p").at("spec.priority").as_int(), 2000001000);
}

TEST_F(Rules, EndpointSlicesHoldAddressesOfTheirType) {
  const auto slice = [&](const std::string& rest) {
    return refused("endpointslices.discovery.k8s.io", R"({"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"s","namespace":"default"},)" + rest + "}");
  };
  EXPECT_NE(slice(R"("addressType":"IPv4","endpoints":[{"addresses":["fd00::1"]}])").find("endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be a valid IPv4 address"), std::string::npos);
  EXPECT_NE(slice(R"("addressType":"IPv4","endpoints":[],"ports":[{"port":70000}])").find("ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"), std::string::npos);
  EXPECT_NE(slice(R"("addressType":"IPv4","endpoints":[],"ports":[{"port":0}])").find("ports[0].port: Invalid value: 0"), std::string::npos);
  EXPECT_NE(slice(R"("addressType":"IPv4","endpoints":[],"ports":[{"name":"No Name"}])").find("ports[0].name: Invalid value: \"No Name\""), std::string::npos);
  EXPECT_NE(slice(R"("addressType":"IPv4","endpoints":[],"ports":[{"name":"a"},{"name":"a"}])").find("ports[1].name: Duplicate value: \"a\""), std::string::npos);
  EXPECT_NE(slice(R"("addressType":"IPv4","endpoints":[],"ports":[{"protocol":"ICMP"}])").find("ports[0].protocol: Unsupported value: \"ICMP\""), std::string::npos);
  std::string addresses;
  for (int i = 0; i < 101; ++i) addresses += (i ? "," : "") + std::string("\"10.0.0.") + std::to_string(i) + "\"";
  EXPECT_NE(slice(R"("addressType":"IPv4","endpoints":[{"addresses":[)" + addresses + "]}]").find("endpoints[0].addresses: Too many: 101: must have at most 100 items"), std::string::npos);
  EXPECT_EQ(slice(R"("addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"name":"","port":80,"protocol":"TCP"},{"name":"b"}])"), "");
}

}  // namespace
}  // namespace pintle::kernel

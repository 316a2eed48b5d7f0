#include "plugins/core/connect.h"

#include <gtest/gtest.h>

#include "pintle/result.h"

namespace pintle::core {
namespace {

json::Value request(const char* sub, const char* query, const char* containers = R"([{"name":"a"}])", const char* annotations = "{}") {
  const std::string text = std::string(R"({"kind":"pods","subresource":")") + sub + R"(","query":)" + query +
                           R"(,"object":{"metadata":{"namespace":"ns","name":"p","uid":"u","annotations":)" + annotations +
                           R"(},"spec":{"nodeName":"n1","containers":)" + containers + R"(},"status":{"phase":"Running"}}})";
  const json::ParseResult r = json::parse(text);
  EXPECT_TRUE(r.ok) << r.error;
  return r.value;
}
std::string refusal(const json::Value& r) {
  try {
    connect_pod(r);
    return "";
  } catch (const Error& e) {
    return e.text;
  }
}

TEST(Connect, LogsGoToTheNodeAgentWithTheirOptions) {
  const json::Value out = connect_pod(request("log", R"({"follow":["true"],"tailLines":["5"]})"));
  EXPECT_EQ(out["slot"].as_string(), "node-agent.n1");
  EXPECT_EQ(out["request"]["mode"].as_string(), "text");
  EXPECT_EQ(out["request"]["container"].as_string(), "a");
  EXPECT_EQ(out["request"]["uid"].as_string(), "u");
  EXPECT_TRUE(out["request"]["options"]["follow"].as_bool());
  EXPECT_EQ(out["request"]["options"]["tailLines"].as_int(), 5);
}

TEST(Connect, ACommandKeepsItsOrder) {
  const json::Value out = connect_pod(request("exec", R"({"command":["sh","-c","x"],"stdout":"true"})"));
  EXPECT_EQ(out["request"]["options"]["command"].dump(), R"(["sh","-c","x"])");
  EXPECT_FALSE(out["request"]["options"]["stdin"].as_bool());
}

TEST(Connect, WithSeveralContainersANameIsNeededUnlessTheAnnotationSaysOne) {
  EXPECT_EQ(refusal(request("log", "{}", R"([{"name":"a"},{"name":"b"}])")),
            "a container name must be specified for pod p, choose one of: [a b]");
  const json::Value out = connect_pod(request("log", "{}", R"([{"name":"a"},{"name":"b"}])", R"({"kubectl.kubernetes.io/default-container":"b"})"));
  EXPECT_EQ(out["request"]["container"].as_string(), "b");
  EXPECT_EQ(refusal(request("log", R"({"container":["c"]})")), "container c is not valid for pod p");
}

TEST(Connect, BadLogOptionsNameTheField) {
  EXPECT_EQ(refusal(request("log", R"({"tailLines":["-1"]})")),
            "PodLogOptions \"\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0");
}

TEST(Connect, AnUnscheduledOrFinishedPodIsRefused) {
  json::Value r = request("exec", R"({"command":["a"],"stdout":"1"})");
  r.make("object.status.phase") = "Succeeded";
  EXPECT_EQ(refusal(r), "cannot exec into a container in a completed pod; current phase is Succeeded");
  r.make("object.status.phase") = "Pending";
  r.make("object.spec").erase("nodeName");
  EXPECT_EQ(refusal(r), "pod p does not have a host assigned");
}

}  // namespace
}  // namespace pintle::core

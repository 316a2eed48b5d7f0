#include "plugins/core/objects.h"

#include <gtest/gtest.h>
#include "plugins/core/parse_test.h"

namespace pintle::core {
namespace {

std::string lines(const Causes& causes) {
  std::string out;
  for (const auto& c : causes.list().items())
    out += std::string(c["field"].as_string()) + ": " + std::string(c["message"].as_string()) + "\n";
  return out;
}

TEST(Secret, StringDataBecomesData) {
  json::Value s = parse(R"({"stringData":{"a":"hello","b":""},"data":{"a":"eA==","c":"eA=="}})");
  default_secret(s);
  EXPECT_EQ(s, parse(R"({"data":{"a":"aGVsbG8=","c":"eA==","b":""}})"));
}

TEST(Secret, Base64LengthsAreThoseOfTheBytes) {
  for (const std::string text : {"", "a", "ab", "abc", "abcd"}) EXPECT_EQ(base64_length(base64(text)), text.size()) << text;
}

TEST(Secret, TypesHaveRequiredKeys) {
  Causes causes;
  validate_secret(parse(R"({"type":"kubernetes.io/tls","data":{"tls.crt":""}})"), {}, causes);
  EXPECT_EQ(lines(causes), "data[tls.key]: Required value\n");
}

TEST(Secret, CredentialsOfRegistriesAreJson) {
  const auto problem = [](const char* type, const char* name, std::string_view text) {
    json::Value s = parse("{}");
    s.set("type", std::string("kubernetes.io/") + type);
    s.set("data").set(name, base64(text));
    Causes causes;
    validate_secret(s, {}, causes);
    return lines(causes);
  };
  EXPECT_EQ(problem("dockerconfigjson", ".dockerconfigjson", R"({"auths":{"a":{"auth":"\u00e9"}}})"), "");
  EXPECT_EQ(problem("dockercfg", ".dockercfg", "{}"), "");
  EXPECT_EQ(problem("dockerconfigjson", ".dockerconfigjson", ""),
            "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": unexpected end of JSON input\n");
  EXPECT_EQ(problem("dockerconfigjson", ".dockerconfigjson", "{\"auths\": geheim}"), "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid JSON\n");
  EXPECT_EQ(problem("dockercfg", ".dockercfg", "[1]"), "data[.dockercfg]: Invalid value: \"<secret contents redacted>\": must be a JSON object\n");
  EXPECT_EQ(problem("dockercfg", "other", "{}"), "data[.dockercfg]: Required value\n");
}

TEST(Secret, ImmutableDataStays) {
  Causes causes;
  validate_secret(parse(R"({"data":{"a":"eQ=="}})"), parse(R"({"immutable":true,"data":{"a":"eA=="}})"), causes);
  EXPECT_EQ(lines(causes), "immutable: Forbidden: field is immutable when `immutable` is set\ndata: Forbidden: field is immutable when `immutable` is set\n");
}

TEST(ConfigMap, KeysAreFileNamesAndInOneOfBothMaps) {
  Causes causes;
  validate_config_map(parse(R"({"data":{"a b":"1","x":"2"},"binaryData":{"x":""}})"), {}, causes);
  const std::string text = lines(causes);
  EXPECT_NE(text.find("data[a b]: Invalid value: \"a b\": a valid config key must consist of"), std::string::npos) << text;
  EXPECT_NE(text.find("data[x]: Invalid value: \"x\": duplicate of key present in binaryData"), std::string::npos) << text;
}

TEST(ConfigMap, AMebibyteIsTheMost) {
  json::Value map = json::Value::object();
  map.set("data").set("k", std::string(1048577, 'x'));
  Causes causes;
  validate_config_map(map, {}, causes);
  EXPECT_EQ(lines(causes), ": Too long: may not be more than 1048576 bytes\n");
}

TEST(Event, ItLivesInTheNamespaceOfWhatItIsAbout) {
  Causes good, bad;
  validate_event(parse(R"({"metadata":{"namespace":"a"},"involvedObject":{"namespace":"a"}})"), "involvedObject", good);
  EXPECT_TRUE(good.empty());
  validate_event(parse(R"({"metadata":{"namespace":"a"},"regarding":{"namespace":"b"}})"), "regarding", bad);
  EXPECT_EQ(lines(bad), "regarding.namespace: Invalid value: \"b\": does not match event.namespace\n");
}

TEST(Namespace, CreationAddsLabelFinalizerAndPhase) {
  json::Value ns = parse(R"({"metadata":{"name":"a"}})");
  prepare_namespace(ns, true);
  EXPECT_EQ(ns["metadata"]["labels"]["kubernetes.io/metadata.name"].as_string(), "a");
  EXPECT_EQ(ns["spec"]["finalizers"].dump(), R"(["kubernetes"])");
  EXPECT_EQ(ns["status"]["phase"].as_string(), "Active");
}

TEST(Node, AllocatableIsCapacityUnlessSaid) {
  json::Value node = parse(R"({"status":{"capacity":{"cpu":"2"}}})");
  default_node(node);
  EXPECT_EQ(node["status"]["allocatable"]["cpu"].as_string(), "2");
}

}  // namespace
}  // namespace pintle::core

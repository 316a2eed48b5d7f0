// Bodies and paths that are too large, too deep, broken or sly: the right Status, and nothing is stored.
#include <gtest/gtest.h>

#include "tests/api/api_world.h"

namespace pintle::kernel {
namespace {

const std::string kThings = "/apis/test.example.com/v1/namespaces/default/widgets";

class BadInput : public testing::Test {
 protected:
  BadInput() { before_ = world_.store->revision(); }
  // Sends it and expects a Status of this code that says why; nothing may have been stored.
  void refused(int code, const std::string& method, const std::string& path, const std::string& body, const std::string& type,
               const std::string& part) {
    const Reply r = world_.call(method, path, body, {{"content-type", type}});
    const std::string what = method + " " + path.substr(0, 100) + " " + type + " " + body.substr(0, 100) + "\n" + r.body.substr(0, 500);
    EXPECT_EQ(r.code, code) << what;
    EXPECT_LT(r.body.size(), 100000u) << "an error that long helps nobody";
    EXPECT_EQ(world_.store->revision(), before_) << "something was stored: " << what;
    if (r.body.empty()) return;  // refused by the front end's parser, which the world has only half of
    EXPECT_EQ(r.json["kind"].as_string(), "Status") << what;
    EXPECT_EQ(r.json["code"].as_int(), code) << what;
    EXPECT_NE(r.json["message"].as_string().find(part), std::string_view::npos) << what;
  }
  void create(const std::string& body) {
    ASSERT_EQ(world_.call("POST", kThings, body).code, 201);
    before_ = world_.store->revision();
  }
  World world_;
  Revision before_ = 0;
};

std::string repeated(const std::string& s, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += s;
  return out;
}

TEST_F(BadInput, BrokenBodiesAreBadRequests) {
  for (const char* body : {"{", "{\"metadata\":", "{\"metadata\":{\"name\":\"a\"}}{}", "[]", "\"a\"", "7", "null", "{'metadata':{}}", "{\"metadata\":{\"name\":\"a\"},}", "\x01"})
    refused(400, "POST", kThings, body, "application/json", "");
  for (const char* body : {"a: [", "metadata: {name: a}\n---\nmetadata: {name: b}\n", "- a", "just text", "metadata:\n\t- x", "a: *nowhere", "a: !!binary 7", "{metadata: {name: a}, ? {x: y} : z}"})
    refused(400, "POST", kThings, body, "application/yaml", "");
  for (const std::string& body : {std::string("k8s"), std::string("k8s\0", 4), std::string("k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 15), std::string("\0\0\0\0", 4)})
    refused(400, "POST", kThings, body, "application/vnd.kubernetes.protobuf", "");
}

TEST_F(BadInput, TextThatIsNoTextIsABadRequest) {
  refused(400, "POST", kThings, "{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"\xff\xfe\"}}}", "application/json", "");
  refused(400, "POST", kThings, "metadata: {name: a, labels: {x: \"\xc3\x28\"}}", "application/yaml", "");
  refused(400, "POST", kThings, std::string("{\"metadata\":{\"name\":\"a\0b\"}}", 27), "application/json", "");
  refused(422, "POST", kThings, R"({"metadata":{"name":"a\u0000b"}})", "application/json", "metadata.name");
  refused(400, "POST", kThings, R"({"metadata":{"name":"\ud800"}})", "application/json", "");
}

TEST_F(BadInput, NumbersOutsideTheirTypeAreNamed) {
  refused(400, "POST", kThings, R"({"metadata":{"name":"a"},"spec":{"size":1e999}})", "application/json", "");
  for (const char* n : {"99999999999999999999", "2147483648", "1.5", "true", "\"7\"", "{}"})
    refused(400, "POST", kThings, std::string(R"({"metadata":{"name":"a"},"spec":{"size":)") + n + "}}", "application/json", "spec.size");
  refused(400, "POST", kThings, "metadata: {name: a}\nspec: {size: .inf}", "application/yaml", "");
}

TEST_F(BadInput, NestingAndKeysAreBounded) {
  for (const int depth : {257, 3000, 1000000}) {
    refused(400, "POST", kThings, R"({"metadata":{"name":"a"},"spec":{"anything":)" + repeated("[", depth) + repeated("]", depth) + "}}", "application/json", "");
    refused(400, "POST", kThings, "metadata: {name: a}\nspec: {anything: " + repeated("[", depth) + repeated("]", depth) + "}", "application/yaml", "");
  }
  std::string keys;
  for (int i = 0; i < 100000; ++i) keys += "\"k" + std::to_string(i) + "\":1,";
  refused(400, "POST", kThings + "?fieldValidation=Strict", "{" + keys + R"("metadata":{"name":"a"}})", "application/json", "unknown field \"k0\"");
  refused(400, "POST", kThings + "?fieldValidation=Strict", "{" + repeated("\"same\":1,", 100000) + R"("metadata":{"name":"a"}})", "application/json", "duplicate field");
}

TEST_F(BadInput, AliasesCannotExplode) {
  std::string bomb = "metadata: {name: a}\na0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last + repeated(", " + last, 8) + "]\n";
  }
  refused(400, "POST", kThings, bomb, "application/yaml", "");
  refused(400, "POST", kThings, "a: &a [*a]", "application/yaml", "");
}

TEST_F(BadInput, ManyUnknownKeysAreDroppedWithFewWarnings) {
  std::string keys;
  for (int i = 0; i < 100000; ++i) keys += "\"k" + std::to_string(i) + "\":1,";
  const Reply r = world_.call("POST", kThings, "{" + keys + R"("metadata":{"name":"a"}})");
  EXPECT_EQ(r.code, 201);
  size_t warnings = 0;
  for (const auto& [name, value] : r.headers) warnings += name == "Warning" ? value.size() : 0;
  EXPECT_GT(warnings, 0u);
  EXPECT_LT(warnings, 8192u);
  EXPECT_LT(world_.call("GET", kThings + "/a").body.size(), 2000u);
}

TEST_F(BadInput, PatchesAreBoundedAndAllOrNothing) {
  create(R"({"metadata":{"name":"a"},"spec":{"parts":[{"name":"x"}]}})");
  const auto ops = [](int n) {
    std::string out = R"([{"op":"add","path":"/metadata/annotations","value":{}})";
    for (int i = 1; i < n; ++i) out += R"(,{"op":"add","path":"/metadata/annotations/k","value":"v"})";
    return out + "]";
  };
  const std::string one = kThings + "/a";
  refused(413, "PATCH", one, ops(10001), "application/json-patch+json", "10000");
  refused(422, "PATCH", one, R"([{"op":"add","path":"/spec/size","value":3},{"op":"test","path":"/spec/size","value":4}])", "application/json-patch+json", "");
  refused(400, "PATCH", one, R"({"op":"add"})", "application/json-patch+json", "");
  refused(400, "PATCH", one, R"([{"op":"leap","path":"/a"}])", "application/json-patch+json", "");
  refused(400, "PATCH", one, "[1]", "application/merge-patch+json", "");
  refused(400, "PATCH", one, R"({"spec":{"parts":[{"weight":1}]}})", "application/strategic-merge-patch+json", "merge key");
  refused(400, "PATCH", one, R"({"spec":{"anything":)" + repeated("[", 300) + repeated("]", 300) + "}}", "application/merge-patch+json", "");
  refused(422, "PATCH", one, R"({"metadata":{"labels":{"a b":"c"}}})", "application/merge-patch+json", "metadata.labels");
  EXPECT_EQ(world_.call("PATCH", one, ops(10000), {{"content-type", "application/json-patch+json"}}).code, 200) << "as many as are allowed";
}

TEST_F(BadInput, NamesAndLabelsFollowTheirRules) {
  for (const std::string& name : {std::string("A"), std::string("a_b"), std::string("-a"), std::string("a-"), std::string("a..b"), std::string("a/b"), std::string("é"), std::string(254, 'a'), std::string(" ")})
    refused(422, "POST", kThings, R"({"metadata":{"name":")" + name + "\"}}", "application/json", "metadata.name");
  refused(422, "POST", kThings, R"({"metadata":{"generateName":"Upper-"}})", "application/json", "metadata.generateName");
  refused(422, "POST", kThings, R"({"metadata":{"name":"a","labels":{"k":")" + std::string(64, 'v') + "\"}}}", "application/json", "metadata.labels");
  refused(422, "POST", kThings, R"({"metadata":{"name":"a","annotations":{"k":")" + std::string(256 << 10, 'v') + "\"}}}", "application/json", "metadata.annotations");
  refused(422, "POST", kThings, R"({"metadata":{"name":"a","finalizers":["nope nope"]}})", "application/json", "metadata.finalizers");
  refused(422, "POST", kThings, R"({"metadata":{"name":"a","ownerReferences":[{"apiVersion":"v1","kind":"A","name":"x"}]}})", "application/json", "metadata.ownerReferences[0].uid");
  refused(422, "POST", kThings,
          R"({"metadata":{"name":"a","ownerReferences":[{"apiVersion":"v1","kind":"A","name":"x","uid":"1","controller":true},{"apiVersion":"v1","kind":"A","name":"y","uid":"2","controller":true}]}})",
          "application/json", "metadata.ownerReferences");
}

TEST_F(BadInput, PathsThatAnotherReaderCouldSeeDifferentlyAreRefused) {
  for (const char* path : {"/a%2fb", "/a%2Fb", "/..", "/%2e%2e", "/.%2e/x", "//a", "/a%00b", "/%zz", "/a%", "/\xff"})
    refused(400, "GET", kThings + path, "", "", "");
  refused(404, "GET", kThings + "/a/status/more", "", "", "");
  refused(404, "GET", "/apis/test.example.com/v1/namespaces/default/nothing/a", "", "", "");
}

TEST_F(BadInput, QueriesAreChecked) {
  for (const char* q : {"limit=-1", "limit=x", "continue=%01", "resourceVersion=-1", "resourceVersion=1e3", "labelSelector=a%20b", "labelSelector=%3D", "fieldSelector=a", "fieldSelector=x%3Dy"}) {
    const Reply r = world_.call("GET", kThings + "?" + q);
    EXPECT_TRUE(r.code == 400 || r.code == 422) << q << ": " << r.code << " " << r.body;
  }
  refused(400, "POST", kThings + "?timeout=soon", R"({"metadata":{"name":"a"}})", "application/json", "timeout");
  refused(422, "POST", kThings + "?fieldManager=" + std::string(129, 'm'), R"({"metadata":{"name":"a"}})", "application/json", "fieldManager");
}

}  // namespace
}  // namespace pintle::kernel

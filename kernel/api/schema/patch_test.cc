#include <gmock/gmock.h>

#include "kernel/api/schema/widget_test.h"

namespace pintle::kernel::testing {
namespace {

using ::testing::HasSubstr;

std::string outcome(const Result<void>& r, const json::Value& v) {
  return r.ok() ? v.dump() : "error " + std::to_string(r.error().code) + ": " + r.error().text;
}

std::string merged(const std::string& target, const std::string& patch) {
  json::Value v = parse(target);
  const Result<void> r = merge_patch(v, parse(patch));
  return outcome(r, v);
}

TEST(MergePatch, FollowsTheExamplesOfTheRfc) {
  const char* const kCases[][3] = {
      {R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"}, {R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
      {R"({"a":"b"})", R"({"a":null})", "{}"}, {R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
      {R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"}, {R"({"a":"c"})", R"({"a":["b"]})", R"({"a":["b"]})"},
      {R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"}, {R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
      {R"({"e":1})", R"({"a":{"bb":{"ccc":null}}})", R"({"e":1,"a":{"bb":{}}})"}, {R"({"a":1})", R"({"a":{"b":null,"c":1}})", R"({"a":{"c":1}})"}};
  for (const auto& c : kCases) EXPECT_EQ(merged(c[0], c[1]), c[2]);
  EXPECT_THAT(merged("{}", "[]"), HasSubstr("error 1:"));
}

std::string patched(const std::string& target, const std::string& patch) {
  json::Value v = parse(target);
  const Result<void> r = json_patch(v, parse(patch));
  if (!r.ok()) {
    EXPECT_EQ(v, parse(target)) << "a failing patch left something behind";
  }
  return outcome(r, v);
}

TEST(JsonPatch, AppliesEveryOperation) {
  EXPECT_EQ(patched(R"({"a":1})", R"([{"op":"add","path":"/b","value":[1,3]},{"op":"add","path":"/b/1","value":2},{"op":"add","path":"/b/-","value":4}])"), R"({"a":1,"b":[1,2,3,4]})");
  EXPECT_EQ(patched(R"({"a":1,"b":2})", R"([{"op":"remove","path":"/a"},{"op":"replace","path":"/b","value":{"c":null}}])"), R"({"b":{"c":null}})");
  EXPECT_EQ(patched(R"({"a":{"x":1}})", R"([{"op":"copy","from":"/a","path":"/b"},{"op":"move","from":"/a/x","path":"/c"}])"), R"({"a":{},"b":{"x":1},"c":1})");
  EXPECT_EQ(patched(R"({"a/b":1,"m~n":2})", R"([{"op":"test","path":"/a~1b","value":1},{"op":"replace","path":"/m~0n","value":3}])"), R"({"a/b":1,"m~n":3})");
  EXPECT_EQ(patched(R"({"a":[1,2,3]})", R"([{"op":"remove","path":"/a/1"},{"op":"test","path":"/a","value":[1,3]}])"), R"({"a":[1,3]})");
  EXPECT_EQ(patched(R"({"a":1})", R"([{"op":"replace","path":"","value":{"b":2}}])"), R"({"b":2})");
  EXPECT_EQ(patched(R"({"a":1})", R"([{"op":"move","from":"/a","path":"/a"}])"), R"({"a":1})");
}

TEST(JsonPatch, FailingOperationsAreUnprocessable) {
  for (const char* op : {R"({"op":"test","path":"/a","value":2})", R"({"op":"remove","path":"/x"})", R"({"op":"replace","path":"/x","value":1})",
                         R"({"op":"add","path":"/x/y","value":1})", R"({"op":"add","path":"/l/9","value":1})", R"({"op":"add","path":"/l/01","value":1})",
                         R"({"op":"move","from":"/l","path":"/l/0"})", R"({"op":"copy","from":"/x","path":"/y"})", R"({"op":"remove","path":""})"})
    EXPECT_THAT(patched(R"({"a":1,"l":[1]})", std::string("[{\"op\":\"add\",\"path\":\"/new\",\"value\":1},") + op + "]"), HasSubstr("error 11:")) << op;
  EXPECT_THAT(patched(R"({"a":1})", R"([{"op":"test","path":"/a","value":2}])"), HasSubstr("testing value /a failed"));
}

TEST(JsonPatch, MalformedPatchesAreBadRequests) {
  for (const char* p : {"{}", "[1]", R"([{"path":"/a"}])", R"([{"op":"fly","path":"/a"}])", R"([{"op":"add","path":"/a"}])", R"([{"op":"add","path":"a","value":1}])",
                        R"([{"op":"add","path":"/a~2","value":1}])", R"([{"op":"copy","path":"/a"}])"})
    EXPECT_THAT(patched(R"({"a":1})", p), HasSubstr("error 1:")) << p;
}

TEST(JsonPatch, IsBounded) {
  json::Value ops = json::Value::array();
  for (int i = 0; i < 10001; ++i) ops.push(parse(R"({"op":"add","path":"/a","value":1})"));
  EXPECT_THAT(patched("{}", ops.dump()), HasSubstr("error 9: The allowed maximum operations in a JSON patch is 10000, got 10001"));
  std::string doubling = "[";
  for (int i = 0; i < 40; ++i) doubling += std::string(i ? "," : "") + R"({"op":"copy","from":"/a","path":"/a/-"})";
  EXPECT_THAT(patched(R"({"a":["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]})", doubling + "]"), HasSubstr("accumulated size increase of copy"));
  std::string deepening = R"([{"op":"add","path":"/a","value":{}})", path = "/a";
  for (int i = 0; i < 300; ++i) {
    path += "/a";
    deepening += R"(,{"op":"add","path":")" + path + R"(","value":{}})";
  }
  EXPECT_THAT(patched("{}", deepening + "]"), HasSubstr("nested deeper"));
}

class StrategicPatch : public Widgets {
 protected:
  // Both texts are specs of a Widget.
  std::string spec(const std::string& target, const std::string& patch) {
    json::Value v = parse("{\"spec\":" + target + "}");
    const Result<void> r = strategic_patch(v, parse("{\"spec\":" + patch + "}"), widget(), types());
    return r.ok() ? v["spec"].dump() : outcome(r, v);
  }
};

TEST_F(StrategicPatch, MergesListsByTheirKeyAtEveryDepth) {
  EXPECT_EQ(spec(R"({"replicas":1,"parts":[{"name":"a","size":"1","ports":[{"number":80}]},{"name":"b"}]})",
                 R"({"parts":[{"name":"a","mode":5,"ports":[{"number":80,"protocol":"UDP"},{"number":81}]},{"name":"c","size":null}]})"),
            R"({"replicas":1,"parts":[{"name":"a","size":"1","ports":[{"number":80,"protocol":"UDP"},{"number":81}],"mode":5},{"name":"b"},{"name":"c"}]})");
}

TEST_F(StrategicPatch, NullDeletesAndOtherListsAreReplaced) {
  EXPECT_EQ(spec(R"({"color":"red","tags":["a","b"],"selector":{"a":"1","b":"2"}})", R"({"color":null,"tags":["c"],"selector":{"a":null,"c":"3"}})"),
            R"({"tags":["c"],"selector":{"b":"2","c":"3"}})");
}

TEST_F(StrategicPatch, DirectivesDeleteReplaceAndMerge) {
  const std::string parts = R"({"parts":[{"name":"a","size":"1"},{"name":"b"}]})";
  EXPECT_EQ(spec(parts, R"({"parts":[{"name":"a","$patch":"delete"}]})"), R"({"parts":[{"name":"b"}]})");
  EXPECT_EQ(spec(parts, R"({"parts":[{"name":"z"},{"$patch":"replace"}]})"), R"({"parts":[{"name":"z"}]})");
  EXPECT_EQ(spec(parts, R"({"parts":[{"$patch":"replace"}]})"), R"({"parts":[]})");
  EXPECT_EQ(spec(parts, R"({"parts":[{"name":"a","$patch":"merge","mode":3}]})"), R"({"parts":[{"name":"a","size":"1","mode":3},{"name":"b"}]})");
  EXPECT_EQ(spec(R"({"strategy":{"type":"x","rolling":{}}})", R"({"strategy":{"$patch":"replace","type":"y"}})"), R"({"strategy":{"type":"y"}})");
  EXPECT_EQ(spec(R"({"strategy":{"type":"x"}})", R"({"strategy":{"$patch":"delete"}})"), R"({"strategy":{}})");
  EXPECT_EQ(spec("{}", R"({"strategy":{"$retainKeys":["type"],"type":"y","rolling":null}})"), R"({"strategy":{"type":"y"}})");
  EXPECT_THAT(spec(parts, R"({"parts":[{"name":"a","$patch":"explode"}]})"), HasSubstr("error 1: Unknown patch type found: explode"));
}

TEST_F(StrategicPatch, RetainKeysDropsTheRest) {
  EXPECT_EQ(spec(R"({"strategy":{"type":"rolling","rolling":{"max":1}}})", R"({"strategy":{"$retainKeys":["type"],"type":"recreate"}})"), R"({"strategy":{"type":"recreate"}})");
  EXPECT_EQ(spec(R"({"volumes":[{"name":"v","empty":{}}]})", R"({"volumes":[{"name":"v","$retainKeys":["name","host"],"host":{"path":"/x"}}]})"),
            R"({"volumes":[{"name":"v","host":{"path":"/x"}}]})");
  EXPECT_THAT(spec(R"({"strategy":{}})", R"({"strategy":{"$retainKeys":["rolling"],"type":"x"}})"), HasSubstr("must contain all fields present in the patch"));
}

TEST_F(StrategicPatch, ListsOfScalarsMergeAsSets) {
  json::Value v = parse(R"({"metadata":{"finalizers":["a/x","a/y"]}})");
  ASSERT_TRUE(strategic_patch(v, parse(R"({"metadata":{"finalizers":["a/y","a/z"],"$deleteFromPrimitiveList/finalizers":["a/x"]}})"), widget(), types()).ok());
  EXPECT_EQ(v["metadata"]["finalizers"].dump(), R"(["a/y","a/z"])");
  ASSERT_TRUE(strategic_patch(v, parse(R"({"metadata":{"$setElementOrder/finalizers":["a/z","a/y"]}})"), widget(), types()).ok());
  EXPECT_EQ(v["metadata"]["finalizers"].dump(), R"(["a/z","a/y"])");
}

TEST_F(StrategicPatch, SetElementOrderArranges) {
  EXPECT_EQ(spec(R"({"parts":[{"name":"a"},{"name":"b"},{"name":"c"}]})", R"({"$setElementOrder/parts":[{"name":"c"},{"name":"d"},{"name":"a"}],"parts":[{"name":"d"},{"name":"a","mode":1}]})"),
            R"({"parts":[{"name":"b"},{"name":"c"},{"name":"d"},{"name":"a","mode":1}]})");
  EXPECT_EQ(spec(R"({"parts":[{"name":"a"},{"name":"server"},{"name":"b"}]})", R"({"$setElementOrder/parts":[{"name":"a"},{"name":"b"}],"parts":[{"name":"b","mode":2}]})"),
            R"({"parts":[{"name":"a"},{"name":"server"},{"name":"b","mode":2}]})");
  EXPECT_EQ(spec(R"({"parts":[{"name":"a"},{"name":"b"}]})", R"({"$setElementOrder/parts":[{"name":"b"}],"parts":[{"name":"a","$patch":"delete"}]})"), R"({"parts":[{"name":"b"}]})");
  EXPECT_THAT(spec(R"({"parts":[]})", R"({"$setElementOrder/parts":[{"name":"a"},{"name":"b"}],"parts":[{"name":"b"},{"name":"a"}]})"), HasSubstr("doesn't match $setElementOrder/parts list"));
  EXPECT_THAT(spec(R"({"parts":[]})", R"({"$setElementOrder/parts":7})"), HasSubstr("must be a list"));
}

TEST_F(StrategicPatch, AnElementWithoutItsMergeKeyIsRefused) {
  EXPECT_EQ(spec(R"({"parts":[{"name":"a"}]})", R"({"parts":[{"size":"1"}]})"), "error 1: map: {\"size\":\"1\"} does not contain declared merge key: name");
  EXPECT_THAT(spec(R"({"parts":[{"name":"a"}]})", R"({"parts":[7]})"), HasSubstr("does not contain declared merge key"));
}

TEST_F(StrategicPatch, WithoutATypeItMergesMapsAndReplacesLists) {
  json::Value v = parse(R"({"a":{"b":1},"l":[1]})");
  ASSERT_TRUE(strategic_patch(v, parse(R"({"a":{"c":2},"l":[2]})"), kNoType, types()).ok());
  EXPECT_EQ(v.dump(), R"({"a":{"b":1,"c":2},"l":[2]})");
  EXPECT_FALSE(strategic_patch(v, parse("[]"), kNoType, types()).ok());
}

}  // namespace
}  // namespace pintle::kernel::testing

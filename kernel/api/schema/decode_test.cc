#include <gmock/gmock.h>

#include "kernel/api/schema/widget_test.h"

namespace pintle::kernel::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Decode : public Widgets {
 protected:
  std::string yaml(const std::string& text) {
    Result<Decoded> r = decode_body(text, "application/yaml", *snapshot);
    if (!r) {
      EXPECT_EQ(r.error().code, PINTLE_BAD_REQUEST);
      return "error: " + r.error().text;
    }
    problems = r->problems;
    return r->value.dump();
  }
  std::vector<std::string> problems;
};

TEST_F(Decode, JsonIsTheDefaultAndParametersDoNotMatter) {
  for (const char* type : {"", "application/json", "Application/JSON; charset=utf-8"}) {
    const auto r = decode_body(R"({"a":1,"b":{"c":2,"c":3}})", type, *snapshot);
    ASSERT_TRUE(r.ok()) << type;
    EXPECT_EQ(r->value.dump(), R"({"a":1,"b":{"c":3}})");
    EXPECT_THAT(r->problems, ElementsAre("duplicate field \"b.c\""));
  }
}

TEST_F(Decode, UnknownMediaTypesAreNamedBack) {
  const auto r = decode_body("{}", "text/plain", *snapshot);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, PINTLE_UNSUPPORTED_MEDIA);
  EXPECT_EQ(r.error().text, "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf");
}

TEST_F(Decode, BadJsonIsABadRequest) {
  std::string deep;
  for (int i = 0; i < 257; ++i) deep += "[";
  for (const std::string& body : {std::string("{"), std::string(""), std::string("{\"a\":\"\xff\"}"), deep + std::string(257, ']'), std::string("{\"a\":1}x")}) {
    const auto r = decode_body(body, "", *snapshot);
    ASSERT_FALSE(r.ok());
    EXPECT_EQ(r.error().code, PINTLE_BAD_REQUEST);
    EXPECT_THAT(r.error().text, HasSubstr("json parse error"));
  }
}

TEST_F(Decode, ReportsStayShortWhateverTheKeysAre) {
  std::string doubled, unknown;
  for (int i = 0; i < 20000; ++i) doubled += "\"a\":1,", unknown += "\"x" + std::to_string(i) + "\":1,";
  const std::string key(1000000, 'k');
  const auto size = [](const std::vector<std::string>& list) {
    size_t n = 0;
    for (const std::string& p : list) n += p.size();
    return n;
  };
  for (const char* type : {"application/json", "application/yaml"}) {
    const auto r = decode_body("{\"" + key + "\":{" + doubled + "\"b\":2}}", type, *snapshot);
    ASSERT_TRUE(r.ok()) << r.error().text;
    EXPECT_FALSE(r->problems.empty());
    EXPECT_LT(size(r->problems), 300000u);
  }
  canonical("{\"spec\":{\"limits\":{\"" + key + "\":1}," + unknown + "\"z\":2}}", &problems);
  EXPECT_EQ(problems.size(), 64u);
}

TEST_F(Decode, YamlScalarsMeanWhatKubernetesThinks) {
  EXPECT_EQ(yaml("a: 1\nb: '1'\nc: 1.5\nd: true\ne: \"true\"\nf: null\ng: ~\nh:\ni: text\nj: 0644\nk: 0x1F\nl: 1e3\nm: 2024-01-01\nn: yes\no: 1_000\np: -7\nq: 0o17\n"
                 "r: 1.2.3\ns: 10.0.0.1\nt: |\n  two\n  lines\n"),
            R"({"a":1,"b":"1","c":1.5,"d":true,"e":"true","f":null,"g":null,"h":null,"i":"text","j":420,"k":31,"l":1000,"m":"2024-01-01","n":true,"o":1000,"p":-7,"q":15,)"
            R"("r":"1.2.3","s":"10.0.0.1","t":"two\nlines\n"})");
  EXPECT_EQ(yaml("1: a\ntrue: b\n"), R"({"1":"a","true":"b"})");
  EXPECT_EQ(yaml("a: !!str 1\nb: !!int '2'\nc: !!binary YQ==\n"), R"({"a":"1","b":2,"c":"YQ=="})");
  EXPECT_EQ(yaml("{a: [1, two, {b: []}]}"), R"({"a":[1,"two",{"b":[]}]})");
  EXPECT_EQ(yaml(R"({"kind":"Widget","spec":{"x":"y"}})"), R"({"kind":"Widget","spec":{"x":"y"}})");
  EXPECT_EQ(yaml("---\na: 1\n---\n"), R"({"a":1})");
  EXPECT_EQ(yaml(""), "null");
}

TEST_F(Decode, YamlAnchorsAndMergeKeys) {
  EXPECT_EQ(yaml("base: &b {x: 1, y: 2}\nc:\n  <<: *b\n  y: 3\nd: *b\n"), R"({"base":{"x":1,"y":2},"c":{"y":3,"x":1},"d":{"x":1,"y":2}})");
  EXPECT_EQ(yaml("a: &s text\nb: [*s, *s]\n"), R"({"a":"text","b":["text","text"]})");
  EXPECT_THAT(yaml("a: 1\n<<: 3\n"), HasSubstr("map merge requires"));
  EXPECT_THAT(yaml("a: &x [*x]\n"), HasSubstr("contains itself"));
  EXPECT_THAT(yaml("a: *nobody\n"), HasSubstr("error:"));
}

TEST_F(Decode, YamlDuplicateKeysAreReported) {
  EXPECT_EQ(yaml("spec:\n  parts:\n  - {name: a}\n  - name: b\n    name: c\n"), R"({"spec":{"parts":[{"name":"a"},{"name":"c"}]}})");
  EXPECT_THAT(problems, ElementsAre("duplicate field \"spec.parts[1].name\""));
}

TEST_F(Decode, YamlMistakesSayWhere) {
  EXPECT_THAT(yaml("a: 1\n b: 2\n"), HasSubstr("line 2"));
  EXPECT_THAT(yaml("a: [1\n"), HasSubstr("error converting YAML to JSON: yaml: line"));
  EXPECT_THAT(yaml("a: 1\n---\nb: 2\n"), HasSubstr("more than one document"));
  EXPECT_THAT(yaml("[],[],[]"), HasSubstr("error"));
  EXPECT_THAT(yaml("? [a]\n: 1\n"), HasSubstr("neither string nor number"));
  EXPECT_THAT(yaml("~: 1\n"), HasSubstr("neither string nor number"));
  EXPECT_THAT(yaml("a: .nan\n"), HasSubstr("no JSON form"));
  EXPECT_THAT(yaml("a: !thing 1\n"), HasSubstr("unknown tag"));
  EXPECT_THAT(yaml("a: \"\xff\"\n"), HasSubstr("UTF-8"));
}

TEST_F(Decode, YamlBudgetsHold) {
  EXPECT_THAT(yaml(std::string(300, '[') + std::string(300, ']')), HasSubstr("nested deeper"));
  EXPECT_THAT(yaml(std::string(100000, '[')), HasSubstr("nested deeper"));
  std::string indented;
  for (int i = 0; i < 300; ++i) indented += std::string(static_cast<size_t>(i), ' ') + "a:\n";
  EXPECT_THAT(yaml(indented), HasSubstr("nested deeper"));
  std::string many = "a:\n";
  for (int i = 0; i < 100001; ++i) many += "- 1\n";
  EXPECT_THAT(yaml(many), HasSubstr("more than 100000 nodes"));
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string p = "*a" + std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + p;
    for (int k = 0; k < 8; ++k) laughs += ", " + p;
    laughs += "]\n";
  }
  EXPECT_THAT(yaml(laughs), HasSubstr("excessive aliasing"));
  std::string long_text = "a: &a " + std::string(100000, 'x') + "\nb: [";
  for (int i = 0; i < 500; ++i) long_text += "*a,";
  EXPECT_THAT(yaml(long_text + "]"), HasSubstr("excessive aliasing"));
}

}  // namespace
}  // namespace pintle::kernel::testing

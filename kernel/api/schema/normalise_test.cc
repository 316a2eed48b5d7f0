#include <gmock/gmock.h>

#include <chrono>

#include "kernel/api/schema/widget_test.h"

namespace pintle::kernel::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Normalise : public Widgets {};

TEST_F(Normalise, PutsMembersIntoSchemaOrderAndDropsNulls) {
  EXPECT_EQ(canonical(R"({"spec":{"parts":[{"size":null,"name":"a"}],"replicas":2},"kind":"Widget","status":null,
                          "metadata":{"labels":{"b":"2","a":"1","c":null},"name":"x"},"apiVersion":"widgets.example.io/v1"})").dump(),
            R"({"apiVersion":"widgets.example.io/v1","kind":"Widget","metadata":{"name":"x","labels":{"a":"1","b":"2"}},)"
            R"("spec":{"replicas":2,"parts":[{"name":"a"}]}})");
}

TEST_F(Normalise, DropsUnknownFieldsAndNamesThem) {
  std::vector<std::string> problems;
  const json::Value v = canonical(R"({"spec":{"foo":1,"parts":[{"name":"a"},{"bar":{},"name":"b"}],"volumes":[{"name":"v","volumeSource":{}}]},"x":null})", &problems);
  EXPECT_THAT(problems, ElementsAre("unknown field \"spec.foo\"", "unknown field \"spec.parts[1].bar\"", "unknown field \"spec.volumes[0].volumeSource\"", "unknown field \"x\""));
  EXPECT_EQ(v.dump(), R"({"spec":{"parts":[{"name":"a"},{"name":"b"}],"volumes":[{"name":"v"}]}})");
}

TEST_F(Normalise, WrongTypesAreToldAsKubernetesTellsThem) {
  EXPECT_EQ(normalise_error(R"({"apiVersion":"widgets.example.io/v1","kind":"Widget","spec":{"replicas":"three"}})"),
            "Widget in version \"v1\" cannot be handled as a Widget: json: cannot unmarshal string into Go struct field WidgetSpec.spec.replicas of type int32");
  EXPECT_THAT(normalise_error(R"({"spec":{"parts":[{"name":7}]}})"), HasSubstr("json: cannot unmarshal number into Go struct field Part.spec.parts.name of type string"));
  EXPECT_THAT(normalise_error(R"({"spec":{"parts":{}}})"), HasSubstr("cannot unmarshal object into Go struct field WidgetSpec.spec.parts of type []v1.Part"));
  EXPECT_THAT(normalise_error(R"({"spec":[]})"), HasSubstr("cannot unmarshal array into Go struct field Widget.spec of type v1.WidgetSpec"));
  EXPECT_THAT(normalise_error(R"({"spec":{"replicas":3000000000}})"), HasSubstr("cannot unmarshal number 3000000000 into"));
  EXPECT_THAT(normalise_error(R"({"spec":{"replicas":1.5}})"), HasSubstr("cannot unmarshal number 1.5 into"));
  EXPECT_THAT(normalise_error(R"({"spec":{"selector":{"a":1}}})"), HasSubstr("spec.selector.a of type string"));
  EXPECT_THAT(normalise_error(R"([1])"), HasSubstr("json: cannot unmarshal array into Go value of type v1.Widget"));
  EXPECT_THAT(normalise_error(R"({"metadata":{"finalizers":[null]}})"), HasSubstr("cannot unmarshal null"));
}

TEST_F(Normalise, CanonicalisesScalarsThatHaveAForm) {
  const json::Value v = canonical(R"({"spec":{"limits":{"cpu":0.5,"memory":"1024Mi","n":2},"interval":"90s","parts":[{"name":"a","size":"1000m","port":"http"},{"name":"b","port":80}]},
                                      "status":{"started":"2024-01-01T02:00:00+02:00","beat":"2024-01-01T00:00:00Z"}})");
  EXPECT_EQ(v["spec"]["limits"].dump(), R"({"cpu":"500m","memory":"1Gi","n":"2"})");
  EXPECT_EQ(v["spec"]["interval"].as_string(), "1m30s");
  EXPECT_EQ(v.at("spec.parts[0].size").as_string(), "1");
  EXPECT_EQ(v.at("spec.parts[0].port").as_string(), "http");
  EXPECT_EQ(v.at("spec.parts[1].port").as_int(), 80);
  EXPECT_EQ(v.at("status.started").as_string(), "2024-01-01T00:00:00Z");
  EXPECT_EQ(v.at("status.beat").as_string(), "2024-01-01T00:00:00.000000Z");
  EXPECT_THAT(normalise_error(R"({"spec":{"limits":{"cpu":"lots"}}})"), HasSubstr("quantities must match"));
  EXPECT_THAT(normalise_error(R"({"spec":{"interval":"soon"}})"), HasSubstr("time: invalid duration \"soon\""));
  EXPECT_THAT(normalise_error(R"({"status":{"started":"yesterday"}})"), HasSubstr("parsing time \"yesterday\""));
  EXPECT_THAT(normalise_error(R"({"spec":{"parts":[{"data":"%"}]}})"), HasSubstr("illegal base64 data at input byte 0"));
}

TEST_F(Normalise, KeepsAnyAsItIs) {
  const char* raw = R"({"z":1,"a":null,"nested":[{"b":1,"a":2}]})";
  EXPECT_EQ(canonical(std::string(R"({"spec":{"raw":)") + raw + "}}")["spec"]["raw"].dump(), raw);
}

TEST_F(Normalise, IsStable) {
  const json::Value once = canonical(R"({"spec":{"limits":{"b":"1.50","a":"1000"},"parts":[{"port":1,"name":"q"}]},"kind":"Widget"})");
  EXPECT_EQ(canonical(once.dump()).dump(), once.dump());
}

TEST_F(Normalise, DefaultsApplyWhereTheParentExists) {
  json::Value v = canonical(R"({"spec":{"parts":[{"name":"a","ports":[{"number":1},{"number":2,"protocol":"UDP"}]}],"strategy":{"rolling":{}}}})");
  apply_defaults(v, widget(), types());
  EXPECT_EQ(v.dump(), R"({"spec":{"replicas":1,"parts":[{"name":"a","mode":420,"ports":[{"number":1,"protocol":"TCP"},{"number":2,"protocol":"UDP"}]}],)"
                      R"("strategy":{"rolling":{"max":"25%"}}},"status":{}})");
  json::Value unordered = parse(R"({"status":{"ready":1},"spec":{"strategy":{},"replicas":5}})");
  apply_defaults(unordered, widget(), types());
  EXPECT_EQ(unordered, parse(R"({"status":{"ready":1},"spec":{"strategy":{},"replicas":5}})"));
}

TEST_F(Normalise, HooksAreVisitedWhereverTheirTypesOccur) {
  json::Value v = canonical(R"({"spec":{"parts":[],"volumes":[{"name":"a","empty":{}},{"name":"b"}]}})");
  std::vector<std::string> seen;
  visit_hooked(v, widget(), types(), "", [&](const ObjectType& t, const std::string& path, json::Value& value) {
    seen.push_back(t.name + " " + path);
    if (t.name == "example.v1.VolumeSource" && !value.contains("empty")) value.set("empty", json::Value::object());
  });
  EXPECT_THAT(seen, ElementsAre("example.v1.WidgetSpec spec", "example.v1.VolumeSource spec.volumes[0]", "example.v1.VolumeSource spec.volumes[1]"));
  EXPECT_TRUE(v.at("spec.volumes[1]").contains("empty"));
}

TEST_F(Normalise, FieldsThatAreOnlyStoredAreNamedWhenSetAnew) {
  const json::Value v = canonical(R"({"spec":{"dnsName":"x","parts":[{"name":"a","legacy":true},{"name":"b","legacy":false}]}})");
  EXPECT_THAT(stored_only_fields(v, nullptr, widget(), types()), ElementsAre("spec.parts[0].legacy", "spec.dnsName"));
  EXPECT_TRUE(stored_only_fields(v, &v, widget(), types()).empty());
  const json::Value old = canonical(R"({"spec":{"dnsName":"y","parts":[{"name":"a","legacy":true}]}})");
  EXPECT_THAT(stored_only_fields(v, &old, widget(), types()), ElementsAre("spec.dnsName"));
}

}  // namespace
}  // namespace pintle::kernel::testing

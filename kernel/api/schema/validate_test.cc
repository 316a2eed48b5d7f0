#include <gmock/gmock.h>

#include "kernel/api/schema/widget_test.h"

namespace pintle::kernel::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Validate : public Widgets {
 protected:
  std::vector<std::string> metadata(const std::string& text, bool namespaced = true, const std::string& format = "dns1123subdomain") {
    Kind kind;
    kind.namespaced = namespaced;
    kind.name_format = format;
    std::vector<FieldCause> found;
    validate_metadata(parse(text), kind, found);
    std::vector<std::string> out;
    for (const FieldCause& c : found) out.push_back(c.reason + " " + c.field + ": " + c.message);
    return out;
  }
};

TEST_F(Validate, AWholeWidgetIsFine) {
  EXPECT_THAT(causes(R"({"metadata":{"name":"x"},"spec":{"replicas":0,"color":"red","parts":[{"name":"a","ports":[{"number":80},{"number":80,"protocol":"UDP"}]}],
    "volumes":[{"name":"v","host":{"path":"/x"}}],"selector":{"app":"x"},"ratio":0.5,"tags":["a","b"],"node":"n1"}})"), IsEmpty());
}

TEST_F(Validate, RequiredFieldsAreNamed) {
  EXPECT_THAT(causes(R"({})"), ElementsAre("FieldValueRequired spec: Required value"));
  EXPECT_THAT(causes(R"({"spec":{}})"), ElementsAre("FieldValueRequired spec.parts: Required value"));
  EXPECT_THAT(causes(R"({"spec":{"parts":[]}})"), ElementsAre("FieldValueRequired spec.parts: Required value"));
  EXPECT_THAT(causes(R"({"spec":{"parts":[{"name":""}]}})"), ElementsAre("FieldValueRequired spec.parts[0].name: Required value"));
}

TEST_F(Validate, RangesEnumerationsLengthsAndFormatsSayWhatIsAllowed) {
  EXPECT_THAT(causes(R"({"spec":{"replicas":-1,"color":"blue","parts":[{"name":"A","mode":512}],"ratio":1.5,"tags":["a","b","c","d"],"dnsName":"123456789"}})"),
              ElementsAre("FieldValueInvalid spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                          "FieldValueNotSupported spec.color: Unsupported value: \"blue\": supported values: \"green\", \"red\"",
                          HasSubstr("FieldValueInvalid spec.parts[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of"),
                          "FieldValueInvalid spec.parts[0].mode: Invalid value: 512: must be between 1 and 511, inclusive",
                          "FieldValueInvalid spec.ratio: Invalid value: 1.5: must be between 0 and 1, inclusive",
                          "FieldValueTooMany spec.tags: Too many: 4: must have at most 3 items",
                          "FieldValueTooLong spec.dnsName: Too long: may not be more than 8 bytes"));
  EXPECT_THAT(causes(R"({"spec":{"parts":[{"name":"a"}],"selector":{"-bad":"x"}}})"),
              ElementsAre(HasSubstr("FieldValueInvalid spec.selector[-bad]: Invalid value: \"-bad\": name part must consist of")));
}

TEST_F(Validate, DuplicatesOfKeysAndOfSetItemsAreFound) {
  EXPECT_THAT(causes(R"({"spec":{"tags":["a","a"],"parts":[{"name":"a"},{"name":"a","ports":[{"number":80},{"number":80}]}]}})"),
              ElementsAre("FieldValueDuplicate spec.parts[1].name: Duplicate value: \"a\"",
                          "FieldValueDuplicate spec.parts[1].ports[1]: Duplicate value: {\"number\":80,\"protocol\":\"TCP\"}",
                          "FieldValueDuplicate spec.tags[1]: Duplicate value: \"a\""));
  EXPECT_THAT(causes(R"({"spec":{"parts":[{"name":"a","env":[{"name":"X"},{"name":"X"}]}]}})"), IsEmpty());
}

TEST_F(Validate, AUnionNeedsExactlyOneMember) {
  EXPECT_THAT(causes(R"({"spec":{"parts":[{"name":"a"}],"volumes":[{"name":"none"},{"name":"both","empty":{},"host":{"path":"x"}}]}})"),
              ElementsAre("FieldValueRequired spec.volumes[0]: Required value: must specify one of: empty, host",
                          "FieldValueInvalid spec.volumes[1].host.path: Invalid value: \"x\": must be an absolute path",
                          "FieldValueForbidden spec.volumes[1].host: Forbidden: may not be set together with empty: exactly one of empty, host"));
}

TEST_F(Validate, ImmutableFieldsStayOnceSet) {
  const std::string a = R"({"spec":{"parts":[{"name":"a"}],"node":"n1","selector":{"a":"b"}}})";
  EXPECT_THAT(causes(a, a), IsEmpty());
  EXPECT_THAT(causes(a, R"({"spec":{"parts":[{"name":"a"}]}})"), IsEmpty());
  EXPECT_THAT(causes(R"({"spec":{"parts":[{"name":"a"}],"node":"n2","selector":{"a":"c"}}})", a),
              ElementsAre("FieldValueInvalid spec.selector: Invalid value: {\"a\":\"c\"}: field is immutable",
                          "FieldValueInvalid spec.node: Invalid value: \"n2\": field is immutable"));
  EXPECT_THAT(causes(R"({"spec":{"parts":[{"name":"a"}],"selector":{"a":"b"}}})", a),
              ElementsAre("FieldValueInvalid spec.node: Invalid value: \"\": field is immutable"));
}

TEST_F(Validate, PathsStartWhereTheCallerSays) {
  std::vector<FieldCause> found;
  validate(parse(R"({"number":0})"), nullptr, type("example.v1.Port"), types(), "spec.ports[3]", found);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].field, "spec.ports[3].number");
}

TEST_F(Validate, MetadataNames) {
  EXPECT_THAT(metadata(R"({"name":"a.b"})"), IsEmpty());
  EXPECT_THAT(metadata(R"({"generateName":"a-"})"), IsEmpty());
  EXPECT_THAT(metadata(R"({})"), ElementsAre("FieldValueRequired metadata.name: Required value: name or generateName is required"));
  EXPECT_THAT(metadata(R"({"name":"A"})"), ElementsAre(HasSubstr("FieldValueInvalid metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain")));
  EXPECT_THAT(metadata(R"({"name":"a.b"})", true, "dns1123label"), ElementsAre(HasSubstr("a lowercase RFC 1123 label")));
  EXPECT_THAT(metadata(R"({"name":"system:x/y"})", true, "none"), ElementsAre(HasSubstr("may not contain '/'")));
  EXPECT_THAT(metadata(R"({"name":"a","namespace":"B"})"), ElementsAre(HasSubstr("metadata.namespace")));
  EXPECT_THAT(metadata(R"({"name":"a","namespace":"b"})", false), ElementsAre("FieldValueForbidden metadata.namespace: Forbidden: not allowed on this type"));
}

TEST_F(Validate, MetadataLabelsAnnotationsFinalizersAndOwners) {
  EXPECT_THAT(metadata(R"({"name":"a","labels":{"b a d":"x","ok":"-"},"annotations":{"UP.x/y":"fine","/":""},"finalizers":["x y"]})"),
              ElementsAre(HasSubstr("metadata.labels: Invalid value: \"b a d\""), HasSubstr("metadata.labels: Invalid value: \"-\": a valid label"),
                          HasSubstr("metadata.annotations: Invalid value: \"/\""), HasSubstr("metadata.finalizers: Invalid value: \"x y\"")));
  const std::string big(256 * 1024, 'x');
  EXPECT_THAT(metadata(R"({"name":"a","annotations":{"k":")" + big + "\"}}"), ElementsAre("FieldValueTooLong metadata.annotations: Too long: may not be more than 262144 bytes"));
  EXPECT_THAT(metadata(R"({"name":"a","ownerReferences":[{"kind":"A","name":"x","uid":"1","apiVersion":"v1","controller":true},{"kind":"B","name":"y","uid":"","apiVersion":"v1","controller":true}]})"),
              ElementsAre("FieldValueInvalid metadata.ownerReferences[1].uid: Invalid value: \"\": uid must not be empty",
                          HasSubstr("Only one reference can have Controller set to true. Found \"true\" in references for A/x and B/y")));
}

}  // namespace
}  // namespace pintle::kernel::testing

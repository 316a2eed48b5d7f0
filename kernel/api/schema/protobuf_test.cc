#include <gmock/gmock.h>

#include "kernel/api/schema/widget_test.h"
#include "kernel/api/schema/wire_test.h"

namespace pintle::kernel::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Protobuf : public Widgets {
 protected:
  std::string decoded(const std::string& body) {
    Result<Decoded> r = decode_body(body, "application/vnd.kubernetes.protobuf", *snapshot);
    if (!r) {
      code = r.error().code;
      return "error: " + r.error().text;
    }
    problems = r->problems;
    return r->value.dump();
  }
  std::string spec(const Message& m) {
    const std::string whole = decoded(envelope("widgets.example.io/v1", "Widget", Message().message(2, m)));
    const std::string before = R"({"apiVersion":"widgets.example.io/v1","kind":"Widget","spec":)";
    if (whole.substr(0, before.size()) != before) return whole;
    return whole.substr(before.size(), whole.size() - before.size() - 1);
  }
  std::vector<std::string> problems;
  pintle_code code = PINTLE_OK;
};

TEST_F(Protobuf, MetadataWithMapsTimesAndLists) {
  const Message owner = Message().bytes(1, "A").bytes(3, "a").bytes(4, "u").bytes(5, "v1").number(6, 1);
  const Message meta = Message()
                           .bytes(1, "w").bytes(2, "").bytes(3, "ns").bytes(5, "").number(7, 3)
                           .message(8, Message().number(1, 1704067200).number(2, 5))
                           .entry(11, "app", Message().bytes(2, "x")).entry(11, "app", Message().bytes(2, "y"))
                           .message(13, owner).bytes(14, "f/1").bytes(14, "f/2")
                           .message(17, Message().bytes(1, "m").message(4, Message()).message(7, Message().bytes(1, R"({"f:a":{}})")));
  EXPECT_EQ(decoded(envelope("widgets.example.io/v1", "Widget", Message().message(1, meta))),
            R"({"apiVersion":"widgets.example.io/v1","kind":"Widget","metadata":{"name":"w","namespace":"ns","generation":3,)"
            R"("creationTimestamp":"2024-01-01T00:00:00Z","labels":{"app":"y"},"ownerReferences":[{"kind":"A","name":"a","uid":"u","apiVersion":"v1","controller":true}],)"
            R"("finalizers":["f/1","f/2"],"managedFields":[{"manager":"m","fieldsV1":{"f:a":{}}}]}})");
  EXPECT_THAT(problems, IsEmpty());
}

TEST_F(Protobuf, ScalarsOfEveryShape) {
  const Message int_port = Message().bytes(1, "a").message(3, Message().number(1, 0).number(2, 80)).bytes(7, std::string("\x00\xff", 2));
  const Message name_port = Message().bytes(1, "b").message(2, Message().bytes(1, "500m")).message(3, Message().number(1, 1).bytes(3, "http"));
  EXPECT_EQ(spec(Message().message(3, int_port).message(3, name_port)),
            R"({"parts":[{"name":"a","port":80,"data":"AP8="},{"name":"b","size":"500m","port":"http"}]})");
  EXPECT_EQ(spec(Message().entry(7, "cpu", Message().message(2, Message().bytes(1, "1"))).message(8, Message().number(1, 90000000000))
                     .message(9, Message().bytes(1, R"({"z":[1]})")).fixed64(11, 0x3FE0000000000000).number(13, static_cast<uint64_t>(-5))),
            R"({"limits":{"cpu":"1"},"interval":"1m30s","raw":{"z":[1]},"ratio":0.5,"big":-5})");
  EXPECT_EQ(spec(Message().number(1, static_cast<uint64_t>(-1))), R"({"replicas":-1})");
  EXPECT_EQ(decoded(envelope("widgets.example.io/v1", "Widget", Message().message(3, Message().message(3, Message().number(1, 1).number(2, 1234000))))),
            R"({"apiVersion":"widgets.example.io/v1","kind":"Widget","status":{"beat":"1970-01-01T00:00:01.001234Z"}})");
}

TEST_F(Protobuf, RepeatedNumbersPackedAndNot) {
  EXPECT_EQ(spec(Message().number(16, 1).number(16, 2).bytes(16, Message().raw(3).raw(400).text())), R"({"numbers":[1,2,3,400]})");
  EXPECT_EQ(spec(Message().bytes(16, "")), R"({"numbers":[]})");
}

TEST_F(Protobuf, ListsInMapsAreMessagesOfTheirOwn) {
  EXPECT_EQ(spec(Message().entry(14, "k", Message().message(2, Message().bytes(1, "a").bytes(1, "b")))), R"({"extra":{"k":["a","b"]}})");
  EXPECT_EQ(spec(Message().entry(14, "k", Message())), R"({"extra":{"k":[]}})");
}

TEST_F(Protobuf, InlinedMessagesLieInTheirParent) {
  EXPECT_EQ(spec(Message().message(4, Message().bytes(1, "v").message(2, Message().message(2, Message().bytes(1, "/x"))))),
            R"({"volumes":[{"name":"v","host":{"path":"/x"}}]})");
}

TEST_F(Protobuf, ZerosThatMeanNotSetAreDropped) {
  EXPECT_EQ(spec(Message().number(1, 0).bytes(2, "").number(15, 0).bytes(10, "")), R"({"replicas":0,"user":0})");
  EXPECT_EQ(spec(Message().message(3, Message().bytes(1, "").number(4, 0).number(6, 0))), R"({"parts":[{"name":"","legacy":false}]})");
}

TEST_F(Protobuf, AMessageThatComesTwiceIsMerged) {
  EXPECT_EQ(decoded(envelope("widgets.example.io/v1", "Widget", Message().message(2, Message().number(1, 2)).message(2, Message().bytes(2, "red")))),
            R"({"apiVersion":"widgets.example.io/v1","kind":"Widget","spec":{"replicas":2,"color":"red"}})");
}

TEST_F(Protobuf, OptionsAndBodiesOfSubresourcesAreKnown) {
  for (const char* version : {"v1", "meta.k8s.io/v1", "policy/v1"})
    EXPECT_THAT(decoded(envelope(version, "DeleteOptions", Message().number(1, 0).bytes(4, "Background").bytes(5, "All"))),
                HasSubstr(R"("kind":"DeleteOptions","gracePeriodSeconds":0,"propagationPolicy":"Background","dryRun":["All"]})"));
  EXPECT_THAT(decoded(envelope("widgets.example.io/v1", "Squeeze", Message().number(1, 4))), HasSubstr(R"("force":4)"));
}

TEST_F(Protobuf, UnknownFieldsAreReportedUnlessTheySayNothing) {
  EXPECT_EQ(spec(Message().number(99, 0).bytes(98, "").number(1, 1)), R"({"replicas":1})");
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(spec(Message().number(99, 1)), "{}");
  EXPECT_THAT(problems, ElementsAre("unknown field number 99 in example.v1.WidgetSpec"));
}

TEST_F(Protobuf, BrokenBodiesAreBadRequests) {
  EXPECT_THAT(decoded("{}"), HasSubstr("does not appear to be a protobuf message, expected prefix [107 56 115 0]"));
  EXPECT_THAT(decoded(envelope("v1", "Nobody", Message())), HasSubstr("no kind \"Nobody\" is registered for version \"v1\""));
  EXPECT_THAT(spec(Message().bytes(1, "x")), HasSubstr("wrong wireType = 2 for field replicas"));
  EXPECT_THAT(spec(Message().bytes(2, "\xff")), HasSubstr("invalid UTF-8"));
  EXPECT_THAT(spec(Message().message(9, Message().bytes(1, "{"))), HasSubstr("embedded JSON"));
  EXPECT_EQ(code, PINTLE_BAD_REQUEST);
  const std::string good = envelope("widgets.example.io/v1", "Widget", Message().message(2, Message().bytes(2, "red")));
  EXPECT_THAT(decoded(good.substr(0, good.size() - 8)), HasSubstr("unexpected EOF"));
  Message deep;
  for (int i = 0; i < 300; ++i) deep = Message().message(1, deep);
  EXPECT_THAT(spec(Message().message(18, deep)), HasSubstr("nested deeper"));
}

TEST_F(Protobuf, KindsWithoutFieldNumbersSpeakOnlyJson) {
  EXPECT_THAT(decoded(envelope("widgets.example.io/v1", "Note", Message())), HasSubstr("accepted media types include: application/json, application/yaml"));
  EXPECT_EQ(code, PINTLE_UNSUPPORTED_MEDIA);
}

}  // namespace
}  // namespace pintle::kernel::testing

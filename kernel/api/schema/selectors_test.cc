#include <gmock/gmock.h>

#include "kernel/api/schema/widget_test.h"

namespace pintle::kernel::testing {
namespace {

using ::testing::HasSubstr;

bool matches(const std::string& selector, const std::string& labels) {
  const auto s = LabelSelector::parse(selector);
  EXPECT_TRUE(s.ok()) << selector << ": " << s.error().text;
  return s.ok() && s->matches(pack_labels(parse(labels)));
}

TEST(LabelSelectors, MatchAsTheGrammarSays) {
  const std::string web = R"({"app":"web","tier":"front","n":"5","empty":""})";
  for (const char* s : {"", "app", "!nope", "app=web", "app==web", "app!=db", "nope!=x", "app in (web,db)", "app notin (db)", "nope notin (a)", "app=web,tier=front",
                        "n>4", "n < 6", "empty=", "empty in ()", "empty in (,x)", "  app = web , tier", "app in ( web )"})
    EXPECT_TRUE(matches(s, web)) << s;
  for (const char* s : {"!app", "nope", "app=db", "app!=web", "app in (db)", "app notin (web,db)", "n>5", "n<5", "app>1", "app=web,tier=back", "nope=", "ap"})
    EXPECT_FALSE(matches(s, web)) << s;
  EXPECT_FALSE(matches("a", "{}"));
}

TEST(LabelSelectors, RefuseWhatTheGrammarDoesNotKnow) {
  for (const char* s : {",", "a,", "a=b=c", "a b", "a in", "a in (", "a in (b", "a in b", "=x", "!", "!a=b", "a>x", "-a", "a=-b", "a in (b c)", "x/y/z", "a,,b", "(a)"}) {
    const auto r = LabelSelector::parse(s);
    ASSERT_FALSE(r.ok()) << s;
    EXPECT_EQ(r.error().code, PINTLE_BAD_REQUEST);
    EXPECT_THAT(r.error().text, HasSubstr("unable to parse requirement"));
  }
}

TEST(LabelSelectors, ComeFromObjectsToo) {
  const auto s = LabelSelector::from_object(parse(R"({"matchLabels":{"a":"1"},"matchExpressions":[{"key":"b","operator":"In","values":["x","y"]},{"key":"c","operator":"DoesNotExist"}]})"));
  ASSERT_TRUE(s.ok());
  EXPECT_TRUE(s->matches(pack_labels(parse(R"({"b":"y","a":"1"})"))));
  EXPECT_FALSE(s->matches(pack_labels(parse(R"({"b":"y","a":"1","c":""})"))));
  EXPECT_TRUE(LabelSelector::from_object(parse("{}"))->empty());
  EXPECT_FALSE(LabelSelector::from_object(parse(R"({"matchExpressions":[{"key":"b","operator":"Near"}]})")).ok());
  EXPECT_FALSE(LabelSelector::from_object(parse(R"({"matchExpressions":[{"key":"b","operator":"In"}]})")).ok());
  EXPECT_FALSE(LabelSelector::from_object(parse(R"({"matchExpressions":[{"key":"b","operator":"Exists","values":["x"]}]})")).ok());
}

TEST(FieldSelectors, AreReadWithEscapes) {
  const auto s = parse_field_selector(R"(metadata.name=a\,b,spec.x!=y,,status.phase==\\)");
  ASSERT_TRUE(s.ok()) << s.error().text;
  ASSERT_EQ(s->size(), 3u);
  EXPECT_EQ((*s)[0].value, "a,b");
  EXPECT_FALSE((*s)[1].equal);
  EXPECT_EQ((*s)[2].value, "\\");
  EXPECT_TRUE(parse_field_selector("")->empty());
  EXPECT_EQ(parse_field_selector("a=")->at(0).value, "");
  for (const char* bad : {"a", "=b", R"(a=\x)", "a=b=c", "a!b"}) EXPECT_FALSE(parse_field_selector(bad).ok()) << bad;
}

}  // namespace
}  // namespace pintle::kernel::testing

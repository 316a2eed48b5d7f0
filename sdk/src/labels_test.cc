#include "pintle/labels.h"

#include <gtest/gtest.h>

namespace pintle {
namespace {

json::Value labels() { return json::Value::object({{"app", "web"}, {"tier", "front"}, {"n", "5"}}); }

TEST(Labels, AnEmptySelectorMatchesEverythingAndNullMatchesNothing) {
  EXPECT_TRUE(Selector().matches(labels()));
  EXPECT_TRUE(Selector::from_object(json::Value::object())->matches(labels()));
  EXPECT_FALSE(Selector::from_object(json::Value())->matches(labels()));
}

TEST(Labels, TextFormsSelectAsKubernetesDoes) {
  const std::pair<const char*, bool> cases[] = {
      {"app=web", true},        {"app==web", true},           {"app=api", false},    {"app!=api", true},
      {"missing!=x", true},     {"app in (api, web)", true},  {"app in (api)", false}, {"app notin (api,web)", false},
      {"missing notin (x)", true}, {"app", true},             {"!app", false},       {"!missing", true},
      {"app=web,tier=front", true}, {"app=web,tier=back", false}, {"n>4", true},     {"n<5", false},
      {" app = web , tier ", true}, {"missing=", false}};
  for (const auto& [text, expected] : cases) {
    auto s = Selector::parse(text);
    ASSERT_TRUE(s.ok()) << text << ": " << s.error().text;
    EXPECT_EQ(s->matches(labels()), expected) << text;
    EXPECT_EQ(Selector::parse(s->text())->matches(labels()), expected) << s->text();
  }
}

TEST(Labels, MalformedTextIsRefused) {
  for (const char* text : {"app=web,", "app in web", "app in (web", "a b=c", "app=we b", "!", "n>x", "app!web"})
    EXPECT_FALSE(Selector::parse(text).ok()) << text;
}

TEST(Labels, SelectorObjectsCombineLabelsAndExpressions) {
  auto v = json::parse_or_null(
      R"({"matchLabels":{"app":"web"},"matchExpressions":[{"key":"tier","operator":"In","values":["x","front"]},{"key":"z","operator":"DoesNotExist"}]})");
  auto s = Selector::from_object(v);
  ASSERT_TRUE(s.ok());
  EXPECT_TRUE(s->matches(labels()));
  EXPECT_EQ(s->text(), "app=web,tier in (front,x),!z");
  auto bad = json::parse_or_null(R"({"matchExpressions":[{"key":"tier","operator":"In"}]})");
  EXPECT_FALSE(Selector::from_object(bad).ok());
  auto gt = json::parse_or_null(R"({"matchExpressions":[{"key":"n","operator":"Gt","values":["1"]}]})");
  EXPECT_FALSE(Selector::from_object(gt).ok());
}

}  // namespace
}  // namespace pintle

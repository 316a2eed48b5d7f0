#include "kernel/plugin/config.h"

#include <gtest/gtest.h>

namespace pintle::kernel {
namespace {

TEST(Config, KeepsTheOrderAndTheSpecsOfPlugins) {
  auto c = parse_config("listen: [\"127.0.0.1:0\"]\nplugins:\n  zeta:\n  alpha: {enabled: false, config: {a: 1}}\n", "p.yaml");
  ASSERT_TRUE(c) << c.error().text;
  ASSERT_EQ(c->plugins.size(), 2u);
  EXPECT_EQ(c->plugins[0].name, "zeta");
  EXPECT_TRUE(c->plugins[0].spec["enabled"].as_bool());
  EXPECT_FALSE(c->plugins[1].spec["enabled"].as_bool());
  EXPECT_EQ(c->plugins[1].spec.at("config.a").as_int(), 1);
}

TEST(Config, AnUnknownKeyIsAnErrorWithItsPlace) {
  auto c = parse_config("log:\n  levl: info\n", "p.yaml");
  ASSERT_FALSE(c);
  EXPECT_NE(c.error().text.find("p.yaml:2:3: log.levl: unknown key"), std::string::npos) << c.error().text;
}

TEST(Config, AKeyThatIsThereTwiceIsAnError) {
  auto c = parse_config("listen: [a]\nlisten: [b]\n", "p.yaml");
  ASSERT_FALSE(c);
  EXPECT_NE(c.error().text.find("p.yaml:2:1"), std::string::npos) << c.error().text;
}

TEST(Config, BrokenYamlSaysWhere) {
  auto c = parse_config("a: [1,\nb", "p.yaml");
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().text.rfind("p.yaml:", 0), 0u) << c.error().text;
}

TEST(ConfigSchema, FillsDefaultsAndNamesEveryProblem) {
  const json::Value schema = json::parse_or_null(
      R"({"type":"object","additionalProperties":false,"required":["name"],"properties":{"name":{"type":"string"},"n":{"type":"integer","minimum":1,"default":7},
          "list":{"type":"array","items":{"type":"object","properties":{"a":{"type":"boolean"}}}}}})");
  auto ok = apply_schema(schema, json::parse_or_null(R"({"name":"x"})"));
  ASSERT_TRUE(ok) << ok.error().text;
  EXPECT_EQ((*ok)["n"].as_int(), 7);
  auto bad = apply_schema(schema, json::parse_or_null(R"({"n":0,"list":[{"a":1}],"more":1})"), "plugins.x.config");
  ASSERT_FALSE(bad);
  for (const char* text : {"plugins.x.config: \"name\" is missing", "plugins.x.config.n: must be at least 1", "plugins.x.config.list[0].a: must be boolean, is integer",
                           "plugins.x.config.more: unknown key"})
    EXPECT_NE(bad.error().text.find(text), std::string::npos) << bad.error().text;
}

TEST(ConfigSchema, AKeywordItDoesNotKnowIsRefused) {
  EXPECT_FALSE(check_schema(json::parse_or_null(R"({"type":"object","properties":{"a":{"type":"string","pattern":"x"}}})")));
}

}  // namespace
}  // namespace pintle::kernel

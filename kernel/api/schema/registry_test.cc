#include <gmock/gmock.h>

#include "kernel/api/schema/widget_test.h"

namespace pintle::kernel::testing {
namespace {

using ::testing::HasSubstr;

class RegistryOfWidgets : public Widgets {};

std::string refusal(const std::string& manifest) {
  Registry r;
  const Result<void> done = r.add("p", parse(manifest));
  EXPECT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, PINTLE_INVALID);
  EXPECT_EQ(r.snapshot()->generation, 0u);
  return done.error().text;
}

TEST_F(RegistryOfWidgets, FindsKindsByPathAndByKind) {
  const auto k = snapshot->find("widgets.example.io", "v1", "widgets");
  ASSERT_TRUE(k);
  EXPECT_EQ(k->owner, "widget");
  EXPECT_EQ(k->singular, "widget");
  EXPECT_EQ(k->name(), "widgets.widgets.example.io");
  EXPECT_TRUE(k->hooks.prepare_create && k->hooks.delete_request && k->hooks.delete_final && k->hooks.table);
  EXPECT_FALSE(k->hooks.prepare_update);
  EXPECT_EQ(k->expires_after_ns, 3600000000000ull);
  EXPECT_EQ(k->storage().name, "v1");
  EXPECT_EQ(k->selectable_alias.at(0).second, "spec.node");
  EXPECT_EQ(k->subresource("scale")->kind_name, "Scale");
  EXPECT_EQ(snapshot->find_kind("widgets.example.io", "Widget"), k);
  EXPECT_EQ(snapshot->by_name("widgets.widgets.example.io"), k);
  EXPECT_FALSE(snapshot->find("widgets.example.io", "v2", "widgets"));
}

TEST_F(RegistryOfWidgets, HidingTakesKindsOutOfServiceAndKeepsTheirNames) {
  const uint64_t before = snapshot->generation;
  int changes = 0;
  registry.on_change([&] { ++changes; });
  registry.set_hidden("widget", true);
  const auto hidden = registry.snapshot();
  EXPECT_GT(hidden->generation, before);
  EXPECT_FALSE(hidden->find("widgets.example.io", "v1", "widgets"));
  EXPECT_TRUE(hidden->by_name("widgets.widgets.example.io"));
  EXPECT_TRUE(discovery_resources(*hidden, "widgets.example.io", "v1").is_null());
  EXPECT_TRUE(snapshot->find("widgets.example.io", "v1", "widgets")) << "an older snapshot changed";
  registry.set_hidden("widget", true);
  EXPECT_EQ(changes, 1);
  registry.set_hidden("widget", false);
  registry.set_available("widget", false);
  EXPECT_FALSE(registry.snapshot()->find("widgets.example.io", "v1", "widgets")->available);
}

TEST_F(RegistryOfWidgets, APluginMayComeAgainWithOtherTypes) {
  const TypeId id = widget();
  json::Value again = parse(kWidgetManifest);
  again.set("types").set("example.v1.Widget").set("fields").set("more", parse(R"({"type":"string"})"));
  again.set("types").set("example.v1.VolumeSource").set("fields").set("other", parse(R"({"type":"string"})"));
  ASSERT_TRUE(registry.add("widget", again).ok());
  const auto now = registry.snapshot();
  EXPECT_EQ(now->types.find("example.v1.Widget"), id);
  EXPECT_TRUE(now->types.get(id).field("more"));
  EXPECT_TRUE(now->types.get(now->types.find("example.v1.Volume")).field("other"));
  EXPECT_EQ(now->kinds.size(), 2u);
}

TEST_F(RegistryOfWidgets, InlinedFieldsAreSeenInJsonOnly) {
  const ObjectType& volume = types().get(type("example.v1.Volume"));
  EXPECT_TRUE(volume.field("empty"));
  EXPECT_FALSE(volume.field("volumeSource"));
  EXPECT_EQ(volume.field("empty")->proto, 0u);
  EXPECT_TRUE(volume.union_exactly_one);
}

TEST_F(RegistryOfWidgets, PutsApiVersionKindAndMetadataFirst) {
  const ObjectType& w = types().get(widget());
  EXPECT_EQ(w.fields[0].name, "apiVersion");
  EXPECT_EQ(w.fields[1].name, "kind");
  EXPECT_EQ(w.fields[2].name, "metadata");
  EXPECT_EQ(w.fields[3].name, "spec");
}

TEST(RegistryRefusal, NamesWhatDangles) {
  const std::string text = refusal(R"({"types":{"a.A":{"fields":{"x":{"type":"[]no.B"},"y":{"type":"map[string]no.C"}}}}})");
  EXPECT_THAT(text, HasSubstr("\"no.B\" (in a.A.x)"));
  EXPECT_THAT(text, HasSubstr("\"no.C\" (in a.A.y)"));
}

TEST(RegistryRefusal, NamesTheFieldThatIsWrong) {
  EXPECT_THAT(refusal(R"({"types":{"a.A":{"fields":{"x":{"type":"string","formt":"ip"}}}}})"), HasSubstr("a.A.x: member \"formt\""));
  EXPECT_THAT(refusal(R"({"types":{"a.A":{"fields":{"x":{"type":"string","format":"ipx"}}}}})"), HasSubstr("unknown format \"ipx\""));
  EXPECT_THAT(refusal(R"({"types":{"a.A":{"fields":{"x":{"type":"[string"}}}}})"), HasSubstr("is not a type"));
  EXPECT_THAT(refusal(R"({"types":{"a.A":{"union":["q"],"fields":{}}}})"), HasSubstr("no field \"q\""));
  EXPECT_THAT(refusal(R"({"types":{"a.A":{"fields":{"x":{"type":"a.A","protoInline":true}}}}})"), HasSubstr("inlines itself"));
}

TEST(RegistryRefusal, NamesTheKindThatIsWrong) {
  const auto kind = [](const std::string& rest) {
    return R"({"types":{"a.A":{"fields":{}}},"kinds":[{"kind":"A","plural":"as","versions":[{"name":"v1","type":"a.A"}])" + rest + "}]}";
  };
  Registry fine;
  EXPECT_TRUE(fine.add("p", parse(kind(""))).ok());
  EXPECT_THAT(refusal(kind(R"(,"colour":1)")), HasSubstr("kind A.colour: unknown member"));
  EXPECT_THAT(refusal(kind(R"(,"verbs":["fly"])")), HasSubstr("unknown verb"));
  EXPECT_THAT(refusal(kind(R"(,"expiresAfter":"soon")")), HasSubstr("expiresAfter"));
  EXPECT_THAT(refusal(kind(R"(,"subresources":{"log":{"mode":"connect","verbs":["get"]}})")), HasSubstr("subresources.log.stream"));
  EXPECT_THAT(refusal(R"({"kinds":[{"kind":"A","plural":"as","versions":[{"name":"v1","type":"a.A"}]}]})"), HasSubstr("nobody exports"));
}

TEST(RegistryRefusal, TwoPluginsCannotServeTheSameKindOrExportTheSameType) {
  const std::string manifest = R"({"types":{"T.T":{"fields":{}}},"kinds":[{"kind":"A","plural":"as","versions":[{"name":"v1","type":"T.T"}]}]})";
  Registry r;
  ASSERT_TRUE(r.add("one", parse(manifest)).ok());
  EXPECT_THAT(r.add("two", parse(manifest)).error().text, HasSubstr("plugin \"one\" exports"));
  const std::string other = R"({"types":{"S.S":{"fields":{}}},"kinds":[{"kind":"A","plural":"as","versions":[{"name":"v1","type":"S.S"}]}]})";
  EXPECT_THAT(r.add("two", parse(other)).error().text, HasSubstr("from plugin \"one\""));
}

}  // namespace
}  // namespace pintle::kernel::testing

// Discovery and OpenAPI.
#include <gmock/gmock.h>

#include "kernel/api/schema/widget_test.h"

namespace pintle::kernel::testing {
namespace {

using ::testing::HasSubstr;

class Documents : public Widgets {};

TEST_F(Documents, GroupsAreListedWithTheirPreferredVersion) {
  EXPECT_EQ(discovery_groups(*snapshot).dump(),
            R"({"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"widgets.example.io","versions":[{"groupVersion":"widgets.example.io/v1","version":"v1"}],)"
            R"("preferredVersion":{"groupVersion":"widgets.example.io/v1","version":"v1"}}]})");
}

TEST_F(Documents, ResourcesAreListedWithTheirSubresources) {
  const json::Value d = discovery_resources(*snapshot, "widgets.example.io", "v1");
  EXPECT_EQ(d["groupVersion"].as_string(), "widgets.example.io/v1");
  EXPECT_EQ(d["resources"].size(), 6u);
  const json::Value& w = d["resources"][0];
  EXPECT_EQ(w["name"].as_string(), "widgets");
  EXPECT_EQ(w["verbs"].dump(), R"(["create","delete","deletecollection","get","list","patch","update","watch"])");
  EXPECT_EQ(w["shortNames"].dump(), R"(["wd"])");
  EXPECT_EQ(d["resources"][2].dump(), R"({"name":"widgets/scale","singularName":"","namespaced":true,"group":"autoscaling","version":"v1","kind":"Scale","verbs":["get","patch","update"]})");
  EXPECT_EQ(d["resources"][5]["verbs"].dump(), R"(["get","list"])");
  EXPECT_TRUE(discovery_resources(*snapshot, "widgets.example.io", "v2").is_null());
}

TEST_F(Documents, AggregatedDiscoveryHasEveryMemberThatClientsNeed) {
  const json::Value d = discovery_aggregated(*snapshot, false);
  EXPECT_EQ(d["apiVersion"].as_string(), "apidiscovery.k8s.io/v2");
  const json::Value& v = d.at("items[0].versions[0]");
  EXPECT_EQ(v["freshness"].as_string(), "Current");
  const json::Value& w = v["resources"][0];
  EXPECT_EQ(w["responseKind"].dump(), R"({"group":"widgets.example.io","version":"v1","kind":"Widget"})");
  EXPECT_EQ(w["scope"].as_string(), "Namespaced");
  EXPECT_EQ(w["subresources"].size(), 4u);
  EXPECT_EQ(v["resources"][1]["scope"].as_string(), "Cluster");
  EXPECT_EQ(discovery_aggregated(*snapshot, true)["items"].size(), 0u);
}

TEST_F(Documents, VersionsAreListedBestFirst) {
  Registry r;
  ASSERT_TRUE(r.add("p", parse(R"({"types":{"t.T":{"fields":{}}},"kinds":[{"group":"g.io","kind":"T","plural":"ts","versions":[
    {"name":"v1beta1","type":"t.T"},{"name":"v1alpha3","type":"t.T"},{"name":"v1","type":"t.T","storage":true},{"name":"v2","type":"t.T"},{"name":"v1beta2","type":"t.T"}]}]})")).ok());
  std::string order;
  const json::Value groups = discovery_groups(*r.snapshot());
  for (const json::Value& v : groups.at("groups[0].versions").items()) order += std::string(v["version"].as_string()) + " ";
  EXPECT_EQ(order, "v2 v1 v1beta2 v1beta1 v1alpha3 ");
}

TEST_F(Documents, TheOpenApiIndexNamesEachGroupVersion) {
  EXPECT_EQ(openapi_v3_index(*snapshot, [](const std::string& path) { return "H" + std::to_string(path.size()); }).dump(),
            R"({"paths":{"apis/widgets.example.io/v1":{"serverRelativeURL":"/openapi/v3/apis/widgets.example.io/v1?hash=H26"}}})");
}

TEST_F(Documents, OpenApiDescribesTypesAndOperations) {
  const std::string text = openapi_v3_text(*snapshot, "widgets.example.io", "v1");
  const auto parsed = json::parse(text);
  ASSERT_TRUE(parsed.ok) << parsed.error;
  const json::Value& schemas = parsed.value["components"]["schemas"];
  const json::Value& w = schemas["example.v1.Widget"];
  EXPECT_EQ(w["x-kubernetes-group-version-kind"].dump(), R"([{"group":"widgets.example.io","version":"v1","kind":"Widget"}])");
  EXPECT_EQ(w["properties"]["spec"].dump(), R"({"allOf":[{"$ref":"#/components/schemas/example.v1.WidgetSpec"}],"description":"What is wished"})");
  const json::Value& parts = schemas["example.v1.WidgetSpec"]["properties"]["parts"];
  EXPECT_EQ(parts["x-kubernetes-patch-strategy"].as_string(), "merge");
  EXPECT_EQ(parts["x-kubernetes-patch-merge-key"].as_string(), "name");
  EXPECT_EQ(parts["x-kubernetes-list-map-keys"].dump(), R"(["name"])");
  EXPECT_EQ(schemas["example.v1.WidgetSpec"]["required"].dump(), R"(["parts"])");
  EXPECT_TRUE(schemas["example.v1.Volume"]["properties"].contains("host"));
  EXPECT_FALSE(schemas["example.v1.Volume"]["properties"].contains("volumeSource"));
  EXPECT_TRUE(schemas["example.v1.WidgetList"].contains("x-kubernetes-group-version-kind"));
  const json::Value& patch = parsed.value["paths"]["/apis/widgets.example.io/v1/namespaces/{namespace}/widgets/{name}"]["patch"];
  EXPECT_THAT(patch["parameters"].dump(), HasSubstr(R"({"name":"fieldValidation","in":"query")"));
  EXPECT_TRUE(patch["requestBody"]["content"].contains("application/strategic-merge-patch+json"));
  EXPECT_EQ(patch["x-kubernetes-group-version-kind"]["kind"].as_string(), "Widget");
  const json::Value& notes = parsed.value["paths"]["/apis/widgets.example.io/v1/notes/{name}"];
  EXPECT_TRUE(notes.contains("get"));
  EXPECT_FALSE(notes.contains("patch"));
  EXPECT_EQ(openapi_v3_text(*snapshot, "widgets.example.io", "v9"), "");
  // Every reference leads somewhere.
  const std::string prefix = "\"$ref\":\"#/components/schemas/";
  for (size_t at = text.find(prefix); at != std::string::npos; at = text.find(prefix, at + 1)) {
    const size_t start = at + prefix.size();
    const std::string name = text.substr(start, text.find('"', start) - start);
    EXPECT_TRUE(schemas.contains(name)) << name;
  }
}

}  // namespace
}  // namespace pintle::kernel::testing

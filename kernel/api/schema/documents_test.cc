// Discovery and OpenAPI.
#include <gmock/gmock.h>

#include <map>

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

TEST_F(Documents, OpenApiV2IsTheSameInTheOlderForm) {
  const std::string text = openapi_v2_text(*snapshot);
  const auto parsed = json::parse(text);
  ASSERT_TRUE(parsed.ok) << parsed.error;
  EXPECT_EQ(parsed.value["swagger"].as_string(), "2.0");
  const json::Value& definitions = parsed.value["definitions"];
  const json::Value& w = definitions["example.v1.Widget"];
  EXPECT_EQ(w["x-kubernetes-group-version-kind"].dump(), R"([{"group":"widgets.example.io","version":"v1","kind":"Widget"}])");
  EXPECT_EQ(w["properties"]["spec"].dump(), R"({"$ref":"#/definitions/example.v1.WidgetSpec","description":"What is wished"})");
  const json::Value& parts = definitions["example.v1.WidgetSpec"]["properties"]["parts"];
  EXPECT_EQ(parts["x-kubernetes-patch-strategy"].as_string(), "merge");
  EXPECT_EQ(parts["items"].dump(), R"({"$ref":"#/definitions/example.v1.Part"})");
  EXPECT_EQ(definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"].dump(), R"({"description":"A number or a text","format":"int-or-string","type":"string"})");
  EXPECT_THAT(text, ::testing::Not(HasSubstr("oneOf")));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("#/components")));
  const json::Value& at = parsed.value["paths"]["/apis/widgets.example.io/v1/namespaces/{namespace}/widgets/{name}"];
  EXPECT_EQ(at["parameters"][0].dump(), R"({"name":"name","in":"path","required":true,"type":"string","uniqueItems":true})");
  EXPECT_THAT(at["patch"]["parameters"].dump(), HasSubstr(R"({"name":"fieldValidation","in":"query","type":"string","uniqueItems":true})"));
  EXPECT_THAT(at["patch"]["consumes"].dump(), HasSubstr(R"("application/strategic-merge-patch+json")"));
  EXPECT_EQ(at["patch"]["x-kubernetes-action"].as_string(), "patch");
  EXPECT_THAT(at["put"]["parameters"].dump(), HasSubstr(R"({"name":"body","in":"body","required":true,"schema":{"$ref":"#/definitions/example.v1.Widget"}})"));
  EXPECT_EQ(at["get"]["responses"].dump(), R"({"200":{"description":"OK","schema":{"$ref":"#/definitions/example.v1.Widget"}}})");
  const std::string prefix = "\"$ref\":\"#/definitions/";
  for (size_t i = text.find(prefix); i != std::string::npos; i = text.find(prefix, i + 1)) {
    const size_t start = i + prefix.size();
    const std::string name = text.substr(start, text.find('"', start) - start);
    EXPECT_TRUE(definitions.contains(name)) << name;
  }
}

// A message as field number -> values in order; numbers as their decimal text.
struct Fields {
  std::multimap<uint32_t, std::string> all;
  explicit Fields(std::string_view in) {
    size_t at = 0;
    const auto varint = [&] {
      uint64_t v = 0;
      for (int shift = 0; at < in.size(); shift += 7) {
        const auto c = static_cast<unsigned char>(in[at++]);
        v |= static_cast<uint64_t>(c & 0x7f) << shift;
        if (c < 0x80) break;
      }
      return v;
    };
    while (at < in.size()) {
      const uint64_t tag = varint();
      if ((tag & 7) == 0) {
        all.emplace(tag >> 3, std::to_string(varint()));
        continue;
      }
      const size_t size = (tag & 7) == 1 ? 8 : varint();
      if (((tag & 7) != 1 && (tag & 7) != 2) || size > in.size() - at) {
        ADD_FAILURE() << "not a message; tag " << tag << ", length " << size;
        return;
      }
      all.emplace(tag >> 3, in.substr(at, size));
      at += size;
    }
  }
  std::string text(uint32_t field) const {
    const auto i = all.find(field);
    return i == all.end() ? "" : i->second;
  }
  Fields operator[](uint32_t field) const { return Fields(text(field)); }
  // The value of the entry of a map of this name: Named* {name = 1, value = 2}.
  Fields named(uint32_t field, std::string_view name) const {
    const auto [begin, end] = all.equal_range(field);
    for (auto i = begin; i != end; ++i)
      if (const Fields entry(i->second); entry.text(1) == name) return entry[2];
    ADD_FAILURE() << "no " << name;
    return Fields("");
  }
};

TEST_F(Documents, OpenApiV2InProtobufHasGnosticsFieldNumbers) {
  const Fields document(openapi_v2_protobuf(*snapshot));
  EXPECT_EQ(document.text(1), "2.0");
  EXPECT_EQ(document[2].text(1), "Pintle");
  const json::Value v2 = json::parse_or_null(openapi_v2_text(*snapshot));
  EXPECT_EQ(document[8].all.count(2), v2["paths"].size());
  EXPECT_EQ(document[9].all.count(1), v2["definitions"].size());
  const Fields widget = document[9].named(1, "example.v1.Widget");
  EXPECT_EQ(widget[22].text(1), "object");
  EXPECT_EQ(widget.named(31, "x-kubernetes-group-version-kind").text(2), R"([{"group":"widgets.example.io","version":"v1","kind":"Widget"}])");
  EXPECT_EQ(widget[25].named(1, "spec").text(1), "#/definitions/example.v1.WidgetSpec");
  const Fields spec = document[9].named(1, "example.v1.WidgetSpec");
  EXPECT_EQ(spec.text(19), "parts");
  const Fields parts = spec[25].named(1, "parts");
  EXPECT_EQ(parts[23][1].text(1), "#/definitions/example.v1.Part");
  EXPECT_EQ(parts.named(31, "x-kubernetes-patch-merge-key").text(2), R"("name")");
  const Fields at = document[8].named(2, "/apis/widgets.example.io/v1/namespaces/{namespace}/widgets/{name}");
  EXPECT_EQ(at[9][1][2][4].text(4), "name") << "path parameter";
  const Fields patch = at[8];
  EXPECT_EQ(patch.named(13, "x-kubernetes-action").text(2), R"("patch")");
  EXPECT_EQ(patch.named(13, "x-kubernetes-group-version-kind").text(2), R"({"group":"widgets.example.io","version":"v1","kind":"Widget"})");
  EXPECT_EQ(patch.text(7), "application/json-patch+json");
  bool validation = false, body = false;
  const auto [begin, end] = patch.all.equal_range(8);
  for (auto i = begin; i != end; ++i) {
    const Fields parameter = Fields(i->second)[1];
    validation |= parameter[2][3].text(4) == "fieldValidation" && parameter[2][3].text(6) == "string";
    body |= parameter[1].text(2) == "body" && parameter[1].text(4) == "1";
  }
  EXPECT_TRUE(validation);
  EXPECT_TRUE(body);
  EXPECT_EQ(patch[9].named(1, "200")[1][2][1].text(1), "#/definitions/example.v1.Widget");
}

}  // namespace
}  // namespace pintle::kernel::testing

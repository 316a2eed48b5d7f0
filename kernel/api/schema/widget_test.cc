#include "kernel/api/schema/widget_test.h"

namespace pintle::kernel::testing {

const char* const kMetaManifest = R"JSON({"types":{
 "apimachinery.pkg.apis.meta.v1.ObjectMeta":{"fields":{
  "name":{"type":"string","proto":1},"generateName":{"type":"string","proto":2},"namespace":{"type":"string","proto":3},
  "uid":{"type":"string","proto":5},"resourceVersion":{"type":"string","proto":6},"generation":{"type":"int64","proto":7},
  "creationTimestamp":{"type":"time","proto":8},
  "labels":{"type":"map[string]string","proto":11},"annotations":{"type":"map[string]string","proto":12},
  "ownerReferences":{"type":"[]apimachinery.pkg.apis.meta.v1.OwnerReference","listType":"map","listMapKeys":["uid"],
    "patchStrategy":"merge","patchMergeKey":"uid","proto":13},
  "finalizers":{"type":"[]string","listType":"set","patchStrategy":"merge","proto":14},
  "managedFields":{"type":"[]apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry","listType":"atomic","proto":17}}},
 "apimachinery.pkg.apis.meta.v1.OwnerReference":{"fields":{
  "kind":{"type":"string","required":true,"proto":1},"name":{"type":"string","required":true,"proto":3},
  "uid":{"type":"string","required":true,"proto":4},"apiVersion":{"type":"string","required":true,"proto":5},
  "controller":{"type":"bool","proto":6}}},
 "apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry":{"fields":{
  "manager":{"type":"string","proto":1},"time":{"type":"time","proto":4},"fieldsV1":{"type":"any","proto":7}}},
 "apimachinery.pkg.apis.meta.v1.Preconditions":{"fields":{"uid":{"type":"string","proto":1}}},
 "apimachinery.pkg.apis.meta.v1.DeleteOptions":{"fields":{
  "gracePeriodSeconds":{"type":"int64","proto":1},
  "preconditions":{"type":"apimachinery.pkg.apis.meta.v1.Preconditions","proto":2},
  "propagationPolicy":{"type":"string","proto":4},"dryRun":{"type":"[]string","proto":5}}},
 "apimachinery.pkg.apis.meta.v1.ListMeta":{"fields":{"resourceVersion":{"type":"string","proto":2}}}
}})JSON";

const char* const kWidgetManifest = R"JSON({"types":{
 "example.v1.Widget":{"doc":"A widget","fields":{
  "spec":{"type":"example.v1.WidgetSpec","required":true,"proto":2,"doc":"What is wished"},
  "status":{"type":"example.v1.WidgetStatus","default":{},"proto":3},
  "metadata":{"type":"apimachinery.pkg.apis.meta.v1.ObjectMeta","proto":1},
  "kind":{"type":"string"},"apiVersion":{"type":"string"}}},
 "example.v1.WidgetSpec":{"hooks":["default","validate"],"fields":{
  "replicas":{"type":"int32","default":1,"min":0,"proto":1},
  "color":{"type":"string","enum":["red","green"],"proto":2},
  "parts":{"type":"[]example.v1.Part","required":true,"minItems":1,"listType":"map","listMapKeys":["name"],
    "patchStrategy":"merge","patchMergeKey":"name","proto":3},
  "volumes":{"type":"[]example.v1.Volume","patchStrategy":"merge,retainKeys","patchMergeKey":"name","listType":"map","listMapKeys":["name"],"proto":4},
  "selector":{"type":"map[string]string","format":"qualifiedName","immutable":true,"proto":5},
  "strategy":{"type":"example.v1.Strategy","patchStrategy":"retainKeys","proto":6},
  "limits":{"type":"map[string]quantity","proto":7},
  "interval":{"type":"duration","proto":8},
  "raw":{"type":"any","proto":9},
  "node":{"type":"string","format":"dns1123subdomain","immutable":true,"proto":10},
  "ratio":{"type":"double","min":0,"max":1,"proto":11},
  "tags":{"type":"[]string","listType":"set","maxItems":3,"proto":12},
  "big":{"type":"int64","proto":13},
  "extra":{"type":"map[string][]string","proto":14},
  "user":{"type":"int64","proto":15},
  "numbers":{"type":"[]int32","listType":"atomic","proto":16},
  "dnsName":{"type":"string","proto":17,"stored":true,"maxLength":8},
  "tree":{"type":"example.v1.Tree","proto":18}}},
 "example.v1.Tree":{"fields":{"child":{"type":"example.v1.Tree","proto":1},"leaf":{"type":"bool","proto":2}}},
 "example.v1.Part":{"fields":{
  "name":{"type":"string","required":true,"format":"dns1123label","proto":1},
  "size":{"type":"quantity","proto":2},
  "port":{"type":"intOrString","proto":3},
  "mode":{"type":"int32","default":420,"min":1,"max":511,"proto":4},
  "ports":{"type":"[]example.v1.Port","listType":"map","listMapKeys":["number","protocol"],"patchStrategy":"merge","patchMergeKey":"number","proto":5},
  "legacy":{"type":"bool","stored":true,"proto":6},
  "data":{"type":"bytes","proto":7},
  "env":{"type":"[]example.v1.Env","listType":"map","listMapKeys":["name"],"duplicates":"allow","patchStrategy":"merge","patchMergeKey":"name","proto":8}}},
 "example.v1.Env":{"fields":{"name":{"type":"string","required":true,"format":"envVarName","proto":1},"value":{"type":"string","proto":2}}},
 "example.v1.Port":{"fields":{
  "number":{"type":"int32","required":true,"min":1,"max":65535,"proto":1},
  "protocol":{"type":"string","default":"TCP","enum":["TCP","UDP"],"proto":2}}},
 "example.v1.Volume":{"fields":{
  "name":{"type":"string","required":true,"proto":1},
  "volumeSource":{"type":"example.v1.VolumeSource","proto":2,"protoInline":true}}},
 "example.v1.VolumeSource":{"hooks":["default"],"union":["empty","host"],"fields":{
  "empty":{"type":"example.v1.Empty","proto":1},"host":{"type":"example.v1.Host","proto":2}}},
 "example.v1.Empty":{"fields":{"limit":{"type":"quantity","proto":1}}},
 "example.v1.Host":{"fields":{"path":{"type":"string","required":true,"format":"absolutePath","proto":1}}},
 "example.v1.Strategy":{"fields":{"type":{"type":"string","proto":1},"rolling":{"type":"example.v1.Rolling","proto":2}}},
 "example.v1.Rolling":{"fields":{"max":{"type":"intOrString","default":"25%","proto":1}}},
 "example.v1.WidgetStatus":{"fields":{
  "ready":{"type":"int32","proto":1},"started":{"type":"time","proto":2},"beat":{"type":"microTime","proto":3}}},
 "example.v1.Squeeze":{"fields":{"force":{"type":"int32","proto":1},"apiVersion":{"type":"string"},"kind":{"type":"string"}}},
 "example.v1.Note":{"fields":{"text":{"type":"string"}}}
},"kinds":[
 {"group":"widgets.example.io","kind":"Widget","plural":"widgets","shortNames":["wd"],"categories":["all"],
  "versions":[{"name":"v1","type":"example.v1.Widget","storage":true}],
  "hooks":{"prepare":["create"],"delete":["request","final"],"table":true},"expiresAfter":"1h",
  "columns":[{"name":"Name","type":"string","format":"name","path":"metadata.name"},{"name":"Ready","computed":true}],
  "selectable":["spec.node"],"selectableAlias":{"spec.host":"spec.node"},
  "subresources":{"status":{},"scale":{"specReplicas":"spec.replicas","statusReplicas":"status.ready"},
   "log":{"mode":"connect","stream":"text","verbs":["get"]},
   "squeeze":{"mode":"hook","kind":"Squeeze","type":"example.v1.Squeeze","verbs":["create"]}}},
 {"group":"widgets.example.io","kind":"Note","plural":"notes","namespaced":false,"verbs":["get","list"],
  "versions":[{"name":"v1","type":"example.v1.Note"}]}
]})JSON";

Widgets::Widgets() {
  for (const auto& [name, manifest] : {std::pair("core", kMetaManifest), std::pair("widget", kWidgetManifest)}) {
    const Result<void> r = registry.add(name, parse(manifest));
    EXPECT_TRUE(r.ok()) << r.error().text;
  }
  snapshot = registry.snapshot();
}

json::Value Widgets::canonical(const std::string& text, std::vector<std::string>* problems) const {
  json::Value v = parse(text);
  const Result<void> r = normalise(v, widget(), types(), problems);
  EXPECT_TRUE(r.ok()) << r.error().text;
  return v;
}

std::string Widgets::normalise_error(const std::string& text) const {
  json::Value v = parse(text);
  std::vector<std::string> problems;
  const Result<void> r = normalise(v, widget(), types(), &problems);
  EXPECT_FALSE(r.ok()) << v.dump();
  EXPECT_EQ(r.error().code, PINTLE_BAD_REQUEST);
  return r.error().text;
}

std::vector<std::string> Widgets::causes(const std::string& text, const std::string& old) const {
  json::Value v = canonical(text), before;
  apply_defaults(v, widget(), types());
  if (!old.empty()) {
    before = canonical(old);
    apply_defaults(before, widget(), types());
  }
  std::vector<FieldCause> found;
  validate(v, old.empty() ? nullptr : &before, widget(), types(), "", found);
  std::vector<std::string> out;
  for (const FieldCause& c : found) out.push_back(c.reason + " " + c.field + ": " + c.message);
  return out;
}

}  // namespace pintle::kernel::testing

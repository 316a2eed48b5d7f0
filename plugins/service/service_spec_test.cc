#include "service_spec.h"

#include <gtest/gtest.h>

#include <set>

namespace pintle::service {
namespace {

using json::Value;

Value service(const char* spec) {
  Value v = Value::object({{"metadata", Value::object({{"name", "s"}, {"namespace", "default"}})}});
  v.set("spec", json::parse(spec).value);
  default_service(v);
  return v;
}

Ranges small() {
  Ranges r;
  r.addresses = *AddressRange::parse("10.0.0.0/24");
  r.port_from = 30000;
  r.port_to = 30003;
  return r;
}

const auto kNothingTaken = [](std::string_view, const std::string&) { return false; };

TEST(AddressRange, ChoosesEveryAddressOnceAndThenNone) {
  const AddressRange r = *AddressRange::parse("10.0.0.0/28");
  std::set<uint32_t> used;
  for (int i = 0; i < 14; ++i) {
    const uint32_t a = r.choose(static_cast<uint64_t>(i) * 77, [&](uint32_t x) { return used.count(x) > 0; });
    ASSERT_NE(a, 0u);
    EXPECT_TRUE(r.contains(a));
    EXPECT_TRUE(used.insert(a).second);
  }
  EXPECT_EQ(r.choose(1, [&](uint32_t x) { return used.count(x) > 0; }), 0u);
  EXPECT_FALSE(used.count(*parse_ipv4("10.0.0.0")));
  EXPECT_FALSE(used.count(*parse_ipv4("10.0.0.15")));
}

TEST(AddressRange, RefusesWhatIsNoNetwork) {
  for (const char* bad : {"", "10.0.0.0", "10.0.0.0/33", "10.0.0/24", "a/24", "10.0.0.256/24", "10.0.0.0/31"})
    EXPECT_FALSE(AddressRange::parse(bad).ok()) << bad;
}

TEST(ServiceSpec, DefaultsFollowTheType) {
  const Value v = service(R"({"type":"NodePort","ports":[{"port":80}],"sessionAffinity":"ClientIP"})");
  EXPECT_EQ(v.at("spec.ports[0].targetPort").as_int(), 80);
  EXPECT_EQ(v.at("spec.externalTrafficPolicy").as_string(), "Cluster");
  EXPECT_EQ(v.at("spec.internalTrafficPolicy").as_string(), "Cluster");
  EXPECT_EQ(v.at("spec.ipFamilies[0]").as_string(), "IPv4");
  EXPECT_EQ(v.at("spec.sessionAffinityConfig.clientIP.timeoutSeconds").as_int(), 10800);
}

TEST(ServiceSpec, AllocatesAddressAndNodePorts) {
  Value v = service(R"({"type":"NodePort","ports":[{"name":"a","port":80},{"name":"b","port":81}]})");
  ASSERT_TRUE(allocate(v, {}, small(), 5, kNothingTaken).ok());
  EXPECT_TRUE(small().addresses.contains(*parse_ipv4(v.at("spec.clusterIP").as_string())));
  EXPECT_NE(v.at("spec.ports[0].nodePort"), v.at("spec.ports[1].nodePort"));
  EXPECT_EQ(needs_of(v).ports.size(), 2u);
}

TEST(ServiceSpec, AnUpdateThatLeavesThemOutKeepsAddressAndPorts) {
  Value old = service(R"({"type":"NodePort","ports":[{"port":80}]})");
  ASSERT_TRUE(allocate(old, {}, small(), 5, kNothingTaken).ok());
  Value now = service(R"({"type":"NodePort","ports":[{"port":80}]})");
  ASSERT_TRUE(allocate(now, old, small(), 999, [](std::string_view, const std::string&) { return true; }).ok());
  EXPECT_EQ(now.at("spec.clusterIP"), old.at("spec.clusterIP"));
  EXPECT_EQ(now.at("spec.ports[0].nodePort"), old.at("spec.ports[0].nodePort"));
}

TEST(ServiceSpec, AnAddressThatIsTakenIsRefusedByName) {
  Value v = service(R"({"clusterIP":"10.0.0.9","ports":[{"port":80}]})");
  const auto r = allocate(v, {}, small(), 1, [](std::string_view, const std::string& n) { return n == "10.0.0.9"; });
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, PINTLE_INVALID);
  EXPECT_NE(r.error().text.find("provided IP is already allocated"), std::string::npos);
  EXPECT_EQ(r.error().status.at("details.causes[0].field").as_string(), "spec.clusterIPs");
}

TEST(ServiceSpec, AFullPortRangeSaysSo) {
  Value v = service(R"({"type":"NodePort","ports":[{"port":80}]})");
  const auto r = allocate(v, {}, small(), 1, [](std::string_view kind, const std::string&) { return kind == "nodeports"; });
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().text, "Internal error occurred: failed to allocate a nodePort: range is full");
}

TEST(ServiceSpec, AChangeOfTypeLetsGoOfWhatCameWithTheOldOne) {
  Value old = service(R"({"type":"NodePort","ports":[{"port":80}]})");
  ASSERT_TRUE(allocate(old, {}, small(), 5, kNothingTaken).ok());
  Value now = old;
  now.set("spec").set("type", "ClusterIP");
  ASSERT_TRUE(allocate(now, old, small(), 5, kNothingTaken).ok());
  EXPECT_TRUE(needs_of(now).ports.empty());
  EXPECT_TRUE(now.at("spec.externalTrafficPolicy").is_null());
  EXPECT_TRUE(validate_service(now, old).empty());
  Value name = now;
  name.set("spec").set("type", "ExternalName");
  name.set("spec").set("externalName", "example.org");
  ASSERT_TRUE(allocate(name, now, small(), 5, kNothingTaken).ok());
  EXPECT_TRUE(name.at("spec.clusterIP").is_null());
  EXPECT_TRUE(needs_of(name).addresses.empty());
  EXPECT_TRUE(validate_service(name, now).empty());
  Value back = name;
  back.set("spec").set("type", "ClusterIP");
  ASSERT_TRUE(allocate(back, name, small(), 5, kNothingTaken).ok());
  EXPECT_EQ(needs_of(back).addresses.size(), 1u);
}

TEST(ServiceSpec, WhatTheTypeCannotHaveIsRefusedAndNotDropped) {
  Value port = service(R"({"ports":[{"port":80,"nodePort":30001}]})");
  ASSERT_TRUE(allocate(port, {}, small(), 5, kNothingTaken).ok());
  EXPECT_EQ(validate_service(port, {}).at(0).field, "spec.ports[0].nodePort");
  Value name = service(R"({"type":"ExternalName","externalName":"example.org","clusterIP":"10.0.0.9"})");
  ASSERT_TRUE(allocate(name, {}, small(), 5, kNothingTaken).ok());
  EXPECT_EQ(validate_service(name, {}).at(0).field, "spec.clusterIPs");
}

TEST(ServiceSpec, RulesNameTheField) {
  const auto fields = [](const char* spec) {
    std::string out;
    for (const Cause& c : validate_service(service(spec), {})) out += c.field + ":" + c.reason + " ";
    return out;
  };
  EXPECT_EQ(fields(R"({"ports":[{"port":80}]})"), "");
  EXPECT_EQ(fields("{}"), "spec.ports:FieldValueRequired ");
  EXPECT_EQ(fields(R"({"clusterIP":"None"})"), "");
  EXPECT_EQ(fields(R"({"type":"ExternalName"})"), "spec.externalName:FieldValueRequired ");
  EXPECT_EQ(fields(R"({"ports":[{"port":80},{"name":"b","port":80}]})"), "spec.ports[0].name:FieldValueRequired spec.ports[1]:FieldValueDuplicate ");
  EXPECT_EQ(fields(R"({"ports":[{"port":80,"nodePort":30000}]})"), "spec.ports[0].nodePort:FieldValueForbidden ");
  EXPECT_EQ(fields(R"({"clusterIP":"x","ports":[{"port":80}]})"), "spec.clusterIPs[0]:FieldValueInvalid ");
  EXPECT_EQ(fields(R"({"externalIPs":["127.0.0.1","x","192.0.2.1"],"ports":[{"port":80}]})"), "spec.externalIPs[0]:FieldValueInvalid spec.externalIPs[1]:FieldValueInvalid ");
  EXPECT_EQ(fields(R"({"externalTrafficPolicy":"Local","ports":[{"port":80}]})"), "spec.externalTrafficPolicy:FieldValueInvalid ");
  EXPECT_EQ(fields(R"({"type":"NodePort","clusterIP":"None","ports":[{"port":80}]})"), "spec.clusterIPs[0]:FieldValueInvalid ");
}

}  // namespace
}  // namespace pintle::service

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

TEST(ServiceSpec, NamesAndRangesAreWellFormed) {
  const auto problems = [](const char* spec) {
    std::string out;
    for (const Cause& c : validate_service(service(spec), {})) out += c.field + ": " + c.message + "\n";
    return out;
  };
  EXPECT_EQ(problems(R"({"type":"LoadBalancer","externalTrafficPolicy":"Local","healthCheckNodePort":30500,"loadBalancerSourceRanges":["10.0.0.0/8"," fd00::/64 "],
      "selector":{"example.com/app":"web","empty":""},"ports":[{"port":80,"targetPort":"web-1"}]})"), "");
  EXPECT_EQ(problems(R"({"type":"LoadBalancer","loadBalancerSourceRanges":["10.0.0.0"],"healthCheckNodePort":30500,"ports":[{"port":80,"targetPort":"Web"},
      {"name":"b","port":81,"targetPort":"a-name-that-is-long"}]})"),
            "spec.ports[0].name: Required value\n"
            "spec.ports[0].targetPort: Invalid value: \"Web\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)\n"
            "spec.ports[1].targetPort: Invalid value: \"a-name-that-is-long\": must be no more than 15 bytes\n"
            "spec.loadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)\n"
            "spec.healthCheckNodePort: Invalid value: 30500: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'\n");
  EXPECT_EQ(problems(R"({"loadBalancerSourceRanges":["10.0.0.0/8"],"ports":[{"port":80}]})"),
            "spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'\n");
  EXPECT_EQ(problems(R"({"type":"LoadBalancer","externalTrafficPolicy":"Local","healthCheckNodePort":70000,"ports":[{"port":80}]})"),
            "spec.healthCheckNodePort: Invalid value: 70000: must be between 1 and 65535, inclusive\n");
  const std::string text = problems(R"({"type":"ExternalName","externalName":"No Name","selector":{"a b":"c","d":"-"}})");
  EXPECT_NE(text.find("spec.selector: Invalid value: \"a b\": name part must consist of"), std::string::npos) << text;
  EXPECT_NE(text.find("spec.selector: Invalid value: \"-\": a valid label must be"), std::string::npos) << text;
  EXPECT_NE(text.find("spec.externalName: Invalid value: \"No Name\": a lowercase RFC 1123 subdomain must consist of"), std::string::npos) << text;
}

TEST(EndpointSlice, AddressesAreOfTheirType) {
  const auto fields = [](const char* slice) {
    std::string out;
    for (const Cause& c : validate_slice(json::parse(slice).value)) out += c.field + ": " + c.message.substr(0, c.message.find(" (e.g.")) + "\n";
    return out;
  };
  EXPECT_EQ(fields(R"({"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"nodeName":"n-1"}],"ports":[{"name":"","port":80},{"name":"b","port":81}]})"), "");
  EXPECT_EQ(fields(R"({"addressType":"IPv4","endpoints":[{"addresses":["fd00::1","x"]}]})"),
            "endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be a valid IPv4 address\n"
            "endpoints[0].addresses[1]: Invalid value: \"x\": must be a valid IPv4 address\n");
  EXPECT_EQ(fields(R"({"addressType":"IPv6","endpoints":[{"addresses":["fd00::1"]},{"addresses":["10.0.0.1"]}]})"),
            "endpoints[1].addresses[0]: Invalid value: \"10.0.0.1\": must be a valid IPv6 address\n");
  EXPECT_EQ(fields(R"({"addressType":"FQDN","endpoints":[{"addresses":["a.example.","single","a b.c",""]}]})"),
            "endpoints[0].addresses[1]: Invalid value: \"single\": should be a domain with at least two segments separated by dots\n"
            "endpoints[0].addresses[2]: Invalid value: \"a b.c\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character\n"
            "endpoints[0].addresses[3]: Required value\n");
  EXPECT_EQ(fields(R"({"addressType":"IPv4","endpoints":[],"ports":[{"name":"a"},{"name":"a"},{"port":1},{"port":2}]})"),
            "ports[1].name: Duplicate value: \"a\"\nports[3].name: Duplicate value: \"\"\n");
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

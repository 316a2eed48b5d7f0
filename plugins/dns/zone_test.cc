#include "zone.h"

#include <gtest/gtest.h>

#include "message.h"

namespace pintle::dns {
namespace {

using json::Value;

Zone zone() {
  Zone z("cluster.local");
  z.set_service("default/web", json::parse(R"({"spec":{"clusterIP":"10.96.0.7","ports":[{"name":"http","port":80,"protocol":"TCP"}]}})").value);
  z.set_service("default/db", json::parse(R"({"spec":{"clusterIP":"None","ports":[{"name":"sql","port":5432,"protocol":"TCP"}]}})").value);
  z.set_service("default/ext", json::parse(R"({"spec":{"type":"ExternalName","externalName":"example.org"}})").value);
  z.set_slice("default/db-1", json::parse(R"({"metadata":{"namespace":"default","labels":{"kubernetes.io/service-name":"db"}},"addressType":"IPv4",
      "ports":[{"name":"sql","port":5432,"protocol":"TCP"}],
      "endpoints":[{"addresses":["10.0.0.1"],"hostname":"db-0"},{"addresses":["10.0.0.2"]},{"addresses":["10.0.0.3"],"conditions":{"ready":false}}]})").value);
  return z;
}
std::string text(const Answer& a) {
  std::string out = !a.ours ? "upstream" : !a.exists ? "nxdomain" : "";
  for (const Record& r : a.records) out += (out.empty() ? "" : ",") + r.data;
  return out;
}

TEST(Zone, ServicesHaveAddresses) {
  const Zone z = zone();
  EXPECT_EQ(text(z.look_up("web.default.svc.cluster.local", RecordType::kA)), "10.96.0.7");
  EXPECT_EQ(text(z.look_up("WEB.Default.svc.cluster.local.", RecordType::kA)), "10.96.0.7");
  EXPECT_EQ(text(z.look_up("web.default.svc.cluster.local", RecordType::kAaaa)), "");
  EXPECT_EQ(text(z.look_up("nope.default.svc.cluster.local", RecordType::kA)), "nxdomain");
  EXPECT_EQ(text(z.look_up("default.svc.cluster.local", RecordType::kA)), "");
  EXPECT_EQ(text(z.look_up("example.org", RecordType::kA)), "upstream");
}

TEST(Zone, HeadlessServicesHaveTheirReadyEndpoints) {
  const Zone z = zone();
  EXPECT_EQ(text(z.look_up("db.default.svc.cluster.local", RecordType::kA)), "10.0.0.1,10.0.0.2");
  EXPECT_EQ(text(z.look_up("db-0.db.default.svc.cluster.local", RecordType::kA)), "10.0.0.1");
  EXPECT_EQ(text(z.look_up("10-0-0-2.db.default.svc.cluster.local", RecordType::kA)), "10.0.0.2");
  EXPECT_EQ(text(z.look_up("_sql._tcp.db.default.svc.cluster.local", RecordType::kSrv)),
            "0 100 5432 db-0.db.default.svc.cluster.local,0 100 5432 10-0-0-2.db.default.svc.cluster.local");
}

TEST(Zone, PortsPodsAndReverse) {
  const Zone z = zone();
  EXPECT_EQ(text(z.look_up("_http._tcp.web.default.svc.cluster.local", RecordType::kSrv)), "0 100 80 web.default.svc.cluster.local");
  EXPECT_EQ(text(z.look_up("10-1-2-3.default.pod.cluster.local", RecordType::kA)), "10.1.2.3");
  EXPECT_EQ(text(z.look_up("7.0.96.10.in-addr.arpa", RecordType::kPtr)), "web.default.svc.cluster.local");
  EXPECT_EQ(text(z.look_up("1.0.0.10.in-addr.arpa", RecordType::kPtr)), "db-0.db.default.svc.cluster.local");
  EXPECT_EQ(text(z.look_up("1.1.1.1.in-addr.arpa", RecordType::kPtr)), "upstream");
  const Answer ext = z.look_up("ext.default.svc.cluster.local", RecordType::kA);
  EXPECT_EQ(text(ext), "example.org");
  EXPECT_EQ(ext.continue_at, "example.org");
}

TEST(Zone, WhatIsDeletedIsGone) {
  Zone z = zone();
  z.set_service("default/web", {});
  z.set_slice("default/db-1", {});
  EXPECT_EQ(text(z.look_up("web.default.svc.cluster.local", RecordType::kA)), "nxdomain");
  EXPECT_EQ(text(z.look_up("7.0.96.10.in-addr.arpa", RecordType::kPtr)), "upstream");
  EXPECT_EQ(text(z.look_up("db.default.svc.cluster.local", RecordType::kA)), "nxdomain") << "no ready endpoint, no name";
  EXPECT_EQ(text(z.look_up("default.svc.cluster.local", RecordType::kA)), "") << "the namespace has other Services";
  z.keep_slices({});
  EXPECT_EQ(text(z.look_up("ext.default.svc.cluster.local", RecordType::kCname)), "example.org") << "a list of slices says nothing about Services";
  z.keep_services({});
  EXPECT_EQ(text(z.look_up("default.svc.cluster.local", RecordType::kA)), "nxdomain");
}

TEST(Zone, AnAddressThatMovesToAnotherSliceKeepsItsName) {
  Zone z = zone();
  z.set_slice("default/db-2", json::parse(R"({"metadata":{"namespace":"default","labels":{"kubernetes.io/service-name":"db"}},"addressType":"IPv4",
      "endpoints":[{"addresses":["10.0.0.1"],"hostname":"db-0"}]})").value);
  z.set_slice("default/db-1", {});
  EXPECT_EQ(text(z.look_up("1.0.0.10.in-addr.arpa", RecordType::kPtr)), "db-0.db.default.svc.cluster.local");
}

TEST(Zone, AbsentRecordsAreNoAbsentNames) {
  const Zone z = zone();
  for (const char* name : {"web.default.svc.cluster.local", "db.default.svc.cluster.local", "db-0.db.default.svc.cluster.local", "_http._tcp.web.default.svc.cluster.local"})
    EXPECT_EQ(text(z.look_up(name, RecordType::kAaaa)), "") << name;
  for (const char* name : {"_http._udp.web.default.svc.cluster.local", "_nope._tcp.web.default.svc.cluster.local", "x.web.default.svc.cluster.local", "web.other.svc.cluster.local",
                           "10-0-0-3.db.default.svc.cluster.local", "a.b.c.d.e.f.svc.cluster.local", "..cluster.local", "1-2-3.default.pod.cluster.local"})
    EXPECT_EQ(text(z.look_up(name, RecordType::kA)), "nxdomain") << name;
  EXPECT_EQ(text(z.look_up("xcluster.local", RecordType::kA)), "upstream");
}

TEST(Message, AnswersReadBack) {
  const Zone z = zone();
  const std::string query = write_query(77, "web.default.svc.cluster.local", RecordType::kA);
  std::string refusal;
  const auto q = parse_query(query, &refusal);
  ASSERT_TRUE(q);
  EXPECT_EQ(q->id, 77);
  EXPECT_EQ(q->name, "web.default.svc.cluster.local");
  const std::string reply = write_answer(query, z.look_up(q->name, q->type), "cluster.local", 512);
  EXPECT_NE(reply.find(std::string("\x0a\x60\x00\x07", 4)), std::string::npos);
  EXPECT_FALSE(parse_query(reply, &refusal)) << "an answer is no query";
  EXPECT_FALSE(parse_query("garbage", &refusal));
  EXPECT_TRUE(refusal.empty());
}

TEST(Message, WhatDoesNotFitIsMarkedTruncated) {
  const std::string query = write_query(1, "big.default.svc.cluster.local", RecordType::kA);
  Answer a;
  a.ours = a.exists = true;
  for (int i = 0; i < 100; ++i) a.records.push_back({"big.default.svc.cluster.local", RecordType::kA, "10.0.0." + std::to_string(i)});
  const std::string cut = write_answer(query, a, "cluster.local", 512);
  EXPECT_LE(cut.size(), 512u);
  EXPECT_TRUE(cut[2] & 2);
  EXPECT_GT(write_answer(query, a, "cluster.local", 0).size(), 1600u);
}

TEST(Message, RandomBytesDoNoHarm) {
  uint64_t seed = 1;
  const std::string query = write_query(1, "web.default.svc.cluster.local", RecordType::kA);
  for (int i = 0; i < 20000; ++i) {
    std::string s = query;
    for (int k = 0; k < 4; ++k) {
      seed = seed * 6364136223846793005ull + 1442695040888963407ull;
      s[(seed >> 33) % s.size()] = static_cast<char>(seed >> 20);
    }
    s.resize(s.size() - (seed >> 40) % s.size());
    std::string refusal;
    if (auto q = parse_query(s, &refusal)) (void)zone().look_up(q->name, q->type);
    i += 19;
  }
}

}  // namespace
}  // namespace pintle::dns

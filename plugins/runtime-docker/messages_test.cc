#include "messages.h"

#include <gtest/gtest.h>

namespace pintle::runtime_docker {
namespace {

using json::Value;

const DriverConfig kConfig{"c1", "pintle/pause:1", "10m", -1000};

TEST(Messages, AContainerJoinsItsSandbox) {
  const Value rq = json::parse(R"({"podId":"sb","podUid":"u","name":"web","attempt":2,"image":"web:1","imageId":"sha256:1","command":["/a"],"args":["-b"],
      "env":[{"name":"K","value":"a=b"}],"mounts":[{"hostPath":"/h","containerPath":"/c","readOnly":true}],
      "security":{"user":1000,"group":2000,"readOnlyRoot":true,"noNewPrivileges":true,"capabilities":{"add":["NET_ADMIN"],"drop":["ALL"]},"supplementalGroups":[5]},
      "resources":{"cpuShares":512,"cpuQuota":50000,"cpuPeriod":100000,"memoryBytes":67108864,"oomScoreAdj":900}})").value;
  auto r = container_body(kConfig, rq);
  ASSERT_TRUE(r.ok());
  const Value& b = *r;
  EXPECT_EQ(b.at("HostConfig.NetworkMode").as_string(), "container:sb");
  EXPECT_EQ(b.at("HostConfig.IpcMode").as_string(), "container:sb");
  EXPECT_EQ(b["User"].as_string(), "1000:2000");
  EXPECT_EQ(b.at("Entrypoint[0]").as_string(), "/a");
  EXPECT_EQ(b.at("Cmd[0]").as_string(), "-b");
  EXPECT_EQ(b.at("Env[0]").as_string(), "K=a=b");
  EXPECT_EQ(b.at("HostConfig.Memory").as_int(), 67108864);
  EXPECT_EQ(b.at("HostConfig.MemorySwap").as_int(), 67108864);
  EXPECT_EQ(b.at("HostConfig.Mounts[0].ReadOnly").as_bool(), true);
  EXPECT_EQ(b.at("HostConfig.SecurityOpt[0]").as_string(), "no-new-privileges:true");
  EXPECT_EQ(b.at("Labels[io.pintle.container.name]").as_string(), "web");
  EXPECT_EQ(container_name(kConfig, rq), "pintle_c1_web_u_2");
}

TEST(Messages, AppArmorProfilesHaveTheEnginesNames) {
  const auto options = [](const std::string& profile) {
    return (*container_body(kConfig, json::parse(R"({"podId":"sb","security":{"apparmor":")" + profile + R"("}})").value)).at("HostConfig.SecurityOpt");
  };
  EXPECT_TRUE(options("RuntimeDefault").is_null()) << "the engine's own profile needs no option";
  EXPECT_EQ(options("Unconfined")[0].as_string(), "apparmor=unconfined");
  EXPECT_EQ(options("Localhost/mine")[0].as_string(), "apparmor=mine");
}

TEST(Messages, ASubdomainBecomesTheSandboxsFullName) {
  const Value b = *sandbox_body(kConfig, json::parse(R"({"hostname":"box","fqdn":"box.sub.ns.svc.cluster.local"})").value);
  EXPECT_EQ(b["Hostname"].as_string(), "box");
  EXPECT_EQ(b["Domainname"].as_string(), "sub.ns.svc.cluster.local");
}

TEST(Messages, WhatTheEngineCannotDoIsRefusedByName) {
  auto r = container_body(kConfig, json::parse(R"({"podId":"sb","security":{"seccomp":"Localhost/x.json"}})").value);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, PINTLE_UNSUPPORTED);
  EXPECT_NE(r.error().text.find("seccompProfile"), std::string::npos);
}

TEST(Messages, ExitedContainersTellWhy) {
  const Value e = container_entry(json::parse(R"({"Id":"x","Image":"sha256:1","Created":"2026-01-02T03:04:05.5Z","Config":{"Labels":{"io.pintle.container.name":"web","io.pintle.attempt":"3"}},
      "State":{"Status":"exited","ExitCode":137,"OOMKilled":true,"StartedAt":"2026-01-02T03:04:06Z","FinishedAt":"2026-01-02T03:04:07Z","Pid":0}})").value);
  EXPECT_EQ(e["state"].as_string(), "exited");
  EXPECT_EQ(e["reason"].as_string(), "OOMKilled");
  EXPECT_EQ(e["attempt"].as_int(), 3);
  EXPECT_EQ(e["startedAt"].as_int(), 1767323046000000000);
  EXPECT_EQ(engine_time("0001-01-01T00:00:00Z"), 0);
}

TEST(Messages, AStartThatFailedEndedWhenItWasTried) {
  const Value e = container_entry(json::parse(R"({"Id":"x","Created":"2026-01-02T03:04:05Z","State":{"Status":"created","ExitCode":128,"Error":"unable to apply caps",
      "StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"}})").value);
  EXPECT_EQ(e["state"].as_string(), "exited");
  EXPECT_EQ(e["reason"].as_string(), "ContainerCannotRun");
  EXPECT_EQ(e["finishedAt"].as_int(), e["createdAt"].as_int()) << "back-off counts from here";
}

TEST(Messages, MultiplexedOutputComesApartWhereverItIsCut) {
  const auto frame = [](char stream, const std::string& s) {
    return std::string{stream, 0, 0, 0, 0, 0, 0, static_cast<char>(s.size())} + s;
  };
  const std::string all = frame(1, "hello ") + frame(2, "oops") + frame(1, "world");
  for (size_t cut = 0; cut <= all.size(); ++cut) {
    Demultiplexer d;
    std::string out, err;
    const auto take = [&](int stream, std::string_view p) { (stream == 2 ? err : out).append(p); };
    d.feed(std::string_view(all).substr(0, cut), take);
    d.feed(std::string_view(all).substr(cut), take);
    EXPECT_EQ(out, "hello world");
    EXPECT_EQ(err, "oops");
  }
}

}  // namespace
}  // namespace pintle::runtime_docker

#include "plugins/core/tables.h"

#include <gtest/gtest.h>

#include "pintle/timestamp.h"
#include "plugins/core/parse_test.h"

namespace pintle::core {
namespace {

std::string cell(const json::Value& row, const char* name) { return std::string(row["cells"][name].as_string()); }

TEST(Age, IsWhatKubectlPrints) {
  EXPECT_EQ(age_text(5 * kSecond), "5s");
  EXPECT_EQ(age_text(119 * kSecond), "119s");
  EXPECT_EQ(age_text(200 * kSecond), "3m20s");
  EXPECT_EQ(age_text(180 * kSecond), "3m");
  EXPECT_EQ(age_text(3600 * kSecond), "60m");
  EXPECT_EQ(age_text(4 * 3600 * kSecond + 60 * kSecond), "4h1m");
  EXPECT_EQ(age_text(30 * 3600 * kSecond), "30h");
  EXPECT_EQ(age_text(100ll * 86400 * kSecond), "100d");
  EXPECT_EQ(age_text(-5 * kSecond), "<invalid>");
}

TEST(PodRow, ARunningPod) {
  const json::Value row = pod_row(parse(R"({"spec":{"nodeName":"n1","containers":[{},{}]},"status":{"phase":"Running","podIP":"10.0.0.1",
    "containerStatuses":[{"ready":true,"restartCount":2,"state":{"running":{}},"lastState":{"terminated":{"finishedAt":"1970-01-01T00:00:10Z"}}},
    {"ready":false,"restartCount":0,"state":{"running":{}}}]}})"), 40 * kSecond);
  EXPECT_EQ(cell(row, "Ready"), "1/2");
  EXPECT_EQ(cell(row, "Status"), "Running");
  EXPECT_EQ(cell(row, "Restarts"), "2 (30s ago)");
  EXPECT_EQ(cell(row, "IP"), "10.0.0.1");
  EXPECT_EQ(cell(row, "Nominated Node"), "<none>");
}

TEST(PodRow, TheReasonOfAWaitingContainerIsTheStatus) {
  EXPECT_EQ(cell(pod_row(parse(R"({"spec":{"containers":[{}]},"status":{"phase":"Pending","containerStatuses":[{"state":{"waiting":{"reason":"ImagePullBackOff"}}}]}})"), 0), "Status"),
            "ImagePullBackOff");
}

TEST(PodRow, InitContainersShowTheirProgress) {
  EXPECT_EQ(cell(pod_row(parse(R"({"spec":{"initContainers":[{"name":"a"},{"name":"b"}],"containers":[{}]},"status":{"phase":"Pending",
    "initContainerStatuses":[{"name":"a","state":{"terminated":{"exitCode":0}}},{"name":"b","state":{"running":{}}}]}})"), 0), "Status"),
            "Init:1/2");
}

TEST(PodRow, AStartedSidecarCountsAsReady) {
  const json::Value row = pod_row(parse(R"({"spec":{"initContainers":[{"name":"a","restartPolicy":"Always"}],"containers":[{}]},"status":{"phase":"Running",
    "initContainerStatuses":[{"name":"a","started":true,"ready":true,"state":{"running":{}}}],
    "containerStatuses":[{"ready":true,"state":{"running":{}}}]}})"), 0);
  EXPECT_EQ(cell(row, "Ready"), "2/2");
}

TEST(PodRow, AFailedPodHasAConditionAndACode) {
  const json::Value row = pod_row(parse(R"({"spec":{"containers":[{}]},"status":{"phase":"Failed","containerStatuses":[{"state":{"terminated":{"exitCode":3}}}]}})"), 0);
  EXPECT_EQ(cell(row, "Status"), "ExitCode:3");
  EXPECT_EQ(row["conditions"][0]["reason"].as_string(), "Failed");
}

TEST(PodRow, ADeletedPodIsTerminating) {
  EXPECT_EQ(cell(pod_row(parse(R"({"metadata":{"deletionTimestamp":"x"},"spec":{"containers":[{}]},"status":{"phase":"Running"}})"), 0), "Status"), "Terminating");
}

TEST(NodeRow, StatusRolesAndAddresses) {
  const json::Value row = node_row(parse(R"({"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}},"spec":{"unschedulable":true},
    "status":{"conditions":[{"type":"Ready","status":"True"}],"addresses":[{"type":"InternalIP","address":"10.0.0.1"}]}})"));
  EXPECT_EQ(cell(row, "Status"), "Ready,SchedulingDisabled");
  EXPECT_EQ(cell(row, "Roles"), "control-plane");
  EXPECT_EQ(cell(row, "Internal-IP"), "10.0.0.1");
  EXPECT_EQ(cell(row, "External-IP"), "<none>");
}

TEST(EventRow, BothFacesGiveTheSameRow) {
  const json::Value core = event_row(parse(R"({"involvedObject":{"kind":"Pod","name":"a"},"message":"m","count":3,"lastTimestamp":"1970-01-01T00:00:10Z",
    "firstTimestamp":"1970-01-01T00:00:00Z","source":{"component":"c","host":"h"}})"), 20 * kSecond);
  const json::Value newer = event_row(parse(R"({"regarding":{"kind":"Pod","name":"a"},"note":"m","deprecatedCount":3,"deprecatedLastTimestamp":"1970-01-01T00:00:10Z",
    "deprecatedFirstTimestamp":"1970-01-01T00:00:00Z","deprecatedSource":{"component":"c","host":"h"}})"), 20 * kSecond);
  EXPECT_EQ(core, newer);
  EXPECT_EQ(cell(core, "Last Seen"), "10s");
  EXPECT_EQ(cell(core, "Object"), "pod/a");
  EXPECT_EQ(cell(core, "Source"), "c, h");
  EXPECT_EQ(cell(core, "Count"), "3");
}

TEST(TableRows, CountKeys) {
  const json::Value rows = table_rows("configmaps", parse(R"([{"data":{"a":"","b":""},"binaryData":{"c":""}},{}])"), 0);
  EXPECT_EQ(rows["rows"][0]["cells"]["Data"].as_int(), 3);
  EXPECT_EQ(rows["rows"][1]["cells"]["Data"].as_int(), 0);
}

}  // namespace
}  // namespace pintle::core

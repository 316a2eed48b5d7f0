// What is read from a machine: answers of servers, files of /proc, locks, logs.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include "kernel/base/file.h"
#include "kernel/cli/checks.h"
#include "kernel/cli/explanation.h"
#include "kernel/cli/http.h"
#include "kernel/cli/process.h"
#include "kernel/cli/purge.h"
#include "kernel/cli/record.h"
#include "kernel/cli/redact.h"
#include "kernel/cli/supervisor.h"
#include "kernel/store/ownership.h"

namespace pintle::cli {
namespace {

namespace fs = std::filesystem;

// Gives its text in pieces, as a network would.
class Script : public Stream {
 public:
  Script(std::string text, size_t piece) : text_(std::move(text)), piece_(piece) {}
  Result<void> write(const std::string& bytes) override {
    written += bytes;
    return {};
  }
  Result<std::string> read() override {
    std::string out = text_.substr(0, piece_);
    text_.erase(0, out.size());
    return out;
  }
  std::string written;

 private:
  std::string text_;
  size_t piece_;
};

class MachineTest : public ::testing::Test {
 protected:
  MachineTest() {
    std::string path = (fs::temp_directory_path() / "pintle-cli-XXXXXX").string();
    root_ = mkdtemp(path.data());
  }
  ~MachineTest() override { fs::remove_all(root_); }
  std::string root_;
};

TEST(HttpTest, AnswersAreReadWhateverPiecesTheyComeIn) {
  for (const size_t piece : {1, 7, 4096}) {
    Script plain("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", piece);
    auto r = exchange(plain, "GET", "/x", "h");
    ASSERT_TRUE(r) << r.error().text;
    EXPECT_EQ(r->status, 200);
    EXPECT_EQ(r->body, "hello");
    Script chunked("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", piece);
    r = exchange(chunked, "GET", "/x", "h");
    ASSERT_TRUE(r) << r.error().text;
    EXPECT_EQ(r->status, 404);
    EXPECT_EQ(r->body, "hello");
  }
}

TEST(HttpTest, AnAnswerThatIsCutOffIsAnError) {
  Script plain("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", 100);
  EXPECT_FALSE(exchange(plain, "GET", "/", "h"));
  Script chunked("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhello", 100);
  EXPECT_FALSE(exchange(chunked, "GET", "/", "h"));
  Script nothing("", 1);
  EXPECT_FALSE(exchange(nothing, "GET", "/", "h"));
}

TEST(HttpTest, ABodyIsSentWithItsLengthAndType) {
  Script s("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 100);
  ASSERT_TRUE(exchange(s, "PATCH", "/a", "host", "{}", "application/merge-patch+json"));
  EXPECT_NE(s.written.find("Content-Length: 2\r\n"), std::string::npos);
  EXPECT_NE(s.written.find("Content-Type: application/merge-patch+json\r\n"), std::string::npos);
}

TEST(ChecksTest, TheListenerOfAPortIsFoundAndAConnectionToItIsNot) {
  const std::string text =
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
      "   0: 0100007F:192B 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 11 1\n"
      "   1: 0100007F:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1\n";
  EXPECT_EQ(listening_inode(text, 6443), 42u);
  EXPECT_EQ(listening_inode(text, 6444), 0u);
}

TEST(ChecksTest, TheVersionOfKubectlIsRead) {
  EXPECT_EQ(kubectl_version(R"({"clientVersion":{"major":"1","minor":"35","gitVersion":"v1.35.0"}})"), std::make_pair(1, 35));
  EXPECT_EQ(kubectl_version(R"({"clientVersion":{"major":"1","minor":"29+"}})"), std::make_pair(1, 29));
  EXPECT_EQ(kubectl_version("error"), std::make_pair(0, 0));
}

TEST(PurgeTest, MountsBeneathADirectoryComeInnermostFirst) {
  const std::string text =
      "1 0 8:1 / / rw - ext4 /dev/a rw\n"
      "2 1 0:1 / /d/node rw - tmpfs t rw\n"
      "3 2 0:2 / /d/node/a\\040b rw - tmpfs t rw\n"
      "4 1 0:3 / /data2 rw - tmpfs t rw\n";
  EXPECT_EQ(mounts_beneath(text, "/d"), (std::vector<std::string>{"/d/node/a b", "/d/node"}));
}

TEST(PurgeTest, OnlyOurRuleIsDeletedAndAsItStandsThere) {
  EXPECT_EQ(deletion_of("-A DOCKER-USER -m connmark --mark 0x1/0x1 -m comment --comment \"pintle services\" -j ACCEPT"),
            (std::vector<std::string>{"iptables", "-w", "5", "-D", "DOCKER-USER", "-m", "connmark", "--mark", "0x1/0x1", "-m", "comment", "--comment", "pintle services", "-j", "ACCEPT"}));
  EXPECT_TRUE(deletion_of("-A DOCKER-USER -j RETURN").empty());
  EXPECT_TRUE(deletion_of("-N DOCKER-USER").empty());
}

TEST_F(MachineTest, ADirectoryWithoutADatabaseOfOursIsNeverDeleted) {
  ASSERT_TRUE(kernel::write_file(root_ + "/thesis.tex", "years of work"));
  auto r = purge_data(root_, [](const std::string&) {});
  EXPECT_EQ(r.error().code, PINTLE_INVALID);
  EXPECT_TRUE(fs::exists(root_ + "/thesis.tex"));
  EXPECT_FALSE(kernel::may_be_data_directory(root_));
}

TEST_F(MachineTest, ANodeAgentsFilesAreNoForeignOnes) {
  fs::create_directories(root_ + "/node/pods");
  EXPECT_TRUE(kernel::may_be_data_directory(root_));
  EXPECT_FALSE(kernel::is_data_directory(root_));
}

TEST_F(MachineTest, ADataDirectoryOfOursIsDeletedAndALinkToOneIsNotFollowed) {
  fs::create_directories(root_ + "/d");
  ASSERT_TRUE(kernel::write_file(root_ + "/d/store.db", "x"));
  EXPECT_FALSE(purge_data(root_ + "/d", [](const std::string&) {})) << "a file of that name alone is anybody's";
  ASSERT_TRUE(kernel::write_file(root_ + "/d/seal.key", "x"));
  fs::create_directory_symlink(root_ + "/d", root_ + "/link");
  EXPECT_FALSE(purge_data(root_ + "/link", [](const std::string&) {}));
  EXPECT_TRUE(fs::exists(root_ + "/d/store.db"));
  std::string said;
  ASSERT_TRUE(purge_data(root_ + "/d", [&](const std::string& s) { said = s; }));
  EXPECT_FALSE(fs::exists(root_ + "/d"));
  EXPECT_EQ(said, "removed " + root_ + "/d");
}

TEST_F(MachineTest, ARecordIsReadAsItWasWritten) {
  Record r;
  r.config = "/c.yaml";
  r.arguments = {"--data", "/d"};
  r.own_containers = true;
  r.container_cluster = "blue";
  r.roots = {"/n"};
  ASSERT_TRUE(write_record(root_, r));
  auto back = read_record(root_);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->config, "/c.yaml");
  EXPECT_EQ(back->arguments, r.arguments);
  EXPECT_TRUE(back->own_containers);
  EXPECT_EQ(back->container_cluster, "blue");
  EXPECT_EQ(back->packet_filter_table, "");
  EXPECT_EQ(back->roots, r.roots);
}

TEST_F(MachineTest, WhatAConfigurationMakesOnTheMachineIsKnownBeforeItStarts) {
  ASSERT_TRUE(kernel::write_file(root_ + "/real.yaml",
                                 "plugins:\n  runtime-docker: {config: {cluster: blue}}\n  node-agent: {config: {root: /n}}\n  service-proxy: {config: {table: blue-services}}\n"));
  auto real = record_of(root_ + "/real.yaml", {}, "/d");
  ASSERT_TRUE(real) << real.error().text;
  EXPECT_TRUE(real->own_containers);
  EXPECT_EQ(real->container_cluster, "blue");
  EXPECT_EQ(real->packet_filter_table, "blue-services");
  EXPECT_EQ(real->roots, std::vector<std::string>{"/n"});
  ASSERT_TRUE(kernel::write_file(root_ + "/inside.yaml", "plugins:\n  runtime-docker:\n  node-agent: {config: {root: '{data}/node'}}\n"));
  EXPECT_TRUE(record_of(root_ + "/inside.yaml", {}, "/d")->roots.empty());
  auto part = record_of(root_ + "/real.yaml", {"runtime-docker", "service-proxy"}, "/d");
  EXPECT_FALSE(part->own_containers);
  EXPECT_EQ(part->packet_filter_table, "");
}

TEST_F(MachineTest, ALockIsNobodysWhenItsHolderHasAnotherName) {
  auto lock = kernel::LockFile::take(root_ + "/pintled.lock");
  ASSERT_TRUE(lock);
  EXPECT_EQ(lock_holder(root_ + "/pintled.lock", "pintled"), 0);
  EXPECT_EQ(lock_holder(root_ + "/pintled.lock", fs::read_symlink("/proc/self/exe").filename().string()), getpid());
  EXPECT_EQ(lock_holder(root_ + "/absent.lock", "pintled"), 0);
}

TEST_F(MachineTest, AFullLogMovesOn) {
  RotatedLog log(root_ + "/log", 10);
  for (int i = 0; i < 8; ++i) log.write("line " + std::to_string(i) + "\n");
  EXPECT_EQ(*kernel::read_file(log.file()), "line 7\n");
  EXPECT_EQ(*kernel::read_file(log.file() + ".1"), "line 6\n");
  EXPECT_EQ(*kernel::read_file(log.file() + ".4"), "line 3\n");
  EXPECT_FALSE(fs::exists(log.file() + ".5"));
}

TEST(ProcessTest, AProgramsOutputAndCodeComeBack) {
  const Finished r = run_program({"sh", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_EQ(r.code, 3);
  EXPECT_EQ(r.output, "out\n");
  EXPECT_EQ(r.errors, "err\n");
  EXPECT_EQ(run_program({"no-such-program-here"}).code, -1);
  EXPECT_EQ(run_program({"sleep", "100"}, 50).code, 128 + 9);
}

TEST(RedactTest, SecretsAreStruckOutAtAnyDepthAlsoInsideOfTexts) {
  json::Value v = json::parse_or_null(
      R"j({"config":{"apiToken":"t","users":[{"password":"p","name":"n"}],"tokenFile":"/t","size":3},"annotations":{"last":"{\"secretKey\":\"s\",\"a\":1}"}})j");
  redact(v);
  EXPECT_EQ(v.dump(),
            R"j({"config":{"apiToken":"(struck out)","users":[{"password":"(struck out)","name":"n"}],"tokenFile":"/t","size":3},)j"
            R"j("annotations":{"last":"{\"secretKey\":\"(struck out)\",\"a\":1}"}})j");
}

TEST(ExplanationTest, PossibleNodesComeFirstBestFirst) {
  const auto answer = json::parse_or_null(
      R"({"message":"fits 2 of 3","nodes":[{"name":"a","filter":"Fit","reason":"needs 2 CPUs, 1 free"},{"name":"b","total":10,"scores":{"Spread":10}},{"name":"c","total":90,"scores":{"Spread":40,"Least":50}}]})");
  EXPECT_EQ(explanation_text("x", answer),
            "pod x: fits 2 of 3\n\n"
            "NODE   POSSIBLE   SCORE   WHY\n"
            "c      yes        90      Spread 40, Least 50\n"
            "b      yes        10      Spread 10\n"
            "a      no         -       Fit: needs 2 CPUs, 1 free\n");
}

}  // namespace
}  // namespace pintle::cli

#include "kernel/cli/supervisor.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>

#include "kernel/base/file.h"
#include "kernel/cli/process.h"

namespace pintle::cli {
namespace {

namespace fs = std::filesystem;

// A script stands in for pintled; it finds its ready descriptor in $ready and its data in $data.
class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest() {
    std::string path = (fs::temp_directory_path() / "pintle-cli-XXXXXX").string();
    root_ = mkdtemp(path.data());
    program_ = fs::read_symlink("/proc/self/exe").filename().string();
  }
  ~SupervisorTest() override {
    stop();
    fs::remove_all(root_);
  }

  Supervised pintled(const std::string& script) {
    const std::string file = root_ + "/pintled";
    const std::string head = "#!/bin/sh\ndata=" + root_ + "\nlisten=$2\nfor word; do ready=$word; done\n";
    EXPECT_TRUE(kernel::write_file(file, head + script, 0755));
    return {root_, {file, "--listen", "127.0.0.1:0"}, true};
  }
  bool stop() {
    bool killed = false;
    auto r = end_holder(root_ + "/supervisor.lock", program_, 10000, killed);
    return r && *r && !killed;
  }
  // What the file holds as soon as it has `lines` lines, or after ten seconds.
  std::string text_of(const std::string& name, size_t lines) {
    const int64_t deadline = monotonic_ms() + 10000;
    for (;;) {
      auto text = kernel::read_file(root_ + "/" + name);
      const std::string now = text ? *text : "";
      if (static_cast<size_t>(std::count(now.begin(), now.end(), '\n')) >= lines || monotonic_ms() > deadline) return now;
      pause_ms(5);
    }
  }

  std::string root_, program_;
};

constexpr const char* kLives = "echo ready https://127.0.0.1:4711 >/proc/self/fd/$ready\nexec sleep 1000\n";

TEST_F(SupervisorTest, TheUrlComesBackWhenPintledIsReadyAndItEndsWithItsSupervisor) {
  auto url = start_supervised(pintled("echo $$ >$data/pid\n" + std::string(kLives)), 10000);
  ASSERT_TRUE(url) << url.error().text;
  EXPECT_EQ(*url, "https://127.0.0.1:4711");
  const std::string pid = text_of("pid", 1);
  EXPECT_TRUE(stop());
  EXPECT_FALSE(fs::exists("/proc/" + pid.substr(0, pid.size() - 1)));
}

TEST_F(SupervisorTest, ACrashedPintledIsBackWithinASecondAtTheSameAddress) {
  ASSERT_TRUE(start_supervised(pintled("echo $$ $listen >>$data/starts\n" + std::string(kLives)), 10000));
  std::string starts = text_of("starts", 1);
  const int64_t killed = monotonic_ms();
  ASSERT_EQ(kill(std::atoi(starts.c_str()), SIGKILL), 0);
  starts = text_of("starts", 2);
  EXPECT_LT(monotonic_ms() - killed, 1000);
  EXPECT_NE(starts.find(" 127.0.0.1:0\n"), std::string::npos);
  EXPECT_NE(starts.find(" 127.0.0.1:4711\n"), std::string::npos);
  EXPECT_TRUE(stop());
}

TEST_F(SupervisorTest, AnEndBeforeReadinessIsReportedInItsOwnWordsAndNothingStays) {
  auto url = start_supervised(pintled("echo '2026-01-01T00:00:00 error pintled: the port is in use' >&2\nexit 1\n"), 10000);
  ASSERT_FALSE(url);
  EXPECT_EQ(url.error().text, "the port is in use");
  url = start_supervised(pintled("echo '{\"time\":\"t\",\"level\":\"error\",\"source\":\"pintled\",\"message\":\"no room\"}' >&2\nexit 1\n"), 10000);
  ASSERT_FALSE(url);
  EXPECT_EQ(url.error().text, "no room");
  EXPECT_EQ(lock_holder(root_ + "/supervisor.lock", program_), 0);
}

TEST_F(SupervisorTest, AnOrderlyEndIsNoCrash) {
  ASSERT_TRUE(start_supervised(pintled("echo start >>$data/starts\necho ready https://127.0.0.1:1 >/proc/self/fd/$ready\nexit 0\n"), 10000));
  const int64_t deadline = monotonic_ms() + 10000;
  while (lock_holder(root_ + "/supervisor.lock", program_) != 0 && monotonic_ms() < deadline) pause_ms(5);
  EXPECT_EQ(lock_holder(root_ + "/supervisor.lock", program_), 0);
  EXPECT_EQ(text_of("starts", 1), "start\n");
}

TEST_F(SupervisorTest, ADirectoryHasOneSupervisor) {
  ASSERT_TRUE(start_supervised(pintled(kLives), 10000));
  auto second = start_supervised(pintled(kLives), 10000);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, PINTLE_CONFLICT);
  EXPECT_TRUE(stop());
}

TEST_F(SupervisorTest, WhatPintledSaysGoesToTheLog) {
  ASSERT_TRUE(start_supervised(pintled("echo hello >&2\n" + std::string(kLives)), 10000));
  EXPECT_EQ(text_of("log/pintled.log", 1), "hello\n");
  EXPECT_TRUE(stop());
}

}  // namespace
}  // namespace pintle::cli

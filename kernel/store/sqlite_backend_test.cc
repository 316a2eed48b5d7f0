// What is on disk: survives, is refused, is sealed, fails safely.
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "kernel/base/file.h"
#include "kernel/store/faulty_vfs.h"
#include "kernel/store/store_testing.h"

namespace pintle::kernel {
namespace {

using namespace testing_store;

const Key kA{"w", "n", "a"};
const Key kSecret{"s", "n", "x"};

class SqliteTest : public testing::Test {
 protected:
  std::unique_ptr<Store> open() {
    auto store = open_store(executor_, {.path = folder_.path() + "/data"});
    EXPECT_TRUE(store) << store.error().text;
    return store ? std::move(*store) : nullptr;
  }
  Error refused() {
    auto store = open_store(executor_, {.path = folder_.path() + "/data"});
    EXPECT_FALSE(store);
    return store ? Error() : store.error();
  }
  std::string file(const std::string& name) { return folder_.path() + "/data/" + name; }
  void sql(const std::string& text) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(file("store.db").c_str(), &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, text.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  }
  std::string all_bytes() {
    std::string out;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path() + "/data")) {
      out += *read_file(entry.path().string());
    }
    return out;
  }

  Folder folder_;
  ThreadExecutor executor_{{.workers = 2}};
};

TEST_F(SqliteTest, ObjectsRevisionAndEpochsSurviveARestart) {
  Revision end = 0;
  {
    auto store = open();
    ASSERT_TRUE(commit_wait(*store, put_txn(kA, "1")));
    ASSERT_TRUE(commit_wait(*store, put_txn({"w", "n", "b"}, "1")));
    Transaction txn = put_txn(kA, "2");
    txn.epochs = {{"slot", 7}};
    ASSERT_TRUE(commit_wait(*store, std::move(txn)));
    end = commit_wait(*store, delete_txn({"w", "n", "b"}))->revision;
  }
  auto store = open();
  EXPECT_EQ(store->revision(), end);
  EXPECT_EQ(value_of(store->get(kA)), "2");
  EXPECT_EQ(store->get(kA)->revision(), inner_revision(*store->get(kA)));
  EXPECT_EQ(store->get({"w", "n", "b"}), nullptr);
  EXPECT_EQ(store->epoch("slot"), 7u);
  store->set_kind("w", label_traits());
  // The window begins at the loaded revision.
  EXPECT_EQ(store->subscribe(end - 1, [](const auto&, Revision) {}).error().code, PINTLE_EXPIRED);
  EXPECT_TRUE(store->subscribe(end, [](const auto&, Revision) {}));
  EXPECT_EQ(store->list({.kind = "w", .at = end})->objects.size(), 1u);
  Transaction next = put_txn(kA, "3");
  next.compares = {{kA, store->get(kA)->revision()}};
  const auto done = commit_wait(*store, std::move(next));
  ASSERT_TRUE(done);
  EXPECT_EQ(done->revision, end + 1) << "the revision goes on where it was";
}

TEST_F(SqliteTest, ManyWritersGetDistinctRevisionsAndEverythingIsThereAfterwards) {
  constexpr int kWriters = 8, kEach = 50;
  {
    auto store = open();
    std::vector<std::thread> writers;
    for (int w = 0; w < kWriters; ++w) {
      writers.emplace_back([&, w] {
        for (int i = 0; i < kEach; ++i) {
          const Key own{"w", std::to_string(w), std::to_string(i)};
          ASSERT_TRUE(commit_wait(*store, put_txn(own, "v")));
          ASSERT_NE(store->get(own), nullptr) << "an acknowledged write is readable";
          // And all of them count on one object by compare-and-swap.
          for (;;) {
            const ObjectRef now = store->get(kA);
            Transaction txn = put_txn(kA, std::to_string(now ? std::stoi(value_of(now)) + 1 : 1));
            txn.compares = {{kA, now ? now->revision() : 0}};
            const auto done = commit_wait(*store, std::move(txn));
            if (done) break;
            ASSERT_EQ(done.error().code, PINTLE_CONFLICT);
          }
        }
      });
    }
    for (std::thread& writer : writers) writer.join();
  }
  auto store = open();
  EXPECT_EQ(store->count("w", ""), kWriters * kEach + 1u);
  EXPECT_EQ(value_of(store->get(kA)), std::to_string(kWriters * kEach));
  EXPECT_EQ(store->revision(), 2u * kWriters * kEach);
}

TEST_F(SqliteTest, SealedKindsAreUnreadableInEveryFileAndReadableAfterARestart) {
  const std::string marker = "correct-horse-battery-staple";
  KindTraits sealed;
  sealed.sealed = true;
  {
    auto store = open();
    store->set_kind("s", sealed);
    ASSERT_TRUE(commit_wait(*store, put_txn(kSecret, marker)));
    ASSERT_TRUE(commit_wait(*store, put_txn(kA, "plainly visible")));
    const std::string bytes = all_bytes();
    EXPECT_EQ(bytes.find(marker), std::string::npos);
    EXPECT_NE(bytes.find("plainly visible"), std::string::npos);
  }
  EXPECT_EQ(all_bytes().find(marker), std::string::npos);
  {
    auto store = open();
    EXPECT_EQ(value_of(store->get(kSecret)), marker);
    // The kind is not registered (its plugin is off): stays sealed.
    ASSERT_TRUE(commit_wait(*store, put_txn(kSecret, marker + "-2")));
  }
  EXPECT_EQ(all_bytes().find(marker), std::string::npos);
  struct stat info {};
  for (const char* name : {"seal.key", "store.db", "pintle.lock"}) {
    ASSERT_EQ(stat(file(name).c_str(), &info), 0) << name;
    EXPECT_EQ(info.st_mode & 0777, 0600u) << name;
  }
}

TEST_F(SqliteTest, AMissingWrongOrPublicKeyIsRefused) {
  { open(); }
  const std::string key = *read_file(file("seal.key"));
  EXPECT_EQ(key.size(), 32u);
  ASSERT_EQ(chmod(file("seal.key").c_str(), 0644), 0);
  EXPECT_EQ(refused().code, PINTLE_FORBIDDEN);
  EXPECT_NE(refused().text.find("chmod 600"), std::string::npos);
  ASSERT_EQ(unlink(file("seal.key").c_str()), 0);
  EXPECT_EQ(refused().code, PINTLE_INVALID);
  EXPECT_NE(refused().text.find("seal.key is missing"), std::string::npos);
  ASSERT_TRUE(write_file(file("seal.key"), std::string(32, 'k')));
  EXPECT_NE(refused().text.find("not the key"), std::string::npos);
  ASSERT_TRUE(write_file(file("seal.key"), "short"));
  EXPECT_EQ(refused().code, PINTLE_INVALID);
  ASSERT_TRUE(write_file(file("seal.key"), key));
  open();
}

TEST_F(SqliteTest, ASealedBodyInAnotherRowDoesNotOpen) {
  KindTraits sealed;
  sealed.sealed = true;
  {
    auto store = open();
    store->set_kind("s", sealed);
    ASSERT_TRUE(commit_wait(*store, put_txn(kSecret, "1")));
  }
  sql("UPDATE object SET name='y'");
  EXPECT_EQ(refused().code, PINTLE_INVALID);
  EXPECT_NE(refused().text.find("does not unseal"), std::string::npos);
}

TEST_F(SqliteTest, ForeignNewerAndDamagedDatabasesAreRefusedAndLeftAlone) {
  std::filesystem::create_directory(folder_.path() + "/data");
  const std::string garbage(20'000, 'g');
  std::ofstream(file("store.db")) << garbage;
  EXPECT_EQ(refused().code, PINTLE_INVALID);
  EXPECT_EQ(*read_file(file("store.db")), garbage);

  std::filesystem::remove(file("store.db"));
  sql("CREATE TABLE mine(x); INSERT INTO mine VALUES(1); PRAGMA application_id=77;");
  const std::string foreign = *read_file(file("store.db"));
  EXPECT_EQ(refused().code, PINTLE_INVALID);
  EXPECT_NE(refused().text.find("another program"), std::string::npos);
  EXPECT_EQ(*read_file(file("store.db")), foreign);

  std::filesystem::remove(file("store.db"));
  { open(); }
  sql("PRAGMA user_version=99");
  EXPECT_NE(refused().text.find("newer Pintle (format 99, this one knows up to 1)"), std::string::npos) << refused().text;
  sql("PRAGMA user_version=1");
  {
    auto store = open();
    ASSERT_TRUE(commit_wait(*store, put_txn(kA, "1")));
  }
  sql("UPDATE meta SET value=0 WHERE name='revision'");
  EXPECT_NE(refused().text.find("wrong revision"), std::string::npos) << refused().text;
}

TEST_F(SqliteTest, AnUnusableFolderIsRefusedByName) {
  ASSERT_TRUE(write_file(folder_.path() + "/data", "a file"));
  EXPECT_NE(refused().text.find(folder_.path() + "/data"), std::string::npos);
}

TEST_F(SqliteTest, AfterAFailedFsyncNothingIsAcknowledgedUntilARestart) {
  const FaultyVfs vfs;
  {
    auto store = open();
    ASSERT_TRUE(commit_wait(*store, put_txn(kA, "1")));
    FaultyVfs::fail_sync = true;
    const auto failed = commit_wait(*store, put_txn(kA, "2"));
    EXPECT_EQ(failed.error().code, PINTLE_UNAVAILABLE);
    EXPECT_TRUE(store->read_only());
    FaultyVfs::fail_sync = false;  // the disk claims to be well again: not believed
    EXPECT_EQ(commit_wait(*store, put_txn({"w", "n", "b"}, "1")).error().code, PINTLE_UNAVAILABLE);
    EXPECT_EQ(value_of(store->get(kA)), "1");
  }
  auto store = open();
  EXPECT_FALSE(store->read_only());
  EXPECT_NE(value_of(store->get(kA)), "<none>");
  EXPECT_TRUE(commit_wait(*store, put_txn(kA, "3")));
}

TEST_F(SqliteTest, EveryGroupIsSyncedBeforeItsAnswer) {
  const FaultyVfs vfs;
  auto store = open();
  for (int i = 0; i < 5; ++i) {
    const int before = FaultyVfs::syncs;
    ASSERT_TRUE(commit_wait(*store, put_txn(kA, std::to_string(i))));
    EXPECT_GT(FaultyVfs::syncs, before);
  }
}

TEST_F(SqliteTest, AFullDiskIsReportedAndRecoversByItself) {
  const FaultyVfs vfs;
  {
    auto store = open();
    ASSERT_TRUE(commit_wait(*store, put_txn(kA, "1")));
    FaultyVfs::disk_full = true;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(commit_wait(*store, put_txn(kA, "2")).error().code, PINTLE_NO_SPACE);
    }
    EXPECT_FALSE(store->read_only());
    EXPECT_EQ(value_of(store->get(kA)), "1");
    FaultyVfs::disk_full = false;
    ASSERT_TRUE(commit_wait(*store, put_txn(kA, "3")));
  }
  EXPECT_EQ(value_of(open()->get(kA)), "3");
}

TEST_F(SqliteTest, ASecondProcessIsRefusedAndToldWhoHasTheFolder) {
  int ready[2], leave[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(leave), 0);
  const pid_t child = fork();
  if (child == 0) {
    SimulatedExecutor executor(1);
    const auto store = open_store(executor, {.path = folder_.path() + "/data"});
    char byte = store ? 'y' : 'n';
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    close(leave[1]);
    [[maybe_unused]] const ssize_t end = read(leave[0], &byte, 1);
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  const Error error = refused();
  EXPECT_EQ(error.code, PINTLE_CONFLICT);
  EXPECT_NE(error.text.find("process " + std::to_string(child)), std::string::npos) << error.text;
  close(leave[0]);
  close(leave[1]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  close(ready[0]);
  close(ready[1]);
  open();
}

TEST_F(SqliteTest, TheWriteAheadLogIsCutWhileWritesGoOn) {
  auto store = open();
  const std::string megabyte(1 << 20, 'm');
  int64_t longest = 0;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(commit_wait(*store, put_txn({"w", "n", std::to_string(i % 4)}, megabyte)));
    longest = std::max(longest, store->metrics()["walBytes"].as_int());
  }
  EXPECT_GT(store->metrics()["checkpoints"].as_int(), 0);
  EXPECT_LT(longest, 96 << 20);
  store->close();
  EXPECT_LT(std::filesystem::file_size(file("store.db")), 32u << 20);
  store.reset();
  EXPECT_EQ(value_of(open()->get({"w", "n", "3"})), megabyte);
}

}  // namespace
}  // namespace pintle::kernel

// kill -9 at random moments: everything that was acknowledged is there afterwards, and the revision never repeats.
//
// A child writes with eight threads and reports every acknowledgement through a pipe; the parent kills it after a random
// number of them (also none: while it starts), opens the store itself and compares. What each writer does next is a function of
// its number and step, so the parent knows the only operation that may be there without an acknowledgement.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <random>
#include <set>
#include <thread>

#include "kernel/store/store_testing.h"

namespace pintle::kernel {
namespace {

using namespace testing_store;

constexpr int kWriters = 8;
constexpr int kKeys = 12;  // of each writer
constexpr int kRounds = 30;

struct Record {
  uint32_t writer;
  uint32_t step;
  uint64_t revision;
};

struct Operation {
  Key key;
  enum { kPut, kDelete, kEpoch } what;
};

Operation operation(uint32_t writer, uint32_t step) {
  const uint32_t mixed = (step * 2654435761u) ^ (writer * 40503u);
  const Key key{mixed % 3 == 0 ? "sealed" : "plain", std::to_string(writer), std::to_string((mixed >> 8) % kKeys)};
  if (step % 11 == 0) return {key, Operation::kEpoch};
  return {key, (mixed >> 16) % 5 == 0 ? Operation::kDelete : Operation::kPut};
}

std::string slot_of(uint32_t writer) { return "writer-" + std::to_string(writer); }

void register_kinds(Store& store) {
  KindTraits sealed;
  sealed.sealed = true;
  store.set_kind("sealed", sealed);
  store.set_kind("plain", label_traits());
}

void write_for_ever(Store& store, uint32_t writer, uint32_t step, int pipe) {
  const std::string padding(1500, 'p');
  for (;; ++step) {
    const Operation op = operation(writer, step);
    Transaction txn;
    if (op.what == Operation::kEpoch) txn.epochs = {{slot_of(writer), step}};
    if (op.what == Operation::kPut) txn.puts = {make_put(op.key, std::to_string(step), padding)};
    if (op.what == Operation::kDelete) txn.deletes = {op.key};
    const auto done = commit_wait(store, std::move(txn));
    if (!done && done.error().code != PINTLE_NOT_FOUND) _exit(2);
    const Record record{writer, step, done && op.what != Operation::kEpoch ? done->revision : 0};
    if (write(pipe, &record, sizeof record) != sizeof record) _exit(3);
  }
}

[[noreturn]] void child(const std::string& path, const std::vector<uint32_t>& steps, int pipe) {
  ThreadExecutor executor({.workers = 2});
  const auto store = open_store(executor, {.path = path});
  if (!store) _exit(4);
  register_kinds(**store);
  std::vector<std::thread> writers;
  for (uint32_t w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] { write_for_ever(**store, w, steps[w], pipe); });
  }
  for (std::thread& writer : writers) writer.join();
  _exit(5);
}

// What the acknowledgements say must be in the store.
struct Ledger {
  std::map<Key, std::pair<uint32_t, Revision>> objects;  // step that wrote it, its revision
  std::map<std::string, uint64_t> epochs;
  std::vector<uint32_t> next = std::vector<uint32_t>(kWriters, 1);  // step each writer does next
  Revision newest = 0;
  uint64_t acknowledged = 0;

  void apply(const Record& record) {
    ASSERT_EQ(record.step, next[record.writer]);
    next[record.writer] = record.step + 1;
    ++acknowledged;
    const Operation op = operation(record.writer, record.step);
    if (op.what == Operation::kEpoch) epochs[slot_of(record.writer)] = record.step;
    if (op.what == Operation::kPut) objects[op.key] = {record.step, record.revision};
    if (op.what == Operation::kDelete) objects.erase(op.key);
    newest = std::max(newest, record.revision);
  }
};

// Compares and then takes over what was done without an acknowledgement.
void verify(const std::string& path, Ledger& ledger) {
  SimulatedExecutor executor(1);
  const auto opened = open_store(executor, {.path = path});
  ASSERT_TRUE(opened) << opened.error().text;
  Store& store = **opened;
  ASSERT_GE(store.revision(), ledger.newest) << "the revision fell";
  for (uint32_t w = 0; w < kWriters; ++w) {
    const Operation open_end = operation(w, ledger.next[w]);  // may or may not have happened
    bool happened = false;
    for (const char* kind : {"plain", "sealed"}) {
      for (int k = 0; k < kKeys; ++k) {
        const Key key{kind, std::to_string(w), std::to_string(k)};
        const ObjectRef object = store.get(key);
        const auto expected = ledger.objects.find(key);
        const bool as_acknowledged = expected == ledger.objects.end()
                                         ? object == nullptr
                                         : object && value_of(object) == std::to_string(expected->second.first) &&
                                               object->revision() == expected->second.second;
        if (as_acknowledged) continue;
        ASSERT_EQ(key, open_end.key) << "an acknowledged write is lost, or a deleted object is back";
        if (open_end.what == Operation::kDelete) {
          ASSERT_EQ(object, nullptr);
          ledger.objects.erase(key);
        } else {
          ASSERT_EQ(open_end.what, Operation::kPut);
          ASSERT_EQ(value_of(object), std::to_string(ledger.next[w]));
          ASSERT_GT(object->revision(), ledger.newest > 0 && expected != ledger.objects.end() ? expected->second.second : 0);
          ledger.objects[key] = {ledger.next[w], object->revision()};
        }
        happened = true;
      }
    }
    const uint64_t epoch = store.epoch(slot_of(w));
    if (epoch != ledger.epochs[slot_of(w)]) {
      ASSERT_EQ(open_end.what, Operation::kEpoch);
      ASSERT_EQ(epoch, ledger.next[w]);
      ledger.epochs[slot_of(w)] = epoch;
      happened = true;
    }
    if (happened) ++ledger.next[w];
  }
  ledger.newest = store.revision();
}

TEST(KillTest, NothingAcknowledgedIsLostAndTheRevisionNeverFalls) {
  const Folder folder;
  const std::string path = folder.path() + "/data";
  std::mt19937 random(20260101);
  Ledger ledger;
  for (int round = 0; round < kRounds; ++round) {
    int acks[2];
    ASSERT_EQ(pipe(acks), 0);
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      close(acks[0]);
      child(path, ledger.next, acks[1]);
    }
    close(acks[1]);
    const Revision before = ledger.newest;
    std::set<Revision> revisions;
    uint64_t left = round % 5 == 0 ? random() % 3 : 1 + random() % 600;
    Record record{};
    bool killed = false;
    for (;;) {
      if (left == 0 && !killed) {
        kill(pid, SIGKILL);
        killed = true;
      }
      if (read(acks[0], &record, sizeof record) != sizeof record) break;
      if (left > 0) --left;
      ledger.apply(record);
      if (record.revision == 0) continue;
      EXPECT_GT(record.revision, before) << "a revision repeated";
      EXPECT_TRUE(revisions.insert(record.revision).second) << "a revision repeated";
    }
    close(acks[0]);
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "round " << round << ": the child ended by itself, " << status;
    ASSERT_NO_FATAL_FAILURE(verify(path, ledger)) << "round " << round;
  }
  EXPECT_GT(ledger.acknowledged, 1000u);
}

}  // namespace
}  // namespace pintle::kernel

// The contract of store.h, on the memory backend and one seeded loop.
#include <gtest/gtest.h>

#include "kernel/store/store_testing.h"

namespace pintle::kernel {
namespace {

using namespace testing_store;

class StoreTest : public testing::Test {
 protected:
  StoreTest() { open({}); }
  void open(StoreOptions options) {
    control_ = std::make_shared<FaultyBackend::Control>();
    store_ = std::move(*make_store(executor_, options, std::make_unique<FaultyBackend>(control_)));
  }
  Result<Committed> put(const Key& key, const std::string& value, const std::string& label = "") {
    return commit_run(executor_, *store_, put_txn(key, value, label));
  }
  Result<Committed> run(Transaction txn) { return commit_run(executor_, *store_, std::move(txn)); }
  std::string names(const ListQuery& query) {
    const Result<ListPage> page = store_->list(query);
    if (!page) return page.error().text;
    std::string out;
    for (const ObjectRef& object : page->objects) out += object->key().ns + "/" + object->key().name + "=" + value_of(object) + " ";
    return out;
  }

  SimulatedExecutor executor_{1};
  std::shared_ptr<FaultyBackend::Control> control_;
  std::unique_ptr<Store> store_;
};

const Key kA{"w", "n", "a"};
const Key kB{"w", "n", "b"};

TEST_F(StoreTest, EveryObjectOfATransactionGetsItsOwnRevisionInItsJson) {
  Transaction txn;
  txn.puts = {make_put(kA, "1"), make_put(kB, "2")};
  const auto done = run(std::move(txn));
  ASSERT_TRUE(done);
  ASSERT_EQ(done->objects.size(), 2u);
  EXPECT_EQ(done->objects[0]->revision(), 1u);
  EXPECT_EQ(done->objects[1]->revision(), 2u);
  EXPECT_EQ(inner_revision(*done->objects[0]), 1u);
  EXPECT_EQ(inner_revision(*done->objects[1]), 2u);
  EXPECT_EQ(done->revision, 2u);
  EXPECT_EQ(store_->revision(), 2u);
  EXPECT_EQ(value_of(store_->get(kA)), "1");
  for (int i = 0; i < 64; ++i) EXPECT_EQ(done->objects[0]->json().data()[done->objects[0]->json().size() + i], 0);
}

TEST_F(StoreTest, NothingIsVisibleBeforeItIsDurable) {
  Answer answer;
  store_->commit(put_txn(kA, "1"), answer.done());
  EXPECT_EQ(store_->get(kA), nullptr);
  EXPECT_EQ(store_->revision(), 0u);
  EXPECT_FALSE(answer.peek());
  executor_.run_until_idle();
  EXPECT_EQ(value_of(store_->get(kA)), "1");
  ASSERT_TRUE(answer.peek());
}

TEST_F(StoreTest, ComparesSeePendingStateInCommitOrder) {
  Answer create, again, update, stale, remove, recreate;
  Transaction absent = put_txn(kA, "1");
  absent.compares = {{kA, 0}};
  store_->commit(absent, create.done());
  store_->commit(absent, again.done());  // must see the pending one
  Transaction next = put_txn(kA, "2");
  next.compares = {{kA, 1}};
  store_->commit(next, update.done());
  store_->commit(next, stale.done());
  Transaction gone = delete_txn(kA);
  gone.compares = {{kA, 2}};
  store_->commit(gone, remove.done());
  store_->commit(absent, recreate.done());
  executor_.run_until_idle();
  EXPECT_TRUE(create.peek()->ok());
  ASSERT_FALSE(again.peek()->ok());
  EXPECT_EQ(again.peek()->error().code, PINTLE_CONFLICT);
  EXPECT_EQ(again.peek()->error().status.dump(), R"({"failedCompares":[0]})");
  EXPECT_TRUE(update.peek()->ok());
  EXPECT_EQ(stale.peek()->error().code, PINTLE_CONFLICT);
  ASSERT_TRUE(remove.peek()->ok());
  EXPECT_EQ((*remove.peek())->objects[0]->revision(), 3u);
  EXPECT_EQ(inner_revision(*(*remove.peek())->objects[0]), 3u);
  EXPECT_EQ(value_of((*remove.peek())->objects[0]), "2");
  EXPECT_TRUE(recreate.peek()->ok());
  EXPECT_EQ(store_->get(kA)->revision(), 4u);
}

TEST_F(StoreTest, AFailedCompareWritesNothingOfItsTransactionAndNamesEachOne) {
  ASSERT_TRUE(put(kA, "1"));
  Transaction txn;
  txn.puts = {make_put(kA, "2"), make_put(kB, "2")};
  txn.compares = {{kA, 1}, {kB, 7}, {kB, 0, true}};
  const auto done = run(std::move(txn));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().status.dump(), R"({"failedCompares":[1,2]})");
  EXPECT_EQ(value_of(store_->get(kA)), "1");
  EXPECT_EQ(store_->get(kB), nullptr);
  Transaction exists = put_txn(kB, "3");
  exists.compares = {{kA, 0, true}};
  EXPECT_TRUE(run(std::move(exists)));
}

TEST_F(StoreTest, ADryRunChecksAndChangesNothing) {
  ASSERT_TRUE(put(kA, "1"));
  Transaction txn = put_txn(kA, "2");
  txn.compares = {{kA, 1}};
  txn.dry_run = true;
  EXPECT_TRUE(run(txn));
  txn.compares = {{kA, 9}};
  EXPECT_EQ(run(txn).error().code, PINTLE_CONFLICT);
  EXPECT_EQ(store_->revision(), 1u);
  EXPECT_EQ(value_of(store_->get(kA)), "1");
}

TEST_F(StoreTest, ImpossibleTransactionsAreRefusedByName) {
  EXPECT_EQ(run(delete_txn(kA)).error().code, PINTLE_NOT_FOUND);
  Transaction twice;
  twice.puts = {make_put(kA, "1"), make_put(kA, "2")};
  EXPECT_EQ(run(twice).error().text, "\"n/a\" of w is written twice in one transaction");
  Transaction outside = put_txn(kA, "1");
  outside.puts[0].revision_at = 10'000;
  EXPECT_EQ(run(outside).error().code, PINTLE_INVALID);
  EXPECT_EQ(store_->revision(), 0u);
}

TEST_F(StoreTest, AFailedGroupFailsAllItsTransactionsAndAllBuiltOnThem) {
  ASSERT_TRUE(put(kA, "1"));
  control_->fail = Error(PINTLE_NO_SPACE, "full");
  Answer first, second;
  store_->commit(put_txn(kA, "2"), first.done());
  Transaction built = put_txn(kB, "2");
  built.compares = {{kA, 2}};
  store_->commit(built, second.done());
  executor_.run_until_idle();
  EXPECT_EQ(first.peek()->error().code, PINTLE_NO_SPACE);
  EXPECT_EQ(second.peek()->error().code, PINTLE_NO_SPACE);
  EXPECT_EQ(value_of(store_->get(kA)), "1");
  EXPECT_EQ(store_->get(kB), nullptr);
  EXPECT_EQ(store_->revision(), 1u);
  // The space is back: goes on by itself, with revisions that were never seen.
  Transaction after = put_txn(kA, "3");
  after.compares = {{kA, 1}};
  const auto done = run(after);
  ASSERT_TRUE(done);
  EXPECT_GT(done->revision, 3u);
  EXPECT_FALSE(store_->read_only());
}

TEST_F(StoreTest, AfterAnUnknownWriteErrorTheStoreIsReadOnly) {
  ASSERT_TRUE(put(kA, "1"));
  control_->fail = Error(PINTLE_UNAVAILABLE, "fsync: Input/output error");
  EXPECT_EQ(put(kA, "2").error().code, PINTLE_UNAVAILABLE);
  EXPECT_TRUE(store_->read_only());
  const auto refused = put(kB, "1");
  EXPECT_EQ(refused.error().code, PINTLE_UNAVAILABLE);
  EXPECT_EQ(refused.error().text, "the store is read-only until restart: fsync: Input/output error");
  EXPECT_EQ(control_->appended, 1u);
  EXPECT_EQ(value_of(store_->get(kA)), "1");
  EXPECT_EQ(names({.kind = "w"}), "n/a=1 ");
}

TEST_F(StoreTest, FencesAreCheckedAgainstPendingEpochs) {
  EXPECT_EQ(store_->epoch("s"), 0u);
  Answer raise, old_fence, new_fence;
  Transaction txn;
  txn.epochs = {{"s", 5}};
  store_->commit(txn, raise.done());
  Transaction fenced = put_txn(kA, "1");
  fenced.fences = {{"s", 0}};
  store_->commit(fenced, old_fence.done());
  fenced.fences = {{"s", 5}};
  store_->commit(fenced, new_fence.done());
  EXPECT_EQ(store_->epoch("s"), 0u);
  executor_.run_until_idle();
  EXPECT_TRUE(raise.peek()->ok());
  EXPECT_EQ(old_fence.peek()->error().code, PINTLE_DEPOSED);
  EXPECT_TRUE(new_fence.peek()->ok());
  EXPECT_EQ(store_->epoch("s"), 5u);
  EXPECT_EQ(run(txn).error().code, PINTLE_CONFLICT) << "an epoch never repeats or falls";
}

TEST_F(StoreTest, AChangeIsSeenUnderTheEpochsItWasMadeUnder) {
  std::vector<std::string> seen;
  const auto subscription = store_->subscribe(0, [&](const std::vector<ChangeRef>& changes, Revision) {
    for (const auto& c : changes) seen.push_back(c->object->key().name + "@" + std::to_string(store_->epoch("s")));
  });
  ASSERT_TRUE(subscription);
  Answer before, raise, after;
  Transaction bare;
  bare.epochs = {{"s", 5}};
  store_->commit(put_txn(kA, "1"), before.done());
  store_->commit(bare, raise.done());
  store_->commit(put_txn(kB, "1"), after.done());
  executor_.run_until_idle();
  EXPECT_TRUE(before.peek()->ok() && raise.peek()->ok() && after.peek()->ok());
  EXPECT_EQ(seen, (std::vector<std::string>{"a@0", "b@5"}));
  EXPECT_EQ(control_->appended, 2u) << "the epoch and what follows are one group";
}

TEST_F(StoreTest, PagesOfAListAreOneSnapshotWhileWritesGoOn) {
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(put({"w", "n" + std::to_string(i % 2), std::to_string(i)}, "old"));
  ListQuery query{.kind = "w", .limit = 3};
  std::vector<std::string> seen;
  Revision at = 0;
  for (;;) {
    const auto page = store_->list(query);
    ASSERT_TRUE(page) << page.error().text;
    if (at == 0) at = page->revision;
    EXPECT_EQ(page->revision, at);
    for (const ObjectRef& object : page->objects) {
      EXPECT_EQ(value_of(object), "old");
      seen.push_back(object->key().ns + "/" + object->key().name);
    }
    EXPECT_EQ(page->remaining, 10 - seen.size());
    if (!page->more) break;
    query.at = at;
    query.after_ns = page->objects.back()->key().ns;
    query.after_name = page->objects.back()->key().name;
    // Changed, deleted, recreated and new ones must not show.
    ASSERT_TRUE(put({"w", "n1", "9"}, "new"));
    ASSERT_TRUE(run(delete_txn({"w", "n1", "7"})));
    ASSERT_TRUE(put({"w", "n1", "7"}, "new"));
    ASSERT_TRUE(put({"w", "n0", "x" + std::to_string(seen.size())}, "new"));
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"n0/0", "n0/2", "n0/4", "n0/6", "n0/8", "n1/1", "n1/3", "n1/5", "n1/7", "n1/9"}));
  EXPECT_EQ(store_->count("w", ""), 13u);
  EXPECT_EQ(store_->count("w", "n1"), 5u);
}

TEST_F(StoreTest, AListInsideATransactionIsRoundedUpToItsEnd) {
  Transaction txn;
  txn.puts = {make_put(kA, "1"), make_put(kB, "1")};
  ASSERT_TRUE(run(std::move(txn)));
  ASSERT_TRUE(put({"w", "n", "c"}, "1"));
  const auto page = store_->list({.kind = "w", .at = 1});
  ASSERT_TRUE(page);
  EXPECT_EQ(page->revision, 2u);
  EXPECT_EQ(page->objects.size(), 2u);
}

TEST_F(StoreTest, ListsFilterByNamespaceFieldAndPredicate) {
  store_->set_kind("w", label_traits());
  ASSERT_TRUE(put({"w", "x", "1"}, "a", "red"));
  ASSERT_TRUE(put({"w", "x", "2"}, "b", "blue"));
  ASSERT_TRUE(put({"w", "y", "1"}, "c", "red"));
  ASSERT_TRUE(put({"w", "", "cluster"}, "d", "red"));
  EXPECT_EQ(names({.kind = "w", .ns = "x"}), "x/1=a x/2=b ");
  EXPECT_EQ(names({.kind = "w", .index = std::pair<size_t, std::string>(0, "red")}), "/cluster=d x/1=a y/1=c ");
  EXPECT_EQ(names({.kind = "w", .ns = "x", .index = std::pair<size_t, std::string>(0, "red")}), "x/1=a ");
  const auto one = store_->list({.kind = "w", .limit = 1, .filter = [](const StoredObject& o) { return o.key().name == "1"; }});
  EXPECT_EQ(one->objects.size(), 1u);
  EXPECT_TRUE(one->more);
  EXPECT_EQ(names({.kind = "nothing"}), "");
  // The index answers for old revisions too, and forgets what no version has any more.
  const Revision before = store_->revision();
  ASSERT_TRUE(put({"w", "x", "1"}, "a2", "green"));
  EXPECT_EQ(names({.kind = "w", .index = std::pair<size_t, std::string>(0, "red")}), "/cluster=d y/1=c ");
  EXPECT_EQ(names({.kind = "w", .at = before, .index = std::pair<size_t, std::string>(0, "red")}), "/cluster=d x/1=a y/1=c ");
  EXPECT_EQ(names({.kind = "w", .index = std::pair<size_t, std::string>(0, "green")}), "x/1=a2 ");
}

TEST_F(StoreTest, RegisteringAKindIndexesWhatIsThereAndWhatIsPending) {
  ASSERT_TRUE(put({"w", "x", "1"}, "a", "red"));
  Answer pending;
  store_->commit(put_txn({"w", "x", "2"}, "b", "red"), pending.done());
  store_->set_kind("w", label_traits());
  executor_.run_until_idle();
  EXPECT_EQ(names({.kind = "w", .index = std::pair<size_t, std::string>(0, "red")}), "x/1=a x/2=b ");
  EXPECT_EQ(store_->get({"w", "x", "2"})->facets().fields, (std::vector<std::string>{"red"}));
  EXPECT_EQ(store_->kinds(), (std::vector<std::string>{"w"}));
}

TEST_F(StoreTest, TheHistoryWindowIsBoundedByBytes) {
  open({.history_bytes = 4000});
  Revision first = put(kA, "0")->revision;
  for (int i = 1; i < 100; ++i) ASSERT_TRUE(put(kA, std::to_string(i)));
  EXPECT_EQ(store_->list({.kind = "w", .at = first}).error().code, PINTLE_EXPIRED);
  EXPECT_EQ(store_->subscribe(first, [](const auto&, Revision) {}).error().code, PINTLE_EXPIRED);
  const json::Value metrics = store_->metrics();
  EXPECT_LE(metrics["historyBytes"].as_int(), 4000);
  const auto floor = static_cast<Revision>(metrics["historyFloor"].as_int());
  EXPECT_GT(floor, first);
  EXPECT_EQ(names({.kind = "w", .at = floor}), "n/a=" + std::to_string(floor - 1) + " ");
  EXPECT_EQ(store_->list({.kind = "w", .at = 1000}).error().code, PINTLE_INVALID);
}

TEST_F(StoreTest, TheHistoryWindowIsBoundedByAgeAlsoWhenNobodyWrites) {
  ASSERT_TRUE(put(kA, "1"));
  ASSERT_TRUE(run(delete_txn(kA)));
  EXPECT_EQ(names({.kind = "w", .at = 1}), "n/a=1 ");
  executor_.run_for(6ull * 60 * 1'000'000'000);
  EXPECT_EQ(store_->list({.kind = "w", .at = 1}).error().code, PINTLE_EXPIRED);
  EXPECT_EQ(store_->metrics()["historyChanges"].as_int(), 0);
  EXPECT_TRUE(store_->kinds().empty());
  EXPECT_EQ(names({.kind = "w", .at = 2}), "");
}

TEST_F(StoreTest, SubscribersGetEveryChangeInOrderAndCanResumeAnywhere) {
  std::vector<std::string> live;
  const auto record = [](std::vector<std::string>& out) {
    return [&out](const std::vector<ChangeRef>& changes, Revision end) {
      for (const ChangeRef& change : changes) {
        const char* type = change->type == ChangeType::kAdded ? "+" : change->type == ChangeType::kDeleted ? "-" : "~";
        out.push_back(type + change->object->key().name + "=" + value_of(change->object) + "@" + std::to_string(change->revision) +
                      (change->end ? "." : "") + (change->previous ? "<" + value_of(change->previous) : ""));
      }
      out.push_back("end " + std::to_string(end));
    };
  };
  const auto id = store_->subscribe(0, record(live));
  ASSERT_TRUE(id);
  Transaction txn;
  txn.puts = {make_put(kA, "1"), make_put(kB, "1")};
  ASSERT_TRUE(run(std::move(txn)));
  ASSERT_TRUE(put(kA, "2"));
  ASSERT_TRUE(run(delete_txn(kA)));
  EXPECT_EQ(live, (std::vector<std::string>{"end 0", "+a=1@1", "+b=1@2.", "end 2", "~a=2@3.<1", "end 3", "-a=2@4.<2", "end 4"}));
  std::vector<std::string> resumed;
  ASSERT_TRUE(store_->subscribe(1, record(resumed)));
  EXPECT_EQ(resumed, (std::vector<std::string>{"+b=1@2.", "~a=2@3.<1", "-a=2@4.<2", "end 4"}));
  store_->unsubscribe(*id);
  ASSERT_TRUE(put(kA, "3"));
  EXPECT_EQ(live.size(), 8u);
  EXPECT_EQ(resumed.size(), 6u);
  EXPECT_EQ(store_->subscribe(99, [](const auto&, Revision) {}).error().code, PINTLE_INVALID);
}

TEST_F(StoreTest, AClosedStoreFinishesWhatIsPendingAndRefusesTheRest) {
  Answer pending;
  store_->commit(put_txn(kA, "1"), pending.done());
  store_->close();
  EXPECT_EQ(control_->appended, 1u);
  const auto refused = put(kB, "1");
  EXPECT_EQ(refused.error().code, PINTLE_UNAVAILABLE);
  ASSERT_TRUE(pending.peek());
  EXPECT_TRUE(pending.peek()->ok());
  EXPECT_EQ(value_of(store_->get(kA)), "1");
}

TEST_F(StoreTest, ManyTransactionsShareOneGroup) {
  std::vector<Answer> answers(100);
  for (int i = 0; i < 100; ++i) store_->commit(put_txn({"w", "n", std::to_string(i)}, "x"), answers[i].done());
  executor_.run_until_idle();
  EXPECT_EQ(control_->rows, (std::vector<size_t>{100}));
  EXPECT_EQ(store_->metrics()["commits"].as_int(), 100);
}

std::string simulated_run(uint64_t seed) {
  SimulatedExecutor executor(seed);
  auto store = std::move(*open_store(executor, {}));
  std::string log;
  for (int writer = 0; writer < 5; ++writer) {
    auto step = std::make_shared<std::function<void(int)>>();
    *step = [&, writer, weak = std::weak_ptr(step)](int left) {
      if (left == 0) return;
      const ObjectRef now = store->get(kA);
      Transaction txn = put_txn(kA, std::to_string(writer));
      txn.compares = {{kA, now ? now->revision() : 0}};
      store->commit(std::move(txn), [&, writer, left, self = weak.lock()](Result<Committed> done) {
        log += std::to_string(writer) + (done ? "+" : "-");
        executor.post([self, left] { (*self)(left - 1); });
      });
    };
    executor.post([step] { (*step)(10); });
  }
  executor.run_until_idle();
  return log;
}

TEST(StoreSimulation, TheSameSeedGivesTheSameRun) {
  EXPECT_EQ(simulated_run(5), simulated_run(5));
  EXPECT_EQ(simulated_run(5).size(), 100u);
  EXPECT_NE(simulated_run(5), simulated_run(6));
}

}  // namespace
}  // namespace pintle::kernel

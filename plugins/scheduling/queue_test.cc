#include "queue.h"

#include <gtest/gtest.h>
#include "pintle/timestamp.h"

namespace pintle::scheduling_plugin {
namespace {

using Uids = std::vector<std::string>;

TEST(Queue, HigherPriorityFirstThenOlder) {
  PendingQueue q({});
  q.add("a", "s", 0);
  q.add("b", "s", 10);
  q.add("c", "s", 0);
  q.add("x", "other", 99);
  EXPECT_EQ(q.take("s", 10), (Uids{"b", "a", "c"}));
  EXPECT_EQ(q.take("s", 10), Uids{});
  EXPECT_EQ(q.schedulers_with_ready(), std::set<std::string>{"other"});
}

TEST(Queue, AParkedPodComesBackOnlyForWhatHelpsIt) {
  PendingQueue q({.backoff_ns = 0});
  q.add("a", "s", 0);
  q.take("s", 1);
  q.park("a", helped_by("NodeResourcesFit"), kSecond);
  q.happened(kNodeTaints | kPodAssigned, kSecond);
  EXPECT_TRUE(q.take("s", 1).empty());
  q.happened(kPodGone, kSecond);
  EXPECT_EQ(q.take("s", 1), Uids{"a"});
}

TEST(Queue, WhatHappensWhileAPodIsInWorkIsNotLost) {
  PendingQueue q({});
  q.add("a", "s", 0);
  q.take("s", 1);
  q.happened(kNodeAdded, 0);
  q.park("a", helped_by("Nodes"), 0);
  EXPECT_EQ(q.tick(0), kSecond);  // cools down, is not parked
  EXPECT_TRUE(q.take("s", 1).empty());
  EXPECT_EQ(q.tick(kSecond), 0u);
  EXPECT_EQ(q.take("s", 1), Uids{"a"});
}

TEST(Queue, BackOffDoublesUpToItsLimit) {
  PendingQueue q({});
  q.add("a", "s", 0);
  uint64_t now = 0;
  for (const uint64_t expected : {1, 2, 4, 8, 10, 10}) {
    ASSERT_EQ(q.take("s", 1), Uids{"a"});
    q.retry_later("a", now);
    EXPECT_EQ(q.tick(now), now + expected * kSecond);
    now += expected * kSecond;
    q.tick(now);
  }
}

TEST(Queue, NothingStaysParkedForEver) {
  PendingQueue q({});
  q.add("a", "s", 0);
  q.take("s", 1);
  q.park("a", kNodeAdded, 0);
  EXPECT_EQ(q.tick(0), 300 * kSecond);
  q.tick(300 * kSecond);
  EXPECT_EQ(q.take("s", 1), Uids{"a"});
}

TEST(Queue, APodThatChangedWhileInWorkIsJudgedAgain) {
  PendingQueue q({});
  q.add("a", "s", 0);
  q.take("s", 1);
  q.add("a", "s", 0);
  q.park("a", kNodeAdded, 0);
  EXPECT_EQ(q.take("s", 1), Uids{"a"});
}

TEST(Queue, ARemovedPodIsForgottenInEveryPlace) {
  PendingQueue q({});
  for (const char* uid : {"ready", "working", "cooling", "parked"}) q.add(uid, uid, 0);
  q.take("working", 1);
  q.take("cooling", 1);
  q.take("parked", 1);
  q.retry_later("cooling", 0);
  q.park("parked", kNodeAdded, 0);
  for (const char* uid : {"ready", "working", "cooling", "parked"}) q.remove(uid);
  EXPECT_EQ(q.tick(1000 * kSecond), 0u);
  q.happened(kEverything, 0);
  q.park("working", kNodeAdded, 0);
  EXPECT_EQ(q.size(), 0u);
  EXPECT_EQ(q.ready(), 0u);
}

TEST(Queue, FiltersOfOtherSchedulersAreHelpedByAnything) { EXPECT_EQ(helped_by("Mine"), static_cast<uint32_t>(kEverything)); }

}  // namespace
}  // namespace pintle::scheduling_plugin

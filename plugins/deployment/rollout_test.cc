#include "rollout.h"

#include <gtest/gtest.h>

#include "config_hash.h"
#include "progress.h"
#include "revision.h"
#include "pintle/timestamp.h"

namespace pintle::deployment {
namespace {

json::Value parse(const std::string& text) {
  auto r = json::parse(text);
  EXPECT_TRUE(r.ok) << r.error;
  return r.value;
}

json::Value deployment(int replicas, const std::string& surge, const std::string& unavailable) {
  return parse(R"({"metadata":{"name":"web","namespace":"default","generation":1},"spec":{"replicas":)" + std::to_string(replicas) +
               R"(,"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":)" + surge + R"(,"maxUnavailable":)" + unavailable + "}}}}");
}

SetState set(const std::string& name, int64_t wished, int64_t available, int64_t created, int64_t noted = -1, int64_t most = -1) {
  SetState s;
  s.name = name;
  s.wished = wished;
  s.replicas = s.available = s.ready = available;
  s.created_ns = created;
  s.noted_wished = noted;
  s.noted_most = most;
  s.observed = true;
  return s;
}

TEST(Wish, SurgeRoundsUpAndUnavailableDown) {
  const Wish w = Wish::of(deployment(10, "\"25%\"", "\"25%\""));
  EXPECT_EQ(w.surge, 3);
  EXPECT_EQ(w.unavailable, 2);
  const Wish three = Wish::of(deployment(3, "\"25%\"", "\"25%\""));
  EXPECT_EQ(three.surge, 1);
  EXPECT_EQ(three.unavailable, 0);
  EXPECT_EQ(Wish::of(deployment(3, "0", "\"10%\"")).unavailable, 1);  // or nothing could move
  EXPECT_EQ(Wish::of(deployment(2, "1", "5")).unavailable, 2);
}

// Plays a rollout: after each step the sets reach their sizes and everything new becomes available.
struct Played {
  int steps = 0;
  int64_t least_available = INT64_MAX, most = 0;
};
Played play(const Wish& w, std::vector<SetState> sets, int newest) {
  Played p;
  for (; p.steps < 200; ++p.steps) {
    int64_t available = 0, total = 0;
    for (const auto& s : sets) {
      available += std::min(s.available, s.wished);
      total += s.wished;
    }
    p.least_available = std::min(p.least_available, available);
    p.most = std::max(p.most, total);
    const auto steps = rolling_steps(w, sets, newest);
    if (steps.empty()) {
      bool changed = false;
      for (auto& s : sets)
        if (s.available != s.wished) s.available = s.replicas = s.ready = s.wished, changed = true;
      if (!changed) break;
    }
    for (const auto& s : steps) sets[s.set].wished = s.wished;
  }
  EXPECT_EQ(sets[static_cast<size_t>(newest)].wished, w.replicas);
  for (size_t i = 0; i < sets.size(); ++i)
    if (static_cast<int>(i) != newest) {
      EXPECT_EQ(sets[i].wished, 0);
    }
  return p;
}

TEST(RollingUpdate, KeepsItsBoundsAtEverySize) {
  for (const char* surge : {"0", "1", "\"25%\"", "\"50%\"", "\"100%\""})
    for (const char* unavailable : {"0", "1", "\"25%\"", "\"50%\"", "\"100%\""})
      for (int n = 1; n <= 20; ++n) {
        if (std::string(surge) == "0" && std::string(unavailable) == "0") continue;
        const Wish w = Wish::of(deployment(n, surge, unavailable));
        const Played p = play(w, {set("old", n, n, 1), set("new", 0, 0, 2)}, 1);
        EXPECT_GE(p.least_available, w.replicas - w.unavailable) << n << " " << surge << " " << unavailable;
        EXPECT_LE(p.most, w.replicas + w.surge) << n << " " << surge << " " << unavailable;
        EXPECT_LT(p.steps, 199);
      }
}

TEST(RollingUpdate, AVersionThatNeverGetsReadyStopsTheRollout) {
  const Wish w = Wish::of(deployment(10, "\"25%\"", "\"25%\""));
  std::vector<SetState> sets{set("old", 10, 10, 1), set("new", 0, 0, 2)};
  for (int i = 0; i < 50; ++i) {
    const auto steps = rolling_steps(w, sets, 1);
    if (steps.empty()) break;
    for (const auto& s : steps) {
      sets[s.set].wished = s.wished;
      if (s.set == 0) sets[0].available = s.wished;
    }
  }
  EXPECT_EQ(sets[0].wished, 8);
  EXPECT_EQ(sets[1].wished, 5);
}

TEST(RollingUpdate, UnhealthyOldPodsGoFirst) {
  const Wish w = Wish::of(deployment(10, "0", "2"));
  // Ten old pods of which four are not available: eight must be, so nothing available may go, but two of the others may.
  const auto steps = rolling_steps(w, {set("old", 10, 6, 1), set("new", 0, 0, 2)}, 1);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].set, 0u);
  EXPECT_EQ(steps[0].wished, 8);
}

TEST(RollingUpdate, OlderVersionsGoBeforeYounger) {
  const Wish w = Wish::of(deployment(6, "0", "2"));
  const auto steps = rolling_steps(w, {set("b", 3, 3, 2), set("a", 3, 3, 1), set("new", 0, 0, 3)}, 2);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].set, 1u);
  EXPECT_EQ(steps[0].wished, 1);
}

TEST(Recreate, TheNewVersionWaitsUntilTheOldPodsAreGone) {
  const Wish w = Wish::of(parse(R"({"spec":{"replicas":3,"strategy":{"type":"Recreate"}}})"));
  std::vector<SetState> sets{set("old", 3, 3, 1), set("new", 0, 0, 2)};
  auto steps = recreate_steps(w, sets, 1);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].wished, 0);
  sets[0].wished = 0;
  EXPECT_TRUE(recreate_steps(w, sets, 1).empty());
  sets[0].replicas = sets[0].available = 0;
  sets[0].terminating = 3;
  EXPECT_TRUE(recreate_steps(w, sets, 1).empty());
  sets[0].terminating = 0;
  steps = recreate_steps(w, sets, 1);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].wished, 3);
}

TEST(Scaling, InTheMiddleOfARolloutIsInProportion) {
  // 10 -> 15 with surge 3: 13 pods (8 old, 5 new) become 18.
  const Wish w = Wish::of(deployment(15, "3", "2"));
  std::vector<SetState> sets{set("old", 8, 8, 1, 10, 13), set("new", 5, 5, 2, 10, 13)};
  EXPECT_TRUE(is_scaling(w, sets));
  const auto steps = scaling_steps(w, sets, 1);
  int64_t total = 0;
  for (const auto& s : steps) total += s.wished;
  EXPECT_EQ(total, 18);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].set, 0u);
  EXPECT_EQ(steps[0].wished, 11);
  EXPECT_EQ(steps[1].wished, 7);
}

TEST(Scaling, OfOneVersionIsDirect) {
  const Wish w = Wish::of(deployment(2, "1", "0"));
  const auto steps = scaling_steps(w, {set("old", 0, 0, 1, 5, 6), set("new", 5, 5, 2, 5, 6)}, 1);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].set, 1u);
  EXPECT_EQ(steps[0].wished, 2);
  const Wish none = Wish::of(deployment(0, "1", "0"));
  for (const auto& s : scaling_steps(none, {set("a", 3, 3, 1, 5, 6), set("b", 3, 3, 2, 5, 6)}, 1)) EXPECT_EQ(s.wished, 0);
}

TEST(Revision, TheHashIsStableAndCollisionsChangeIt) {
  const json::Value a = parse(R"({"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}})");
  const json::Value b = parse(R"({"spec":{"containers":[{"image":"i:1","name":"c"}]},"metadata":{"labels":{"pod-template-hash":"x","app":"web"}}})");
  EXPECT_EQ(template_hash(a, 0), template_hash(b, 0));
  EXPECT_NE(template_hash(a, 0), template_hash(a, 1));
  json::Value other = a;
  other.make("spec").set("containers", parse(R"([{"name":"c","image":"i:2"}])"));
  EXPECT_NE(template_hash(a, 0), template_hash(other, 0));
  EXPECT_LE(template_hash(a, 0).size(), 10u);
}

TEST(Progress, ConditionsFollowTheRollout) {
  json::Value d = deployment(2, "1", "0");
  const Wish w = Wish::of(d);
  int64_t now = 1700000000 * kSecond, again = INT64_MAX;
  Happened made;
  made.created_set = "web-1";
  d.set("status", status_of(d, w, {set("web-1", 2, 0, 1)}, 0, made, now, &again));
  EXPECT_EQ(find_condition(d["status"]["conditions"], "Progressing")["reason"].as_string(), "NewReplicaSetCreated");
  EXPECT_EQ(find_condition(d["status"]["conditions"], "Available")["status"].as_string(), "False");
  EXPECT_EQ(again, 601 * kSecond);
  now += 5 * kSecond;
  d.set("status", status_of(d, w, {set("web-1", 2, 1, 1)}, 0, {}, now, &again));
  EXPECT_EQ(find_condition(d["status"]["conditions"], "Progressing")["reason"].as_string(), "ReplicaSetUpdated");
  EXPECT_EQ(d["status"]["unavailableReplicas"].as_int(), 1);
  const json::Value stuck = status_of(d, w, {set("web-1", 2, 1, 1)}, 0, {}, now + 600 * kSecond, &again);
  EXPECT_TRUE(timed_out(stuck));
  EXPECT_EQ(find_condition(stuck["conditions"], "Progressing")["message"].as_string(), "ReplicaSet \"web-1\" has timed out progressing.");
  d.set("status", status_of(d, w, {set("web-1", 2, 2, 1)}, 0, {}, now, &again));
  EXPECT_EQ(find_condition(d["status"]["conditions"], "Progressing")["reason"].as_string(), "NewReplicaSetAvailable");
  EXPECT_EQ(find_condition(d["status"]["conditions"], "Available")["reason"].as_string(), "MinimumReplicasAvailable");
  // Long after: what is complete does not time out.
  EXPECT_FALSE(timed_out(status_of(d, w, {set("web-1", 2, 1, 1)}, 0, {}, now + 6000 * kSecond, &again)));
}

TEST(Progress, PauseAndResumeAreConditions) {
  json::Value d = deployment(2, "1", "0");
  d.make("spec").set("paused", true);
  const Wish w = Wish::of(d);
  d.set("status", status_of(d, w, {set("a", 2, 2, 1)}, 0, {}, kSecond, nullptr));
  EXPECT_EQ(find_condition(d["status"]["conditions"], "Progressing")["reason"].as_string(), "DeploymentPaused");
  d.make("spec").erase("paused");
  d.set("status", status_of(d, w, {set("a", 2, 1, 1)}, 0, {}, 2 * kSecond, nullptr));
  EXPECT_EQ(find_condition(d["status"]["conditions"], "Progressing")["reason"].as_string(), "DeploymentResumed");
}

TEST(ConfigHash, FollowsWhatTheTemplateRefersTo) {
  const json::Value spec = parse(R"({"containers":[{"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}],
      "envFrom":[{"configMapRef":{"name":"e"}}]}],"volumes":[{"configMap":{"name":"v"}},{"projected":{"sources":[{"secret":{"name":"p"}}]}}]})");
  EXPECT_EQ(config_refs(spec), (std::set<ConfigRef>{{"configmaps", "e"}, {"configmaps", "v"}, {"secrets", "p"}, {"secrets", "s"}}));
  std::string value = "1";
  const auto get = [&](const ConfigRef&) { return parse(R"({"data":{"k":")" + value + R"("}})"); };
  const std::string before = config_hash(spec, get);
  EXPECT_EQ(before, config_hash(spec, get));
  value = "2";
  EXPECT_NE(before, config_hash(spec, get));
  EXPECT_EQ(config_hash(parse("{}"), get), "");
}

}  // namespace
}  // namespace pintle::deployment

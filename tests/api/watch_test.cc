// Watches: what they begin with, what they show, how they end.
#include <gtest/gtest.h>

#include "tests/api/api_world.h"

namespace pintle::kernel {
namespace {

constexpr uint64_t kWatchSecond = 1000000000;
const std::string kWatched = "/apis/test.example.com/v1/namespaces/default/widgets";

class Watch : public testing::Test {
 protected:
  std::string create(const std::string& name, const std::string& labels = "{}") {
    const Reply r = world_.call("POST", kWatched, R"({"metadata":{"name":")" + name + R"(","labels":)" + labels + "}}");
    EXPECT_EQ(r.code, 201) << r.body;
    return std::string(r.json["metadata"]["resourceVersion"].as_string());
  }
  void merge(const std::string& name, const std::string& patch) {
    const Reply r = world_.call("PATCH", kWatched + "/" + name, patch, {{"content-type", "application/merge-patch+json"}});
    EXPECT_EQ(r.code, 200) << r.body;
  }
  // "ADDED a, MODIFIED a, ..."
  static std::string story(const Recorder& r) {
    std::string out;
    for (const json::Value& e : r.events()) {
      if (!out.empty()) out += ", ";
      out += std::string(e["type"].as_string());
      const std::string_view name = e["object"]["metadata"]["name"].as_string();
      if (!name.empty()) out += " " + std::string(name);
    }
    return out;
  }
  World world_;
};

TEST_F(Watch, BeginsWithTheStateAndShowsEveryChange) {
  create("a");
  auto watch = world_.open("GET", kWatched + "?watch=1");
  world_.settle();
  EXPECT_TRUE(watch->started);
  EXPECT_EQ(watch->header("Content-Type"), "application/json");
  create("b");
  merge("a", R"({"spec":{"size":5}})");
  world_.call("DELETE", kWatched + "/b");
  world_.settle();
  EXPECT_EQ(story(*watch), "ADDED a, ADDED b, MODIFIED a, DELETED b");
  const auto events = watch->events();
  EXPECT_EQ(events[2]["object"]["kind"].as_string(), "Widget");
  EXPECT_GT(std::stoul(std::string(events[3]["object"]["metadata"]["resourceVersion"].as_string())),
            std::stoul(std::string(events[2]["object"]["metadata"]["resourceVersion"].as_string())));
}

TEST_F(Watch, FromARevisionShowsOnlyWhatCameLater) {
  const std::string revision = create("a");
  create("b");
  auto watch = world_.open("GET", kWatched + "?watch=true&resourceVersion=" + revision);
  world_.settle();
  create("c");
  world_.settle();
  EXPECT_EQ(story(*watch), "ADDED b, ADDED c");
}

TEST_F(Watch, OfASelectorShowsObjectsThatEnterAndLeave) {
  create("a", R"({"app":"x"})");
  auto watch = world_.open("GET", kWatched + "?watch=1&labelSelector=app%3Dx");
  world_.settle();
  merge("a", R"({"spec":{"size":5}})");
  merge("a", R"({"metadata":{"labels":{"app":"y"}},"spec":{"size":6}})");
  merge("a", R"({"spec":{"size":7}})");
  merge("a", R"({"metadata":{"labels":{"app":"x"}}})");
  world_.settle();
  EXPECT_EQ(story(*watch), "ADDED a, MODIFIED a, DELETED a, ADDED a");
  const auto events = watch->events();
  EXPECT_EQ(events[2]["object"]["spec"]["size"].as_int(), 5) << "the old contents";
  EXPECT_GT(std::stoul(std::string(events[2]["object"]["metadata"]["resourceVersion"].as_string())),
            std::stoul(std::string(events[1]["object"]["metadata"]["resourceVersion"].as_string())));
}

TEST_F(Watch, OfOneObjectSeesOnlyThatOne) {
  create("a");
  auto watch = world_.open("GET", kWatched + "/a?watch=1");
  auto by_field = world_.open("GET", kWatched + "?watch=1&fieldSelector=metadata.name%3Da");
  world_.settle();
  create("b");
  merge("a", R"({"spec":{"size":5}})");
  world_.settle();
  EXPECT_EQ(story(*watch), "ADDED a, MODIFIED a");
  EXPECT_EQ(story(*by_field), "ADDED a, MODIFIED a");
}

TEST_F(Watch, MarksTheEndOfTheInitialEvents) {
  create("a");
  auto watch = world_.open("GET", kWatched + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
  world_.settle();
  EXPECT_EQ(story(*watch), "ADDED a, BOOKMARK");
  EXPECT_EQ(watch->events()[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"].as_string(), "true");
  EXPECT_EQ(watch->events()[1]["object"]["kind"].as_string(), "Widget");
  EXPECT_EQ(world_.call("GET", kWatched + "?watch=1&sendInitialEvents=true").code, 422);
  EXPECT_EQ(world_.call("GET", kWatched + "?watch=1&resourceVersionMatch=NotOlderThan").code, 422);
}

TEST_F(Watch, SendsBookmarksAboutEveryMinute) {
  create("a");
  auto watch = world_.open("GET", kWatched + "?watch=1&allowWatchBookmarks=true");
  world_.settle();
  const Reply other = world_.call("POST", "/api/v1/namespaces", R"({"metadata":{"name":"elsewhere"}})");
  world_.executor.run_for(61 * kWatchSecond);
  EXPECT_EQ(story(*watch), "ADDED a, BOOKMARK");
  EXPECT_EQ(watch->events()[1]["object"]["metadata"]["resourceVersion"].as_string(), other.json["metadata"]["resourceVersion"].as_string())
      << "a quiet kind's bookmark moves on with the store";
  world_.executor.run_for(60 * kWatchSecond);
  EXPECT_EQ(story(*watch), "ADDED a, BOOKMARK, BOOKMARK");
}

TEST_F(Watch, EndsAtItsTimeout) {
  auto watch = world_.open("GET", kWatched + "?watch=1&timeoutSeconds=10");
  world_.executor.run_for(9 * kWatchSecond);
  EXPECT_FALSE(watch->done);
  world_.executor.run_for(2 * kWatchSecond);
  EXPECT_TRUE(watch->done);
  EXPECT_FALSE(watch->aborted);
  EXPECT_EQ(world_.call("GET", kWatched + "?watch=1&timeoutSeconds=soon").code, 400);
}

TEST_F(Watch, AsTablesCarriesColumnsOnce) {
  create("a");
  auto watch = world_.open("GET", kWatched + "?watch=1", {{"accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}});
  world_.settle();
  create("b");
  world_.settle();
  const auto events = watch->events();
  ASSERT_EQ(events.size(), 2u) << watch->body;
  EXPECT_EQ(events[0]["object"]["kind"].as_string(), "Table");
  EXPECT_EQ(events[0]["object"]["columnDefinitions"].size(), 5u);
  EXPECT_TRUE(events[1]["object"]["columnDefinitions"].is_null());
  EXPECT_EQ(events[1]["object"]["rows"][0]["cells"][0].as_string(), "b");
  EXPECT_EQ(events[1]["object"]["rows"][0]["cells"][2].as_string(), "fine");
}

TEST_F(Watch, OfAnotherVersionIsConverted) {
  create("a");
  auto watch = world_.open("GET", "/apis/test.example.com/v1beta1/widgets?watch=1");
  world_.settle();
  merge("a", R"({"spec":{"size":5}})");
  world_.settle();
  ASSERT_EQ(story(*watch), "ADDED a, MODIFIED a");
  EXPECT_EQ(watch->events()[1]["object"]["apiVersion"].as_string(), "test.example.com/v1beta1");
  EXPECT_EQ(watch->events()[1]["object"]["spec"]["extent"].as_int(), 5);
}

TEST_F(Watch, FromBeforeTheWindowEndsWith410InTheStream) {
  const std::string revision = create("a");
  for (int i = 0; i < 20; ++i) {
    world_.executor.run_for(60 * kWatchSecond);
    merge("a", R"({"spec":{"size":)" + std::to_string(i + 2) + "}}");
  }
  auto watch = world_.open("GET", kWatched + "?watch=1&resourceVersion=" + revision);
  world_.settle();
  EXPECT_EQ(watch->code, 200);
  EXPECT_TRUE(watch->done);
  ASSERT_EQ(watch->events().size(), 1u) << watch->body.substr(0, 500);
  const json::Value e = watch->events()[0];
  EXPECT_EQ(e["type"].as_string(), "ERROR");
  EXPECT_EQ(e["object"]["code"].as_int(), 410);
  EXPECT_EQ(e["object"]["reason"].as_string(), "Expired");
  EXPECT_TRUE(e["object"]["message"].as_string().starts_with("too old resource version: " + revision + " ("));
}

TEST_F(Watch, OfAClientThatDoesNotReadIsCutAndSlowsNobody) {
  auto slow = world_.open("GET", kWatched + "?watch=1", {}, "", "admin-token", true);
  auto quick = world_.open("GET", kWatched + "?watch=1");
  world_.settle();
  create("a");
  const std::string padding(20000, 'x');
  for (int i = 0; i < 120; ++i) merge("a", R"({"status":null,"metadata":{"annotations":{"pad":")" + padding + std::to_string(i) + "\"}}}");
  world_.settle();
  EXPECT_EQ(quick->events().size(), 121u);
  EXPECT_LT(slow->largest_queue, 1u << 20);
  for (int i = 0; i < 50 && !slow->done; ++i) {
    slow->read_on();
    world_.settle();
  }
  EXPECT_TRUE(slow->done);
  EXPECT_EQ(slow->events().back()["type"].as_string(), "ERROR");
  EXPECT_EQ(slow->events().back()["object"]["code"].as_int(), 410);
}

TEST_F(Watch, EndsWhenItsClientLeaves) {
  const int64_t before = world_.bus->metrics()["watches"].as_int();
  auto watch = world_.open("GET", kWatched + "?watch=1");
  world_.settle();
  EXPECT_EQ(world_.bus->metrics()["watches"].as_int(), before + 1);
  watch->go_away();
  world_.settle();
  EXPECT_EQ(world_.bus->metrics()["watches"].as_int(), before);
}

}  // namespace
}  // namespace pintle::kernel

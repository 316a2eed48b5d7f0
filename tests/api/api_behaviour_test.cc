// What takes time, many requests or other identities: streams, large lists, hooks that fail, transactions, permissions.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "kernel/api/documents.h"
#include "tests/api/api_world.h"

namespace pintle::kernel {
namespace {

class Api : public testing::Test {
 protected:
  Reply create(const std::string& name, const std::string& rest = "") {
    return world_.call("POST", kWidgets, R"({"metadata":{"name":")" + name + "\"" + rest + "}}");
  }
  ApiRequest request(Verb verb, const std::string& resource, const std::string& name, const std::string& body = "") {
    ApiRequest r;
    r.verb = verb;
    r.group = "test.example.com";
    r.resource = resource;
    r.ns = resource == "tickets" ? "" : "default";
    r.name = name;
    r.body = body;
    r.content_type = verb == Verb::kPatch ? "application/merge-patch+json" : "application/json";
    r.identity.user = "system:plugin:widget";
    r.identity.plugin = "widget";
    return r;
  }
  ApiAnswer execute(ApiRequest r) {
    std::optional<ApiAnswer> out;
    world_.pipeline->execute(std::move(r), [&](ApiAnswer a) { out = std::move(a); });
    world_.executor.run_until([&] { return out.has_value(); }, 60 * kSecond);
    return std::move(*out);
  }
  World world_;
};

TEST_F(Api, LogsStreamAsText) {
  create("a");
  const Reply r = world_.call("GET", kWidgets + "/a/log?part=main");
  EXPECT_EQ(r.code, 200);
  EXPECT_EQ(r.body, "first line\nsecond line\n");
}

TEST_F(Api, AnErrorBeforeTheFirstByteOfALogIsAStatus) {
  create("a");
  const Reply r = world_.call("GET", kWidgets + "/a/log?part=none");
  EXPECT_EQ(r.code, 400);
  EXPECT_EQ(r.json["message"].as_string(), "a part must be named");
  EXPECT_EQ(world_.call("GET", kWidgets + "/missing/log").code, 404);
}

TEST_F(Api, ALogWaitsForItsReaderAndLosesNothing) {
  create("a");
  world_.hooks.log_text = std::string(10000, 'y') + "\n";
  world_.hooks.log_repeat = 200;
  auto log = world_.open("GET", kWidgets + "/a/log", {}, "", "admin-token", true);
  world_.settle();
  EXPECT_FALSE(log->done);
  EXPECT_LT(log->largest_queue, 300u << 10);
  for (int i = 0; i < 100 && !log->done; ++i) {
    log->read_on();
    world_.settle();
  }
  EXPECT_TRUE(log->done);
  EXPECT_EQ(log->body.size(), 200u * 10001u);
}

TEST_F(Api, AFollowedLogIsCancelledWhenItsReaderLeaves) {
  create("a");
  world_.hooks.log_follows = true;
  auto log = world_.open("GET", kWidgets + "/a/log?follow=true");
  world_.executor.run_for(kSecond);
  EXPECT_TRUE(log->started);
  EXPECT_EQ(world_.hooks.log_cancelled, 0);
  log->go_away();
  world_.settle();
  EXPECT_EQ(world_.hooks.log_cancelled, 1);
}

TEST_F(Api, LargeListsLeaveInBoundedPieces) {
  const std::string padding(5000, 'z');
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(execute(request(Verb::kCreate, "guards", "", R"({"metadata":{"name":"g)" + std::to_string(i) + R"(","annotations":{"p":")" + padding + "\"}}}")).code, 201);
  }
  const std::string path = "/apis/test.example.com/v1/guards";
  auto stuck = world_.open("GET", path, {}, "", "admin-token", true);
  world_.settle();
  EXPECT_TRUE(stuck->started);
  EXPECT_FALSE(stuck->done);
  EXPECT_LT(stuck->largest_queue, 1u << 20);
  for (int i = 0; i < 50 && !stuck->done; ++i) {
    stuck->read_on();
    world_.settle();
  }
  ASSERT_TRUE(stuck->done);
  EXPECT_EQ(json::parse_or_null(stuck->body)["items"].size(), 300u);
  const Reply zipped = world_.call("GET", path, "", {{"accept-encoding", "gzip"}});
  EXPECT_LT(zipped.body.size(), 300000u);
  EXPECT_EQ(json::parse_or_null(gunzip(zipped.body))["items"].size(), 300u);
  auto gone = world_.open("GET", path, {}, "", "admin-token", true);
  world_.settle();
  gone->go_away();
  world_.settle();
}

TEST_F(Api, AHookThatIsNotThereAnswers503AndRetryAfter) {
  world_.hooks.down = true;
  const Reply r = create("a");
  EXPECT_EQ(r.code, 503);
  EXPECT_EQ(r.json["reason"].as_string(), "ServiceUnavailable");
  EXPECT_EQ(r.json["details"]["retryAfterSeconds"].as_int(), 1);
  EXPECT_EQ(world_.call("GET", kWidgets).code, 200) << "reading needs no hook";
  world_.hooks.down = false;
  world_.registry.set_available("widget", false);
  EXPECT_EQ(create("a").code, 503);
}

TEST_F(Api, AHiddenKindIsNotFound) {
  create("a");
  world_.registry.set_hidden("widget", true);
  EXPECT_EQ(world_.call("GET", kWidgets).code, 404);
  world_.registry.set_hidden("widget", false);
  EXPECT_EQ(world_.call("GET", kWidgets + "/a").code, 200);
}

TEST_F(Api, AdmissionDecidesAndItsFailureFollowsItsPolicy) {
  world_.hooks.held.insert("admission.strict");
  EXPECT_EQ(create("a").code, 201);
  EXPECT_EQ(world_.hooks.calls["admit"], 1);
  world_.hooks.admit = false;
  const Reply denied = create("b");
  EXPECT_EQ(denied.code, 403);
  EXPECT_NE(denied.json["message"].as_string().find("no widgets today"), std::string_view::npos);
  EXPECT_EQ(world_.call("POST", "/apis/test.example.com/v1/namespaces/default/guards", R"({"metadata":{"name":"g"}})").code, 201)
      << "its rules do not name guards";
  world_.hooks.admission_hangs = true;
  const uint64_t before = world_.executor.now();
  EXPECT_EQ(create("c").code, 500);
  EXPECT_LE(world_.executor.now() - before, 2 * kSecond);
  for (int i = 0; i < 5; ++i) create("c");
  const uint64_t broken = world_.executor.now();
  EXPECT_EQ(create("c").code, 500);
  EXPECT_LT(world_.executor.now() - broken, kSecond / 2) << "the breaker answers at once";
}

TEST_F(Api, TheAuthorizerOfTheSlotDecides) {
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "user-token").code, 403);
  world_.hooks.held.insert("authz");
  world_.hooks.allowed_users.insert("jane");
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "user-token").code, 200);
  world_.hooks.down = true;
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "user-token").code, 403) << "a crashed authorizer denies";
}

TEST_F(Api, PathsOfAPluginStayKnownWhileItIsDown) {
  EXPECT_EQ(world_.call("GET", "/shop/a").code, 202);
  EXPECT_EQ(world_.call("GET", "/shop/a").code, 202);
  EXPECT_EQ(world_.hooks.calls["routes"], 1) << "what it wants is asked once in a while";
  world_.hooks.down = true;
  EXPECT_EQ(world_.call("GET", "/shop/a").code, 503);
  world_.executor.run_for(20 * kSecond);
  EXPECT_EQ(world_.call("GET", "/shop/a").code, 503) << "hidden is not absent";
  world_.hooks.down = false;
  world_.hooks.routes = false;
  EXPECT_EQ(world_.call("GET", "/shop/a").code, 404) << "an explicit disable hides them";
}

TEST_F(Api, DocumentsThatNobodyAsksForAreDropped) {
  const auto kept = [this] {
    const std::string text = world_.call("GET", "/metrics").body;
    const size_t at = text.find("\npintle_api_document_bytes ");
    return at == std::string::npos ? -1L : std::stol(text.substr(at + 27));
  };
  EXPECT_EQ(kept(), 0);
  EXPECT_EQ(world_.call("GET", "/openapi/v3").code, 200);
  EXPECT_EQ(world_.call("GET", "/openapi/v3/apis/test.example.com/v1").code, 200);
  const long all = kept();
  EXPECT_GT(all, 500);
  for (int i = 0; i < 4; ++i) {
    world_.executor.run_for(300 * kSecond);
    EXPECT_EQ(world_.call("GET", "/openapi/v3/apis/test.example.com/v1").code, 200);
  }
  EXPECT_GT(kept(), 0) << "in use";
  EXPECT_LT(kept(), all) << "the others are gone";
  world_.executor.run_for(1201 * kSecond);
  EXPECT_EQ(kept(), 0);
  EXPECT_EQ(world_.call("GET", "/openapi/v3/apis/test.example.com/v1").code, 200);
}

TEST_F(Api, ACertificateSaysWhoItsOwnerIs) {
  world_.certificate = ClientCertificate{"alice", {"dev"}};
  const Reply denied = world_.call("GET", kWidgets, "", {}, "");
  EXPECT_EQ(denied.code, 403);
  EXPECT_NE(denied.json["message"].as_string().find("User \"alice\" cannot list"), std::string_view::npos) << denied.body;
  EXPECT_EQ(world_.call("GET", kWidgets).code, 403) << "a token beside it changes nothing";
  world_.certificate = ClientCertificate{"root", {"system:masters"}};
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "").code, 200);
  world_.certificate = ClientCertificate{"", {"system:masters"}};
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "").code, 401) << "nobody's certificate";
  world_.certificate = ClientCertificate{"system:plugin:widget", {}};
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "").code, 403) << "the name of a plugin does not make one";
}

TEST_F(Api, APluginMayKnowPeopleThatTheKernelDoesNot) {
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "plugin-token").code, 401);
  world_.hooks.held.insert("authn");
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "plugin-token").code, 200);
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "other-token").code, 401);
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "").code, 401) << "who shows nothing is nobody";
  EXPECT_EQ(world_.call("GET", kWidgets).code, 200) << "the token file goes on";
  world_.hooks.down = true;
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "plugin-token").code, 401) << "a crashed one knows nobody";
}

TEST_F(Api, TokensFollowTheirFile) {
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "new-token").code, 401);
  std::ofstream(world_.token_file) << "new-token,eve,3,\"system:masters\"\n";
  world_.executor.run_for(2 * kSecond);
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "new-token").code, 200);
  EXPECT_EQ(world_.call("GET", kWidgets, "", {}, "admin-token").code, 401);
}

TEST_F(Api, PluginsMayDoWhatTheirManifestSays) {
  EXPECT_EQ(execute(request(Verb::kCreate, "guards", "", R"({"metadata":{"name":"g"}})")).code, 201);
  ApiRequest r = request(Verb::kCreate, "namespaces", "", R"({"metadata":{"name":"n"}})");
  r.group.clear();
  r.ns.clear();
  const ApiAnswer a = execute(std::move(r));
  EXPECT_EQ(a.code, 403);
  EXPECT_NE(a.error.text.find("the manifest of plugin \"widget\" does not permit it"), std::string::npos);
}

TEST_F(Api, ParallelCreatesGetDifferentNumbers) {
  std::vector<std::shared_ptr<Recorder>> all;
  for (int i = 0; i < 12; ++i) {
    all.push_back(world_.open("POST", kWidgets, {}, R"({"metadata":{"generateName":"w-"}})"));
  }
  world_.executor.run_until([&] { return std::all_of(all.begin(), all.end(), [](const auto& r) { return r->done; }); }, 60 * kSecond);
  std::set<int64_t> numbers;
  for (const auto& r : all) {
    ASSERT_EQ(r->code, 201) << r->body;
    numbers.insert(json::parse_or_null(r->body)["spec"]["number"].as_int());
  }
  EXPECT_EQ(numbers.size(), 12u);
  EXPECT_EQ(world_.store->count("tickets.test.example.com", ""), 12u);
}

TEST_F(Api, ParallelPatchesAreAllKept) {
  create("a");
  std::vector<std::shared_ptr<Recorder>> all;
  for (int i = 0; i < 6; ++i) {
    all.push_back(world_.open("PATCH", kWidgets + "/a", {{"content-type", "application/merge-patch+json"}},
                              R"({"metadata":{"labels":{"l)" + std::to_string(i) + R"(":"v"}}})"));
  }
  world_.executor.run_until([&] { return std::all_of(all.begin(), all.end(), [](const auto& r) { return r->done; }); }, 60 * kSecond);
  for (const auto& r : all) EXPECT_EQ(r->code, 200) << r->body;
  EXPECT_EQ(world_.call("GET", kWidgets + "/a").json["metadata"]["labels"].size(), 6u);
}

TEST_F(Api, AnAtomicBatchIsAllOrNothing) {
  create("a");
  std::optional<Result<void>> result;
  std::vector<ApiAnswer> answers;
  auto batch = [&](std::vector<ApiRequest> ops, bool atomic) {
    result.reset();
    world_.pipeline->execute_batch(std::move(ops), atomic, false, {}, [&](Result<void> r, std::vector<ApiAnswer> a) {
      result = std::move(r);
      answers = std::move(a);
    });
    world_.executor.run_until([&] { return result.has_value(); }, 60 * kSecond);
  };
  std::vector<ApiRequest> ops;
  ops.push_back(request(Verb::kCreate, "guards", "", R"({"metadata":{"name":"one"}})"));
  ops.push_back(request(Verb::kPatch, "widgets", "missing", R"({"spec":{"size":3}})"));
  batch(ops, true);
  EXPECT_FALSE(result->ok());
  EXPECT_EQ(answers[1].code, 404);
  EXPECT_EQ(world_.store->count("guards.test.example.com", ""), 0u);
  ops[1].name = "a";
  ops.push_back(request(Verb::kPatch, "guards", "one", R"({"allowed":4})"));  // sees the batch's own create
  batch(ops, true);
  ASSERT_TRUE(result->ok()) << result->error().text;
  EXPECT_EQ(answers[0].code, 201);
  EXPECT_EQ(world_.call("GET", kWidgets + "/a").json["spec"]["size"].as_int(), 3);
  EXPECT_EQ(world_.call("GET", "/apis/test.example.com/v1/namespaces/default/guards/one").json["allowed"].as_int(), 4);
  ops[0] = request(Verb::kCreate, "guards", "", R"({"metadata":{"name":"one"}})");
  batch(ops, false);
  EXPECT_TRUE(result->ok());
  EXPECT_EQ(answers[0].code, 409);
  EXPECT_EQ(answers[1].code, 200);
}

TEST_F(Api, AFenceThatIsPastStopsTheWrite) {
  ApiRequest r = request(Verb::kCreate, "guards", "", R"({"metadata":{"name":"g"}})");
  r.identity.fences = {{"scheduler.x", 7}};
  EXPECT_EQ(execute(std::move(r)).error.code, PINTLE_DEPOSED);
}

TEST_F(Api, ARequestThatTakesTooLongAnswers504) {
  world_.hooks.held.insert("admission.slow");
  create("warm");
  world_.hooks.admission_hangs = true;
  RestOptions options;
  options.token_file = world_.token_file;
  options.request_timeout_ns = kSecond / 10;
  world_.rest = std::make_unique<RestServer>(*world_.pipeline, *world_.bus, world_.executor, world_.hooks, options);
  const Reply r = create("a");
  EXPECT_EQ(r.code, 504);
  EXPECT_EQ(r.json["reason"].as_string(), "Timeout");
  world_.executor.run_for(5 * kSecond);
}

TEST_F(Api, ObjectsOfAKindThatExpiresGoAwayUnlessTheyChange) {
  const std::string path = "/apis/test.example.com/v1/namespaces/default/rumours";
  for (const char* name : {"stale", "told-again"}) {
    EXPECT_EQ(world_.call("POST", path, std::string(R"({"metadata":{"name":")") + name + "\"}}").code, 201);
  }
  world_.executor.run_for(50 * 60 * kSecond);
  EXPECT_EQ(world_.call("PATCH", path + "/told-again", R"({"allowed":2})", {{"content-type", "application/merge-patch+json"}}).code, 200);
  world_.executor.run_for(15 * 60 * kSecond);
  EXPECT_EQ(world_.call("GET", path + "/stale").code, 404);
  EXPECT_EQ(world_.call("GET", path + "/told-again").code, 200);
  world_.executor.run_for(50 * 60 * kSecond);
  EXPECT_EQ(world_.call("GET", path + "/told-again").code, 404);
}

TEST_F(Api, WhatAPluginSaysInBytesIsAnsweredAsText) {
  const Reply r = world_.call("GET", "/shop/garbled");
  EXPECT_EQ(r.code, 429);
  EXPECT_TRUE(json::parse(r.body).ok) << r.body;
  EXPECT_EQ(r.json["message"].as_string(), "the shop is full ??");
}

TEST_F(Api, ReadinessFollowsTheChecksOfOthers) {
  bool ready = false;
  world_.rest->add_check("plugins", false, [&] { return ready ? Result<void>() : Result<void>(Error(PINTLE_UNAVAILABLE, "starting")); });
  world_.rest->add_metrics([](std::string& out) { out += "extra_metric 1\n"; });
  EXPECT_EQ(world_.call("GET", "/livez", "", {}, "").code, 200);
  const Reply r = world_.call("GET", "/readyz", "", {}, "");
  EXPECT_EQ(r.code, 500);
  EXPECT_NE(r.body.find("[-]plugins failed: reason withheld"), std::string::npos);
  ready = true;
  EXPECT_EQ(world_.call("GET", "/readyz", "", {}, "").code, 200);
  EXPECT_NE(world_.call("GET", "/metrics").body.find("extra_metric 1"), std::string::npos);
}

}  // namespace
}  // namespace pintle::kernel

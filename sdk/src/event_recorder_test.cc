// Events as `kubectl describe` shows them: sorted by seconds, and within one second in the order of their names.
#include "pintle/event_recorder.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "pintle/testing/harness.h"

namespace pintle {
namespace {

class EventRecorderTest : public ::testing::Test {
 protected:
  testing::Harness h{{.library = PINTLE_RUNTIME_SIM}};
  EventRecorder scheduler{Host(h.host()), "scheduler"}, agent{Host(h.host()), "agent"};
  const EventSubject pod{"v1", "Pod", "default", "web", "u1"};

  // Their messages in the order of names, with counts above 1: "a b*2".
  std::string shown() {
    h.run_for(1'000'000);
    auto events = h.list("events");
    std::sort(events.begin(), events.end(), [](const json::Value& a, const json::Value& b) { return a.at("metadata.name").as_string() < b.at("metadata.name").as_string(); });
    std::string out;
    for (const auto& e : events) {
      out += (out.empty() ? "" : " ") + std::string(e["message"].as_string());
      if (e["count"].as_int() > 1) out += "*" + std::to_string(e["count"].as_int());
    }
    return out;
  }
};

TEST_F(EventRecorderTest, WhatFallsIntoOneSecondStaysInOrder) {
  for (const char* text : {"f", "a", "c"}) agent.normal(pod, "Reason", text);
  for (const char* text : {"e", "b"}) agent.warning(pod, "Other", text);
  EXPECT_EQ(shown(), "f a c e b");
}

TEST_F(EventRecorderTest, TheSameEventAgainRaisesItsCount) {
  agent.normal(pod, "Reason", "a");
  agent.normal(pod, "Reason", "a");
  EXPECT_EQ(shown(), "a*2");
  agent.normal(pod, "Reason", "b");
  agent.normal(pod, "Reason", "a");
  EXPECT_EQ(shown(), "a*3 b");
}

TEST_F(EventRecorderTest, TwoComponentsAtOneMomentAreBothHeard) {
  for (const char* text : {"a", "b"}) scheduler.normal(pod, "Reason", text);
  for (const char* text : {"c", "d"}) agent.normal(pod, "Reason", text);
  h.run_for(1'000'000);
  EXPECT_EQ(h.list("events").size(), 4u);
}

TEST_F(EventRecorderTest, ADeletedEventComesAgain) {
  agent.normal(pod, "Reason", "a");
  EXPECT_EQ(shown(), "a");
  h.remove("events", "default", std::string(h.list("events").at(0).at("metadata.name").as_string()));
  agent.normal(pod, "Reason", "a");
  EXPECT_EQ(shown(), "a");
}

}  // namespace
}  // namespace pintle

#include "pintle/event_recorder.h"

#include <cinttypes>
#include <cstdio>
#include <map>
#include <mutex>

#include "pintle/timestamp.h"

namespace pintle {
namespace {

constexpr size_t kRemembered = 4096;  // events whose count is known without asking the store

std::string hex_hash(std::initializer_list<std::string_view> parts) {
  uint64_t h = 1469598103934665603ull;
  for (const std::string_view p : parts) {
    for (const char c : p) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    h = (h ^ 0xff) * 1099511628211ull;
  }
  char text[20];
  std::snprintf(text, sizeof text, "%016" PRIx64, h);
  return text;
}

}  // namespace

struct EventRecorder::State : std::enable_shared_from_this<State> {
  State(Host h, std::string c) : host(h), component(std::move(c)) {}

  struct One {
    EventSubject subject;
    std::string ns, name, type, reason, message;
  };

  const Host host;
  const std::string component;
  std::mutex mutex;
  bool closed = false;
  std::map<std::string, int64_t> counts;  // "ns/name" -> count as written last

  bool open() {
    std::lock_guard lock(mutex);
    return !closed;
  }

  void remember(const One& e, int64_t count) {
    std::lock_guard lock(mutex);
    if (counts.size() >= kRemembered) counts.clear();
    counts[e.ns + "/" + e.name] = count;
  }

  void create(const One& e) {
    const std::string now = format_time(host.wall());
    json::Value object = json::Value::object(
        {{"apiVersion", "v1"},
         {"kind", "Event"},
         {"metadata", json::Value::object({{"name", e.name}, {"namespace", e.ns}})},
         {"involvedObject", json::Value::object({{"kind", e.subject.kind},
                                                 {"namespace", e.subject.ns},
                                                 {"name", e.subject.name},
                                                 {"uid", e.subject.uid},
                                                 {"apiVersion", e.subject.api_version}})},
         {"reason", e.reason},
         {"message", e.message},
         {"source", json::Value::object({{"component", component}})},
         {"firstTimestamp", now},
         {"lastTimestamp", now},
         {"count", 1},
         {"type", e.type},
         {"reportingComponent", component},
         {"reportingInstance", ""}});
    if (e.subject.ns.empty()) object.find("involvedObject")->erase("namespace");
    host.commit({Op::create("events", e.ns, object)}, [self = shared_from_this(), e](const CommitResult& r) {
      if (r.ok()) return self->remember(e, 1);
      const OpResult* failed = r.failed();
      const pintle_code code = failed ? failed->code : r.code;
      if (code == PINTLE_ALREADY_EXISTS) return self->repeat_unknown(e);
      self->dropped(e, failed ? failed->text : "");
    });
  }

  // It exists, written by an earlier run of this plugin.
  void repeat_unknown(const One& e) {
    if (!open()) return;
    const auto o = host.get_object("events", e.ns, e.name);
    if (o.ok()) repeat(e, (*o).json()["count"].as_int(1) + 1);
  }

  void repeat(const One& e, int64_t count) {
    json::Value patch = json::Value::object({{"count", count}, {"lastTimestamp", format_time(host.wall())}});
    host.commit({Op::merge("events", e.ns, e.name, patch)}, [self = shared_from_this(), e, count](const CommitResult& r) {
      if (r.ok()) return self->remember(e, count);
      const OpResult* failed = r.failed();
      if ((failed ? failed->code : r.code) == PINTLE_NOT_FOUND && self->open()) return self->create(e);
      self->dropped(e, failed ? failed->text : "");
    });
  }

  void dropped(const One& e, const std::string& why) {
    if (open()) host.debug("an event was not written: " + why, json::Value::object({{"reason", e.reason}, {"object", e.subject.name}}));
  }
};

EventSubject EventSubject::of(const json::Value& object) {
  const json::Value& meta = object["metadata"];
  return {std::string(object["apiVersion"].as_string()), std::string(object["kind"].as_string()),
          std::string(meta["namespace"].as_string()), std::string(meta["name"].as_string()), std::string(meta["uid"].as_string())};
}

EventRecorder::EventRecorder(Host host, std::string component) : state_(std::make_shared<State>(host, std::move(component))) {}

void EventRecorder::record(const EventSubject& subject, std::string_view type, std::string_view reason, std::string_view message) {
  State::One e{subject, subject.ns.empty() ? "default" : subject.ns, {}, std::string(type), std::string(reason), std::string(message)};
  if (e.message.size() > 1024) e.message = e.message.substr(0, 1021) + "...";
  e.name = subject.name + "." + hex_hash({subject.uid, type, reason, e.message, state_->component});
  int64_t count = 0;
  {
    std::lock_guard lock(state_->mutex);
    if (state_->closed) return;
    const auto it = state_->counts.find(e.ns + "/" + e.name);
    if (it != state_->counts.end()) count = ++it->second;
  }
  if (count > 0) state_->repeat(e, count);
  else state_->create(e);
}

void EventRecorder::close() {
  std::lock_guard lock(state_->mutex);
  state_->closed = true;
}

}  // namespace pintle

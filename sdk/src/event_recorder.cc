#include "pintle/event_recorder.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <map>
#include <mutex>

#include "pintle/timestamp.h"

namespace pintle {
namespace {

constexpr size_t kRemembered = 4096;  // events that are known to be there
constexpr int kMostNames = 16;        // tried when names are taken

}  // namespace

struct EventRecorder::State : std::enable_shared_from_this<State> {
  State(Host h, std::string c) : host(h), component(std::move(c)) {}

  struct One {
    EventSubject subject;
    std::string ns, type, reason, message;
    std::string key;   // equal for what is the same event again
    std::string name;  // "web.18a0b3c4d5e6f7a8": clients that sort by seconds show what falls into one second in the order of names
    int names_tried = 0;
  };
  struct Known {
    std::string name;
    int64_t count = 1;
  };

  const Host host;
  const std::string component;
  std::mutex mutex;
  bool closed = false;
  std::map<std::string, Known> known;  // by key
  uint64_t last_stamp = 0;

  bool open() {
    std::lock_guard lock(mutex);
    return !closed;
  }

  // With `mutex` held: a name after all that were given before.
  void name_anew(One& e) {
    last_stamp = std::max(last_stamp + 1, static_cast<uint64_t>(host.wall()));
    char text[20];
    std::snprintf(text, sizeof text, ".%016" PRIx64, last_stamp);
    e.name = e.subject.name + text;
    if (known.size() >= kRemembered) known.clear();
    known[e.key] = {e.name, 1};
  }

  void forget(const One& e) {
    std::lock_guard lock(mutex);
    const auto it = known.find(e.key);
    if (it != known.end() && it->second.name == e.name) known.erase(it);
  }

  // Under another name, unless another call did so meanwhile.
  void create_anew(One e) {
    {
      std::lock_guard lock(mutex);
      const auto it = known.find(e.key);
      if (closed || (it != known.end() && it->second.name != e.name)) return;
      name_anew(e);
    }
    create(e);
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
      if (r.ok()) return;
      const OpResult* failed = r.failed();
      if ((failed ? failed->code : r.code) == PINTLE_ALREADY_EXISTS && e.names_tried < kMostNames) {
        One next = e;  // another component said something about the object at the same moment
        ++next.names_tried;
        return self->create_anew(std::move(next));
      }
      self->forget(e);
      self->dropped(e, failed ? failed->text : "");
    });
  }

  void repeat(const One& e, int64_t count) {
    json::Value patch = json::Value::object({{"count", count}, {"lastTimestamp", format_time(host.wall())}});
    host.commit({Op::merge("events", e.ns, e.name, patch)}, [self = shared_from_this(), e](const CommitResult& r) {
      if (r.ok()) return;
      const OpResult* failed = r.failed();
      if ((failed ? failed->code : r.code) == PINTLE_NOT_FOUND) return self->create_anew(e);  // it was deleted
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
  State::One e{.subject = subject, .ns = subject.ns.empty() ? "default" : subject.ns, .type = std::string(type), .reason = std::string(reason), .message = std::string(message), .key = {}, .name = {}};
  if (e.message.size() > 1024) e.message = e.message.substr(0, 1021) + "...";
  for (const std::string& part : {e.ns, subject.kind, subject.name, subject.uid, e.type, e.reason, e.message}) (e.key += part) += '\n';
  int64_t count = 0;
  {
    std::lock_guard lock(state_->mutex);
    if (state_->closed) return;
    const auto it = state_->known.find(e.key);
    if (it != state_->known.end()) {
      count = ++it->second.count;
      e.name = it->second.name;
    } else {
      state_->name_anew(e);
    }
  }
  if (count > 0) state_->repeat(e, count);
  else state_->create(e);
}

void EventRecorder::close() {
  std::lock_guard lock(state_->mutex);
  state_->closed = true;
}

}  // namespace pintle

// Writes Kubernetes Events about objects; the same event again raises its count instead of adding another (as long as this
// recorder remembers it). Names rise with time, so that lists show events of one second in their order.
//
//   recorder_.normal(EventSubject::of(pod), "Scheduled", "Successfully assigned default/a to n1");
//
// Best effort: what cannot be written is logged and dropped. The plugin's permissions need
// `{kinds: [events], verbs: [get, create, patch]}`.
// Threads: any. After close() nothing is written any more; call it in Plugin::stop().
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "pintle/host.h"

namespace pintle {

struct EventSubject {
  std::string api_version, kind, ns, name, uid;
  // From an object that carries apiVersion, kind and metadata (every stored object does).
  static EventSubject of(const json::Value& object);
};

class EventRecorder {
 public:
  // `component`: who speaks, e.g. "deployment-controller".
  EventRecorder(Host host, std::string component);
  void normal(const EventSubject& subject, std::string_view reason, std::string_view message) { record(subject, "Normal", reason, message); }
  void warning(const EventSubject& subject, std::string_view reason, std::string_view message) { record(subject, "Warning", reason, message); }
  void record(const EventSubject& subject, std::string_view type, std::string_view reason, std::string_view message);
  void close();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace pintle

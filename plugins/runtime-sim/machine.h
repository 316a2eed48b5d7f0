// The simulated machines: pods and containers of every node, how they start, run and end.
//
// Threads: everything on the owner's strand.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "addresses.h"
#include "builtin.h"
#include "pintle/host.h"

namespace pintle::runtime_sim {

struct Settings {
  uint64_t start_ns = 0, pull_ns = 0, stop_ns = 0, run_ns = 0;
  double failure_probability = 0;
};

struct LogLine {
  int64_t wall_ns;
  std::string text;  // without newline
};

struct Container {
  std::string id, pod_id, pod_uid, node, name, image, type;
  int64_t attempt = 0;
  enum class State { kCreated, kRunning, kExited } state = State::kCreated;
  int64_t created_ns = 0, started_ns = 0, finished_ns = 0;  // wall
  uint64_t started_at = 0;                                  // instant
  int exit_code = 0;
  std::string reason;
  json::Value labels;
  std::vector<std::string> command;
  std::vector<LogLine> log;
  size_t log_dropped = 0;  // lines that were forgotten at the front
  Timer life, chatter;
};

struct Pod {
  std::string id, uid, node, ns, name, ip;
  int64_t attempt = 0, created_ns = 0;
  bool ready = true;
  json::Value labels, annotations;
  std::set<std::string> containers;  // ids
};

class Machine {
 public:
  // `changed(node, pod uid, sandbox id, container id, state)` is told of every change of state; `line(container)` of new log lines.
  Machine(const Host& host, const Strand& strand, Settings settings, Addresses addresses);
  std::function<void(const std::string&, const std::string&, const std::string&, const std::string&, const char*)> changed;
  std::function<void(const Container&)> line;

  Result<json::Value> create_pod(const json::Value& request);
  Result<json::Value> create(const json::Value& request);
  void start(const std::string& id, std::function<void(Result<void>)> done);
  void stop(const std::string& id, std::function<void()> done);  // its stop signal; done once it ended
  void kill(const std::string& id, std::string_view signal);
  void remove(const std::string& id);
  void remove_pod(const std::string& id);
  json::Value list(std::string_view node, const std::string& pod_uid) const;  // "" = all
  json::Value stats(std::string_view node) const;

  Container* container(const std::string& id);
  Pod* pod(const std::string& id);
  // Value of sim.pintle.dev/<key>[.container] on the container's pod.
  std::optional<std::string> wish(const Container& c, std::string_view key) const;
  // Past its ready-after.
  bool ready(const Container& c) const;
  void log_line(Container& c, std::string text);
  void clear();  // no timer is left

 private:
  void exit(Container& c, int code, std::string reason);
  void begin(Container& c);
  void chatter(Container& c, uint64_t every);

  const Host host_;
  const Strand& strand_;
  const Settings settings_;
  Addresses addresses_;
  std::unordered_map<std::string, Pod> pods_;              // by id
  std::unordered_map<std::string, Container> containers_;  // by id
  std::map<std::string, std::set<std::string>> by_node_;   // node -> pod ids
  std::unordered_map<std::string, std::set<std::string>> by_uid_;  // a pod's uid -> its attempts' ids
  std::unordered_map<std::string, std::vector<std::function<void()>>> stopping_;  // container id -> who waits
};

}  // namespace pintle::runtime_sim

#include <algorithm>
#include <map>

#include "pintle/timestamp.h"
#include "plugins/core/tables.h"

namespace pintle::core {
namespace {

struct Summary {
  std::string status;
  size_t ready = 0, total = 0;
  int64_t restarts = 0, last_restart = 0;  // ns since 1970; 0 = never

  void count(const json::Value& container) {
    restarts += container["restartCount"].as_int();
    const auto t = parse_time(container["lastState"]["terminated"]["finishedAt"].as_string());
    if (t) last_restart = std::max(last_restart, *t);
  }
};

std::string ended(const json::Value& terminated) {
  if (!terminated["reason"].as_string().empty()) return std::string(terminated["reason"].as_string());
  if (terminated["signal"].as_int()) return "Signal:" + std::to_string(terminated["signal"].as_int());
  return "ExitCode:" + std::to_string(terminated["exitCode"].as_int());
}

bool condition_true(const json::Value& pod, std::string_view type) {
  for (const auto& c : pod["status"]["conditions"].items())
    if (c["type"].as_string() == type) return c["status"].as_string() == "True";
  return false;
}

// True while an init container has still to end; fills the status then.
bool initialising(const json::Value& pod, Summary& s) {
  std::map<std::string_view, bool> sidecar;
  for (const auto& c : pod["spec"]["initContainers"].items())
    if (c["restartPolicy"].as_string() == "Always") sidecar[c["name"].as_string()] = true;
  s.total += sidecar.size();
  size_t i = 0;
  for (const auto& c : pod["status"]["initContainerStatuses"].items()) {
    const size_t at = i++;
    const bool runs_on = sidecar.count(c["name"].as_string()) > 0;
    const json::Value& state = c["state"];
    s.count(c);
    if (state.contains("terminated") && state["terminated"]["exitCode"].as_int() == 0) continue;
    if (runs_on && c["started"].as_bool()) {
      if (c["ready"].as_bool()) ++s.ready;
      continue;
    }
    if (state.contains("terminated")) s.status = "Init:" + ended(state["terminated"]);
    else if (const auto why = state["waiting"]["reason"].as_string(); !why.empty() && why != "PodInitializing")
      s.status = "Init:" + std::string(why);
    else s.status = "Init:" + std::to_string(at) + "/" + std::to_string(pod["spec"]["initContainers"].size());
    return true;
  }
  return false;
}

}  // namespace

json::Value pod_row(const json::Value& pod, int64_t wall) {
  Summary s;
  const json::Value& status = pod["status"];
  const auto phase = status["phase"].as_string();
  s.status = phase;
  if (const auto reason = status["reason"].as_string(); !reason.empty()) s.status = reason;
  for (const auto& c : status["conditions"].items())
    if (c["type"].as_string() == "PodScheduled" && c["reason"].as_string() == "SchedulingGated") s.status = "SchedulingGated";
  s.total = pod["spec"]["containers"].size();
  if (!initialising(pod, s)) {
    // Restarts of init containers count only while they run; sidecars always.
    s.restarts = 0;
    s.last_restart = 0;
    for (const auto& spec : pod["spec"]["initContainers"].items())
      for (const auto& c : status["initContainerStatuses"].items())
        if (spec["restartPolicy"].as_string() == "Always" && spec["name"] == c["name"]) s.count(c);
    bool running = false;
    const auto& containers = status["containerStatuses"].items();
    for (auto c = containers.rbegin(); c != containers.rend(); ++c) {
      s.count(*c);
      const json::Value& state = (*c)["state"];
      if (const auto why = state["waiting"]["reason"].as_string(); !why.empty()) s.status = why;
      else if (state.contains("terminated")) s.status = ended(state["terminated"]);
      else if ((*c)["ready"].as_bool() && state.contains("running")) {
        running = true;
        ++s.ready;
      }
    }
    if (s.status == "Completed" && running) s.status = condition_true(pod, "Ready") ? "Running" : "NotReady";
  }
  const bool terminal = phase == "Succeeded" || phase == "Failed";
  if (pod["metadata"].contains("deletionTimestamp")) {
    if (status["reason"].as_string() == "NodeLost") s.status = "Unknown";
    else if (!terminal) s.status = "Terminating";
  }
  std::string restarts = std::to_string(s.restarts);
  if (s.restarts && s.last_restart) restarts += " (" + age_text(wall - s.last_restart) + " ago)";
  const auto or_none = [](const json::Value& v) { return std::string(v.as_string().empty() ? "<none>" : v.as_string()); };
  std::string gates = "<none>";
  if (const size_t n = pod["spec"]["readinessGates"].size()) {
    size_t hold = 0;
    for (const auto& g : pod["spec"]["readinessGates"].items()) hold += condition_true(pod, g["conditionType"].as_string());
    gates = std::to_string(hold) + "/" + std::to_string(n);
  }
  const json::Value& ip = status["podIPs"].empty() ? status["podIP"] : status["podIPs"][0]["ip"];
  json::Value row = json::Value::object(
      {{"cells", json::Value::object({{"Ready", std::to_string(s.ready) + "/" + std::to_string(s.total)},
                                      {"Status", s.status},
                                      {"Restarts", restarts},
                                      {"IP", or_none(ip)},
                                      {"Node", or_none(pod["spec"]["nodeName"])},
                                      {"Nominated Node", or_none(status["nominatedNodeName"])},
                                      {"Readiness Gates", gates}})}});
  if (terminal) {
    const bool good = phase == "Succeeded";
    row.set("conditions", json::Value::array({json::Value::object(
                              {{"type", "Completed"},
                               {"status", "True"},
                               {"reason", std::string(phase)},
                               {"message", good ? "The pod has completed successfully." : "The pod failed."}})}));
  }
  return row;
}

}  // namespace pintle::core

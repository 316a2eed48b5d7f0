#include "pod_status.h"

#include "pintle/timestamp.h"
#include "pintle/quantity.h"

namespace pintle::node_agent {

using json::Value;

namespace {

// A time that is not known is left out: the store drops nulls, and the status would never be what it should be.
void set_time(Value& v, const char* key, int64_t ns) {
  if (ns > 0) v.set(key, format_time(ns));
}

std::string full_id(const StatusInputs& in, const std::string& id) { return id.empty() ? "" : in.runtime_name + "://" + id; }

Value terminated(const StatusInputs& in, const ContainerView& c, std::string message) {
  Value t = Value::object({{"exitCode", c.exit_code}});
  std::string reason = c.reason;
  if (reason.empty()) reason = c.exit_code == 0 ? "Completed" : "Error";
  t.set("reason", reason);
  if (message.empty()) message = c.message;
  if (!message.empty()) t.set("message", message);
  set_time(t, "startedAt", c.started_ns);
  set_time(t, "finishedAt", c.finished_ns);
  t.set("containerID", full_id(in, c.id));
  return Value::object({{"terminated", std::move(t)}});
}

const Value& old_status(const Value& pod, const char* list, std::string_view name) {
  static const Value none;
  for (const auto& s : pod["status"][list].items())
    if (s["name"].as_string() == name) return s;
  return none;
}

Value container_status(const StatusInputs& in, const ContainerSpec& c, bool& running, bool& ready) {
  const Value& pod = *in.pod;
  const char* list = c.type == ContainerType::kMain ? "containerStatuses" : "initContainerStatuses";
  const std::string name(c.name());
  const Value& old = old_status(pod, list, name);
  const ContainerView* now = in.view->latest(name);
  const ContainerView* before = in.view->before_latest(name);
  static const ContainerNote nothing;
  const auto found = in.notes->find(name);
  const ContainerNote& note = found == in.notes->end() ? nothing : found->second;
  running = ready = false;
  // What the container said at its end, now or as the status remembers it.
  const auto last_words = [&](const ContainerView& v) {
    const auto it = note.last_words.find(v.id);
    if (it != note.last_words.end()) return it->second;
    return old.at("state.terminated.containerID").as_string() == full_id(in, v.id) ? str(old.at("state.terminated.message")) : std::string();
  };

  Value s = Value::object({{"name", name}});
  Value state, last = old["lastState"].is_object() ? old["lastState"] : Value::object();
  if (before && before->state == ContainerView::State::kExited && now->state != ContainerView::State::kExited) {
    if (last.at("terminated.containerID").as_string() != full_id(in, before->id)) last = terminated(in, *before, last_words(*before));
  }
  if (now && now->state == ContainerView::State::kRunning) {
    running = true;
    Value since = Value::object();
    set_time(since, "startedAt", now->started_ns);
    state = Value::object({{"running", std::move(since)}});
  } else if (now && (now->state == ContainerView::State::kExited || now->state == ContainerView::State::kUnknown)) {
    Value ended = now->state == ContainerView::State::kExited
                      ? terminated(in, *now, last_words(*now))
                      : Value::object({{"terminated", Value::object({{"exitCode", 137}, {"reason", "ContainerStatusUnknown"}, {"message", "The container could not be located when the pod was terminated"}, {"containerID", full_id(in, now->id)}})}});
    if (!note.waiting_reason.empty()) {  // about to be restarted: its end moves to lastState
      last = std::move(ended);
    } else {
      state = std::move(ended);
    }
  } else if (!now && old.at("state.terminated").is_object() && note.waiting_reason.empty()) {
    state = old["state"];  // removed from the runtime after it had ended
  }
  if (state.is_null()) {
    Value w = Value::object({{"reason", note.waiting_reason.empty() ? (pod["spec"]["initContainers"].empty() || c.type != ContainerType::kMain ? "ContainerCreating" : "PodInitializing") : note.waiting_reason}});
    if (c.type != ContainerType::kMain && note.waiting_reason.empty()) w.set("reason", "PodInitializing");
    if (!note.waiting_message.empty()) w.set("message", note.waiting_message);
    state = Value::object({{"waiting", std::move(w)}});
  }
  const bool completed_init = c.type == ContainerType::kInit && state.at("terminated").is_object() && state.at("terminated.exitCode").as_int(1) == 0;
  ready = completed_init || (running && note.ready && c.type != ContainerType::kInit);
  s.set("state", std::move(state));
  s.set("lastState", std::move(last));
  s.set("ready", ready);
  s.set("restartCount", now ? now->attempt : old["restartCount"].as_int(0));
  s.set("image", (*c.spec)["image"]);
  s.set("imageID", now && !now->image_id.empty() ? Value(now->image_id) : old["imageID"].is_string() ? old["imageID"] : Value(""));
  if (now) s.set("containerID", full_id(in, now->id));
  else if (old["containerID"].is_string()) s.set("containerID", old["containerID"]);
  s.set("started", running && note.started);
  return s;
}

}  // namespace

const Value& status_condition(const Value& status, std::string_view type) {
  static const Value none;
  for (const auto& c : status["conditions"].items())
    if (c["type"].as_string() == type) return c;
  return none;
}

namespace {

struct Wanted {
  const char* type;
  bool status;
  std::string reason, message;
};

Value conditions(const StatusInputs& in, const std::vector<Wanted>& wanted) {
  const Value& old = (*in.pod)["status"]["conditions"];
  const Value& generation = (*in.pod)["metadata"]["generation"];
  Value out = Value::array();
  std::vector<bool> used(wanted.size(), false);
  const auto make = [&](const Wanted& w, const Value& before) {
    Value c = Value::object({{"type", w.type}});
    if (generation.is_int()) c.set("observedGeneration", generation);
    const char* status = w.status ? "True" : "False";
    c.set("status", status);
    c.set("lastProbeTime", Value());
    const bool same = before["status"].as_string() == status && before["lastTransitionTime"].is_string();
    c.set("lastTransitionTime", same ? before["lastTransitionTime"] : Value(format_time(in.now)));
    if (!w.reason.empty()) c.set("reason", w.reason);
    if (!w.message.empty()) c.set("message", w.message);
    // What others added to it (a probe time) is no reason to write it again.
    if (!before.contains("lastProbeTime")) c.erase("lastProbeTime");
    if (!before.is_null() && !before.contains("observedGeneration")) c.erase("observedGeneration");
    return c;
  };
  for (const auto& c : old.items()) {
    bool ours = false;
    for (size_t i = 0; i < wanted.size(); ++i)
      if (c["type"].as_string() == wanted[i].type) {
        used[i] = ours = true;
        out.push(make(wanted[i], c));
      }
    if (!ours) out.push(c);
  }
  for (size_t i = 0; i < wanted.size(); ++i)
    if (!used[i]) out.push(make(wanted[i], Value()));
  return out;
}

std::string names_text(const std::vector<std::string>& names) {
  std::string out = "[";
  for (const auto& n : names) out += (out.size() > 1 ? " " : "") + n;
  return out + "]";
}

}  // namespace

Progress progress_of(const Value& pod, const PodView& view) {
  Progress p;
  p.init_done = p.all_done = true;
  size_t mains = 0;
  for (const auto& c : containers_of(pod)) {
    const std::string name(c.name());
    const ContainerView* now = view.latest(name);
    bool exited = now && (now->state == ContainerView::State::kExited || now->state == ContainerView::State::kUnknown);
    int code = now ? (now->state == ContainerView::State::kUnknown ? 137 : now->exit_code) : 0;
    if (!now) {  // gone from the runtime: the status remembers how it ended
      const Value& ended = old_status(pod, c.type == ContainerType::kMain ? "containerStatuses" : "initContainerStatuses", name).at("state.terminated");
      if (ended.is_object()) {
        exited = true;
        code = static_cast<int>(ended["exitCode"].as_int());
      }
    }
    const std::string_view policy = restart_policy(pod, c);
    if (c.type == ContainerType::kInit) {
      // Main containers exist: it was done, also when the runtime has forgotten it.
      if (!exited || code != 0) p.init_done = false;
      if (exited && code != 0 && policy == "Never") p.init_failed = true;
    } else if (c.type == ContainerType::kMain) {
      ++mains;
      const bool finished = exited && (policy == "Never" || (policy == "OnFailure" && code == 0));
      if (!finished) p.all_done = false;
      if (exited && code != 0) p.any_failed = true;
    }
  }
  if (!p.init_done && !p.init_failed)
    for (const auto& c : containers_of(pod))
      if (c.type == ContainerType::kMain && view.latest(c.name())) p.init_done = true;
  if (mains == 0) p.all_done = false;
  return p;
}

Value pod_status(const StatusInputs& in) {
  const Value& pod = *in.pod;
  const Value& old = pod["status"];
  const Progress progress = progress_of(pod, *in.view);
  Value init = Value::array(), main = Value::array();
  std::vector<std::string> incomplete, unready;
  bool any_waiting_first_time = false, sidecars_up = true;
  for (const auto& c : containers_of(pod)) {
    bool running = false, ready = false;
    Value s = container_status(in, c, running, ready);
    const std::string name(c.name());
    if (c.type == ContainerType::kMain) {
      const Value& state = s["state"];
      if (state.contains("waiting") && s["lastState"].empty()) any_waiting_first_time = true;
      if (!ready) unready.push_back(name);
      main.push(std::move(s));
    } else {
      const bool started = s["started"].as_bool();
      if (c.type == ContainerType::kSidecar) {
        if (!started) {
          sidecars_up = false;
          incomplete.push_back(name);
        }
        if (!ready) unready.push_back(name);
      } else if (!ready && !progress.init_done) {
        incomplete.push_back(name);
      }
      init.push(std::move(s));
    }
  }
  bool main_seen = false;
  for (const auto& c : containers_of(pod))
    if (c.type == ContainerType::kMain && in.view->latest(c.name())) main_seen = true;

  const std::string_view old_phase = old["phase"].as_string();
  std::string phase;
  if (!in.failed_reason.empty() || progress.init_failed) phase = "Failed";
  else if (progress.all_done) phase = progress.any_failed ? "Failed" : "Succeeded";
  else if (!progress.init_done || any_waiting_first_time) phase = "Pending";
  else phase = "Running";
  if (old_phase == "Failed" || old_phase == "Succeeded") phase = std::string(old_phase);  // the end is the end
  // As long as something runs the pod has not ended for the rest of the cluster.
  if ((phase == "Failed" || phase == "Succeeded") && old_phase != phase && in.view->anything_running()) phase = old_phase.empty() ? "Pending" : std::string(old_phase);
  const bool ended = phase == "Failed" || phase == "Succeeded";

  Value status = old.is_object() ? old : Value::object();
  if (pod["metadata"]["generation"].is_int()) status.set("observedGeneration", pod["metadata"]["generation"]);
  status.set("phase", phase);
  if (!in.failed_reason.empty()) {
    status.set("reason", in.failed_reason);
    if (!in.failed_message.empty()) status.set("message", in.failed_message);
  }

  std::vector<Wanted> wanted;
  const bool initialized = (progress.init_done && (sidecars_up || main_seen)) || phase == "Succeeded";
  wanted.push_back({"PodReadyToStartContainers", in.containers_ready_to_start && !ended, "", ""});
  // A pod that fails is out of its Services at once, also while its containers are still being stopped.
  const std::string done_reason = phase == "Succeeded" ? "PodCompleted" : phase == "Failed" || !in.failed_reason.empty() ? "PodFailed" : "";
  if (initialized) wanted.push_back({"Initialized", true, phase == "Succeeded" ? "PodCompleted" : "", ""});
  else wanted.push_back({"Initialized", false, "ContainersNotInitialized", "containers with incomplete status: " + names_text(incomplete)});
  bool ready = unready.empty() && initialized && done_reason.empty();
  std::string reason, message;
  if (!ready) {
    reason = done_reason.empty() ? "ContainersNotReady" : done_reason;
    if (done_reason.empty() || phase == "Failed") message = "containers with unready status: " + names_text(unready);
    if (phase == "Succeeded") message.clear();
  }
  const Wanted containers_ready{"ContainersReady", ready, reason, message};
  if (ready)
    for (const auto& gate : pod["spec"]["readinessGates"].items()) {
      bool fine = false;
      for (const auto& c : old["conditions"].items())
        if (c["type"] == gate["conditionType"] && c["status"].as_string() == "True") fine = true;
      if (fine) continue;
      ready = false;
      reason = "ReadinessGatesNotReady";
      message = "corresponding condition of pod readiness gate \"" + str(gate["conditionType"]) + "\" does not exist or is not True.";
    }
  wanted.push_back({"Ready", ready, reason, message});
  wanted.push_back(containers_ready);
  wanted.push_back({"PodScheduled", true, "", ""});
  status.set("conditions", conditions(in, wanted));

  status.set("hostIP", in.host_ip);
  status.set("hostIPs", Value::array({Value::object({{"ip", in.host_ip}})}));
  std::vector<std::string> ips;
  if (pod["spec"]["hostNetwork"].as_bool()) {
    if (in.containers_ready_to_start) ips.push_back(in.host_ip);
  } else if (const SandboxView* s = in.view->ready_sandbox()) {
    ips = s->ips;
  }
  if (!ips.empty()) {
    Value list = Value::array();
    for (const auto& ip : ips) list.push(Value::object({{"ip", ip}}));
    status.set("podIP", ips[0]);
    status.set("podIPs", std::move(list));
  }
  if (!status["startTime"].is_string()) status.set("startTime", format_time(in.now));
  if (!init.empty()) status.set("initContainerStatuses", std::move(init));
  status.set("containerStatuses", std::move(main));
  if (!status["qosClass"].is_string()) status.set("qosClass", qos_class(pod));
  return status;
}

bool is_pressing(const Value& from, const Value& to) {
  for (const char* key : {"phase", "reason", "message"})
    if (from[key].as_string() != to[key].as_string()) return true;
  for (const char* type : {"Ready", "ContainersReady"}) {
    const Value &before = status_condition(from, type), &after = status_condition(to, type);
    if (before["status"].as_string("False") != after["status"].as_string("False")) return true;
    if (before.is_object() && before["reason"].as_string() != after["reason"].as_string()) return true;
  }
  static const Value fresh = json::parse(R"({"state":{"waiting":{}},"restartCount":0})").value;
  // What it does and why; not when it began.
  const auto kind = [](const Value& status) { return status["state"].members().empty() ? std::string_view("waiting") : std::string_view(status["state"].members()[0].key); };
  const auto held_up = [](const Value& status, const char* key) {
    const std::string_view text = status.at("state.waiting")[key].as_string();
    return text == "ContainerCreating" || text == "PodInitializing" ? std::string_view() : text;
  };
  for (const char* list : {"containerStatuses", "initContainerStatuses"})
    for (const auto& after : to[list].items()) {
      const Value* before = &fresh;
      for (const auto& s : from[list].items())
        if (s["name"] == after["name"]) before = &s;
      if (kind(*before) != kind(after) || held_up(*before, "reason") != held_up(after, "reason") || held_up(*before, "message") != held_up(after, "message")) return true;
      for (const char* key : {"ready", "started"})
        if ((*before)[key].as_bool() != after[key].as_bool()) return true;
      if ((*before)["restartCount"].as_int() != after["restartCount"].as_int()) return true;
    }
  return false;
}

Value merge_patch(const Value& from, const Value& to) {
  if (from == to) return Value();
  if (!from.is_object() || !to.is_object()) return to;
  Value out = Value::object();
  for (const auto& m : to.members()) {
    const Value* before = from.find(m.key);
    if (before && *before == m.value) continue;
    out.set(m.key, before && before->is_object() && m.value.is_object() ? merge_patch(*before, m.value) : m.value);
  }
  for (const auto& m : from.members())
    if (!to.contains(m.key)) out.set(m.key, Value());
  return out;
}

}  // namespace pintle::node_agent

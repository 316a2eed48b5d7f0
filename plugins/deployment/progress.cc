#include "progress.h"

#include <algorithm>

#include "pintle/timestamp.h"
#include "pintle/workload.h"

namespace pintle::deployment {
namespace {

const json::Value kNull;

int64_t old_replicas(const json::Value& status) { return status["replicas"].as_int() - status["updatedReplicas"].as_int(); }

bool moved(const json::Value& before, const json::Value& now) {
  return now["updatedReplicas"].as_int() > before["updatedReplicas"].as_int() || old_replicas(now) < old_replicas(before) ||
         now["readyReplicas"].as_int() > before["readyReplicas"].as_int() ||
         now["availableReplicas"].as_int() > before["availableReplicas"].as_int();
}

}  // namespace

const json::Value& find_condition(const json::Value& conditions, const std::string& type) {
  for (const auto& c : conditions.items())
    if (c["type"].as_string() == type) return c;
  return kNull;
}

void remove_condition(json::Value& conditions, const std::string& type) {
  json::Value left = json::Value::array();
  for (const auto& c : conditions.items())
    if (c["type"].as_string() != type) left.push(c);
  conditions = std::move(left);
}

void set_condition(json::Value& conditions, const Condition& c, int64_t wall_ns, bool touch) {
  const json::Value old = find_condition(conditions, c.type);
  const bool same_status = old["status"].as_string() == c.status;
  if (same_status && old["reason"].as_string() == c.reason && !touch) return;
  const std::string now = format_time(wall_ns);
  json::Value fresh = json::Value::object({{"type", c.type}, {"status", c.status}, {"lastUpdateTime", now}, {"lastTransitionTime", now},
                                           {"reason", c.reason}, {"message", c.message}});
  if (same_status && !old["lastTransitionTime"].is_null()) fresh.set("lastTransitionTime", old["lastTransitionTime"]);
  remove_condition(conditions, c.type);
  conditions.push(std::move(fresh));
}

bool complete(const json::Value& deployment, const Wish& wish, const json::Value& s) {
  return s["updatedReplicas"].as_int() == wish.replicas && s["replicas"].as_int() == wish.replicas &&
         s["availableReplicas"].as_int() == wish.replicas &&
         s["observedGeneration"].as_int() >= deployment.at("metadata.generation").as_int();
}

bool timed_out(const json::Value& status) {
  return find_condition(status["conditions"], "Progressing")["reason"].as_string() == "ProgressDeadlineExceeded";
}

json::Value status_of(const json::Value& deployment, const Wish& wish, const std::vector<SetState>& sets, int newest, const Happened& happened,
                      int64_t wall_ns, int64_t* again_ns) {
  const json::Value& before = deployment["status"];
  int64_t wished = 0, replicas = 0, ready = 0, available = 0, terminating = 0;
  for (const auto& s : sets) {
    wished += s.wished;
    replicas += s.replicas;
    ready += s.ready;
    available += s.available;
    terminating += s.terminating;
  }
  json::Value s = json::Value::object({{"observedGeneration", deployment.at("metadata.generation").as_int()}});
  const auto some = [&](const char* name, int64_t n) {
    if (n > 0) s.set(name, n);
  };
  some("replicas", replicas);
  some("updatedReplicas", newest >= 0 ? sets[static_cast<size_t>(newest)].replicas : 0);
  some("readyReplicas", ready);
  some("availableReplicas", available);
  some("unavailableReplicas", wished - available);
  s.set("terminatingReplicas", terminating);
  if (before.contains("collisionCount")) s.set("collisionCount", before["collisionCount"]);

  json::Value conditions = before["conditions"].is_array() ? before["conditions"] : json::Value::array();
  const int64_t at_least = wish.rolling ? wish.replicas - wish.unavailable : wish.replicas;
  if (available >= at_least)
    set_condition(conditions, {"Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."}, wall_ns);
  else
    set_condition(conditions, {"Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."}, wall_ns);

  // Why pods of one of the sets cannot be made.
  const json::Value* failure = nullptr;
  for (size_t i = 0; i < sets.size(); ++i) {
    const json::Value& c = condition_of(sets[i].object, "ReplicaFailure");
    if (!c.is_null() && (!failure || static_cast<int>(i) == newest)) failure = &c;
  }
  remove_condition(conditions, "ReplicaFailure");
  if (failure) conditions.push(*failure);

  const json::Value& limit = deployment.at("spec.progressDeadlineSeconds");
  const bool bounded = limit.as_int(600) != 2147483647;
  const bool paused = deployment.at("spec.paused").as_bool();
  const std::string subject = newest >= 0 ? "ReplicaSet \"" + sets[static_cast<size_t>(newest)].name + "\""
                                          : "Deployment \"" + std::string(deployment.at("metadata.name").as_string()) + "\"";
  if (!bounded) {
    remove_condition(conditions, "Progressing");
  } else {
    const json::Value current = find_condition(conditions, "Progressing");
    const std::string_view reason = current["reason"].as_string();
    if (paused && reason != "DeploymentPaused" && reason != "ProgressDeadlineExceeded")
      set_condition(conditions, {"Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"}, wall_ns);
    else if (!paused && reason == "DeploymentPaused")
      set_condition(conditions, {"Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed"}, wall_ns);
    if (!happened.failed_to_create.empty())
      set_condition(conditions, {"Progressing", "False", "ReplicaSetCreateError", happened.failed_to_create}, wall_ns);
    else if (!happened.created_set.empty())
      set_condition(conditions, {"Progressing", "True", "NewReplicaSetCreated", "Created new replica set \"" + happened.created_set + "\""}, wall_ns, true);
    else if (!happened.found_set.empty() || (current.is_null() && newest >= 0 && !paused))
      set_condition(conditions, {"Progressing", "True", "FoundNewReplicaSet",
                                 "Found new replica set \"" + (happened.found_set.empty() ? sets[static_cast<size_t>(newest)].name : happened.found_set) + "\""},
                    wall_ns, !happened.found_set.empty());
    const json::Value now = find_condition(conditions, "Progressing");
    const std::string_view now_reason = now["reason"].as_string();
    const bool was_complete = s["replicas"].as_int() == s["updatedReplicas"].as_int() && now_reason == "NewReplicaSetAvailable";
    if (!was_complete && !paused) {
      if (complete(deployment, wish, s)) {
        set_condition(conditions, {"Progressing", "True", "NewReplicaSetAvailable", subject + " has successfully progressed."}, wall_ns);
      } else if (moved(before, s)) {
        set_condition(conditions, {"Progressing", "True", "ReplicaSetUpdated", subject + " is progressing."}, wall_ns, true);
      } else if (!now.is_null() && now_reason != "NewReplicaSetAvailable" && now_reason != "ProgressDeadlineExceeded") {
        const int64_t since = parse_time(now["lastUpdateTime"].as_string()).value_or(wall_ns);
        const int64_t left = since + limit.as_int(600) * kSecond - wall_ns;
        if (left <= 0)
          set_condition(conditions, {"Progressing", "False", "ProgressDeadlineExceeded", subject + " has timed out progressing."}, wall_ns);
      }
      const json::Value& last = find_condition(conditions, "Progressing");
      const std::string_view last_reason = last["reason"].as_string();
      if (again_ns && !last.is_null() && last_reason != "NewReplicaSetAvailable" && last_reason != "ProgressDeadlineExceeded") {
        const int64_t since = parse_time(last["lastUpdateTime"].as_string()).value_or(wall_ns);
        *again_ns = std::min(*again_ns, std::max<int64_t>(since + limit.as_int(600) * kSecond - wall_ns, 0) + kSecond);
      }
    }
  }
  if (!conditions.empty()) s.set("conditions", std::move(conditions));
  return s;
}

json::Value status_patch(const json::Value& old, const json::Value& fresh) {
  json::Value patch = json::Value::object();
  for (const auto& m : fresh.members())
    if (const json::Value* was = old.find(m.key); !was || *was != m.value) patch.set(m.key, m.value);
  for (const auto& m : old.members())
    if (!fresh.contains(m.key)) patch.set(m.key, json::Value());
  return patch.empty() ? json::Value() : json::Value::object({{"status", std::move(patch)}});
}

}  // namespace pintle::deployment

#include "messages.h"

#include <algorithm>

#include "queue.h"

namespace pintle::scheduling_plugin {
namespace {

json::Value common(const json::Value& pod) {
  const json::Value& meta = pod["metadata"];
  json::Value v = json::Value::object({{"uid", meta["uid"]}, {"namespace", meta["namespace"]}, {"name", meta["name"]}});
  v.set("labels", meta["labels"].is_object() ? meta["labels"] : json::Value::object());
  v.set("requests", scheduling::pod_requests(pod["spec"]).to_numbers());
  v.set("hostPorts", scheduling::pod_host_ports(pod["spec"]));
  return v;
}

}  // namespace

json::Value node_message(const json::Value& node) {
  const json::Value& meta = node["metadata"];
  json::Value v = json::Value::object({{"name", meta["name"]}});
  v.set("labels", meta["labels"].is_object() ? meta["labels"] : json::Value::object());
  json::Value taints = json::Value::array();
  for (const auto& t : node.at("spec.taints").items())
    taints.push(json::Value::object({{"key", t["key"]}, {"value", t["value"].as_string()}, {"effect", t["effect"]}}));
  v.set("taints", std::move(taints));
  v.set("unschedulable", node.at("spec.unschedulable").as_bool());
  bool ready = false;
  for (const auto& c : node.at("status.conditions").items())
    if (c["type"].as_string() == "Ready") ready = c["status"].as_string() == "True";
  v.set("ready", ready && meta["deletionTimestamp"].is_null());
  const json::Value& allocatable = node.at("status.allocatable");
  v.set("allocatable", scheduling::Amounts::from_quantities(allocatable.is_object() ? allocatable : node.at("status.capacity")).to_numbers());
  json::Value images = json::Value::array();
  for (const auto& i : node.at("status.images").items())
    for (const auto& name : i["names"].items()) images.push(name);
  v.set("images", std::move(images));
  return v;
}

json::Value pod_message(const json::Value& pod, const std::string& node) {
  json::Value v = common(pod);
  v.set("node", node);
  const json::Value& affinity = pod.at("spec.affinity");
  if (affinity["podAffinity"].is_object() || affinity["podAntiAffinity"].is_object()) v.set("affinity", affinity);
  v.set("terminating", !pod.at("metadata.deletionTimestamp").is_null());
  return v;
}

json::Value pending_message(const json::Value& pod) {
  json::Value v = common(pod);
  v.set("priority", pod.at("spec.priority").as_int());
  v.set("spec", pod["spec"]);
  return v;
}

uint32_t node_happening(const json::Value& before, const json::Value& after) {
  if (before.is_null()) return kNodeAdded;
  uint32_t what = 0;
  if (before["labels"] != after["labels"]) what |= kNodeLabels;
  if (before["taints"] != after["taints"] || before["unschedulable"] != after["unschedulable"] || before["ready"] != after["ready"])
    what |= kNodeTaints;
  if (before["allocatable"] != after["allocatable"]) what |= kNodeAllocatable;
  return what;
}

bool finished(const json::Value& pod) {
  const std::string_view phase = pod.at("status.phase").as_string();
  return phase == "Succeeded" || phase == "Failed";
}

bool gated(const json::Value& pod) { return !pod.at("spec.schedulingGates").empty(); }

json::Value scheduled_condition(const json::Value& pod, bool scheduled, const std::string& reason, const std::string& message,
                                const std::string& now) {
  const char* status = scheduled ? "True" : "False";
  json::Value c = json::Value::object({{"type", "PodScheduled"}, {"status", status}, {"lastProbeTime", json::Value()}, {"lastTransitionTime", now}});
  if (!reason.empty()) c.set("reason", reason);
  if (!message.empty()) c.set("message", message);
  for (const auto& old : pod.at("status.conditions").items()) {
    if (old["type"].as_string() != "PodScheduled") continue;
    if (old["status"].as_string() == status) {
      if (old["reason"].as_string() == reason && old["message"].as_string() == message) return json::Value::object();
      if (!old["lastTransitionTime"].is_null()) c.set("lastTransitionTime", old["lastTransitionTime"]);
    }
  }
  return c;
}

json::Value with_condition(const json::Value& conditions, const json::Value& condition) {
  json::Value out = json::Value::array();
  bool placed = false;
  for (const auto& c : conditions.items()) {
    const bool same = c["type"].as_string() == condition["type"].as_string();
    out.push(same ? condition : c);
    placed |= same;
  }
  if (!placed) out.push(condition);
  return out;
}

std::string explain_text(const std::string& pod, const json::Value& explanation) {
  std::string text = "pod " + pod + ": " + std::string(explanation["message"].as_string()) + "\n";
  for (const auto& n : explanation["nodes"].items()) {
    text += "  " + std::string(n["name"].as_string()) + ": ";
    if (n.contains("filter")) {
      text += "no (" + std::string(n["filter"].as_string()) + "): " + std::string(n["reason"].as_string());
    } else {
      text += "possible, score " + std::to_string(n["total"].as_int());
      std::string parts;
      for (const auto& s : n["scores"].members()) parts += (parts.empty() ? "" : ", ") + s.key + " " + std::to_string(s.value.as_int());
      if (!parts.empty()) text += " (" + parts + ")";
    }
    text += "\n";
  }
  return text;
}

}  // namespace pintle::scheduling_plugin

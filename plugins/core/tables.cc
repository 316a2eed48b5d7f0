#include "plugins/core/tables.h"

#include <algorithm>
#include <set>
#include <vector>

#include "pintle/timestamp.h"

namespace pintle::core {
namespace {

constexpr const char* kNone = "<none>";

std::string joined(const std::vector<std::string>& list) {
  std::string out;
  for (const auto& s : list) out += (out.empty() ? "" : ",") + s;
  return out;
}
std::string text_or(const json::Value& v, const char* otherwise) {
  const auto s = v.as_string();
  return std::string(s.empty() ? std::string_view(otherwise) : s);
}
json::Value row(json::Value cells) { return json::Value::object({{"cells", std::move(cells)}}); }

std::string since(std::string_view time, int64_t wall) {
  const auto t = parse_time(time);
  return t ? age_text(wall - *t) : "<unknown>";
}

}  // namespace

std::string age_text(int64_t ns) {
  const int64_t s = ns / 1000000000;
  const auto two = [](int64_t a, const char* ua, int64_t b, const char* ub) {
    return std::to_string(a) + ua + (b ? std::to_string(b) + ub : "");
  };
  const int64_t m = s / 60, h = s / 3600, d = h / 24, y = d / 365;
  if (s < -1) return "<invalid>";
  if (s < 0) return "0s";
  if (s < 120) return std::to_string(s) + "s";
  if (m < 10) return two(m, "m", s % 60, "s");
  if (m < 180) return std::to_string(m) + "m";
  if (h < 8) return two(h, "h", m % 60, "m");
  if (h < 48) return std::to_string(h) + "h";
  if (d < 8) return two(d, "d", h % 24, "h");
  if (y < 2) return std::to_string(d) + "d";
  if (y < 8) return two(y, "y", d % 365, "d");
  return std::to_string(y) + "y";
}

json::Value node_row(const json::Value& node) {
  std::string status = "Unknown";
  for (const auto& c : node["status"]["conditions"].items())
    if (c["type"].as_string() == "Ready") status = c["status"].as_string() == "True" ? "Ready" : "NotReady";
  if (node["spec"]["unschedulable"].as_bool()) status += ",SchedulingDisabled";
  std::set<std::string> roles;
  constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
  for (const auto& m : node["metadata"]["labels"].members()) {
    if (m.key.substr(0, kPrefix.size()) == kPrefix && m.key.size() > kPrefix.size()) roles.insert(m.key.substr(kPrefix.size()));
    if (m.key == "kubernetes.io/role" && !m.value.as_string().empty()) roles.emplace(m.value.as_string());
  }
  const auto address = [&](std::string_view type) {
    for (const auto& a : node["status"]["addresses"].items())
      if (a["type"].as_string() == type) return text_or(a["address"], kNone);
    return std::string(kNone);
  };
  const json::Value& info = node["status"]["nodeInfo"];
  return row(json::Value::object({{"Status", status},
                                  {"Roles", roles.empty() ? kNone : joined({roles.begin(), roles.end()})},
                                  {"Internal-IP", address("InternalIP")},
                                  {"External-IP", address("ExternalIP")},
                                  {"OS-Image", text_or(info["osImage"], "<unknown>")},
                                  {"Kernel-Version", text_or(info["kernelVersion"], "<unknown>")},
                                  {"Container-Runtime", text_or(info["containerRuntimeVersion"], "<unknown>")}}));
}

json::Value event_row(const json::Value& e, int64_t wall) {
  // Both faces of events: the newer one has other names for the same things.
  const auto either = [&](const char* core, const char* newer) -> const json::Value& {
    return e.contains(core) ? e[core] : e[newer];
  };
  const json::Value &object = either("involvedObject", "regarding"), &source = either("source", "deprecatedSource"),
                    &series = e["series"];
  const auto event_time = e["eventTime"].as_string();
  const auto first_time = either("firstTimestamp", "deprecatedFirstTimestamp").as_string();
  const auto last_time = either("lastTimestamp", "deprecatedLastTimestamp").as_string();
  const std::string first = since(first_time.empty() ? event_time : first_time, wall);
  std::string last = last_time.empty() ? first : since(last_time, wall);
  int64_t count = either("count", "deprecatedCount").as_int();
  if (series.is_object()) {
    last = since(series["lastObservedTime"].as_string(), wall);
    count = series["count"].as_int();
  }
  std::string component(source["component"].as_string());
  if (component.empty()) component = either("reportingComponent", "reportingController").as_string();
  const auto host = source["host"].as_string().empty() ? e["reportingInstance"].as_string() : source["host"].as_string();
  std::string kind(object["kind"].as_string());
  std::transform(kind.begin(), kind.end(), kind.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const auto name = object["name"].as_string();
  std::string message(either("message", "note").as_string());
  while (!message.empty() && (message.back() == ' ' || message.back() == '\n')) message.pop_back();
  return row(json::Value::object({{"Last Seen", last},
                                  {"Object", name.empty() ? kind : kind + "/" + std::string(name)},
                                  {"Source", host.empty() ? component : component + ", " + std::string(host)},
                                  {"Message", message},
                                  {"First Seen", first},
                                  {"Count", std::to_string(std::max<int64_t>(count, 1))}}));
}

json::Value table_rows(std::string_view kind, const json::Value& objects, int64_t wall) {
  json::Value rows = json::Value::array();
  for (const auto& o : objects.items()) {
    if (kind == "pods") rows.push(pod_row(o, wall));
    else if (kind == "nodes") rows.push(node_row(o));
    else if (kind == "events" || kind == "events.events.k8s.io") rows.push(event_row(o, wall));
    else if (kind == "secrets") rows.push(row(json::Value::object({{"Data", o["data"].size()}})));
    else if (kind == "configmaps") rows.push(row(json::Value::object({{"Data", o["data"].size() + o["binaryData"].size()}})));
    else if (kind == "serviceaccounts") rows.push(row(json::Value::object({{"Secrets", o["secrets"].size()}})));
    else rows.push(row(json::Value::object()));
  }
  return json::Value::object({{"rows", std::move(rows)}});
}

}  // namespace pintle::core

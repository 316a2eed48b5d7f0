#include "runtime_view.h"

#include <algorithm>
#include <tuple>

namespace pintle::node_agent {

using json::Value;

namespace {

ContainerView::State state_of(std::string_view s) {
  if (s == "created") return ContainerView::State::kCreated;
  if (s == "running") return ContainerView::State::kRunning;
  if (s == "exited") return ContainerView::State::kExited;
  return ContainerView::State::kUnknown;
}

}  // namespace

const SandboxView* PodView::ready_sandbox() const {
  for (auto it = sandboxes.rbegin(); it != sandboxes.rend(); ++it)
    if (it->ready) return &*it;
  return nullptr;
}
const ContainerView* PodView::latest(std::string_view name) const {
  const ContainerView* out = nullptr;
  for (const auto& c : containers)
    if (c.name == name) out = &c;
  return out;
}
const ContainerView* PodView::attempt(std::string_view name, int64_t number) const {
  for (const auto& c : containers)
    if (c.name == name && c.attempt == number) return &c;
  return nullptr;
}
const ContainerView* PodView::before_latest(std::string_view name) const {
  const ContainerView *out = nullptr, *last = nullptr;
  for (const auto& c : containers)
    if (c.name == name) {
      out = last;
      last = &c;
    }
  return out;
}
bool PodView::anything_running() const {
  return std::any_of(containers.begin(), containers.end(), [](const auto& c) { return c.state == ContainerView::State::kRunning; });
}

std::map<std::string, PodView> read_list(const Value& reply) {
  std::map<std::string, PodView> out;
  for (const auto& p : reply["pods"].items()) {
    SandboxView s;
    s.id = str(p["id"]);
    s.uid = str(p["uid"]);
    s.ns = str(p["namespace"]);
    s.name = str(p["name"]);
    s.attempt = p["attempt"].as_int();
    s.created_ns = p["createdAt"].as_int();
    s.ready = p["state"].as_string() == "ready";
    for (const auto& ip : p["ips"].items()) s.ips.emplace_back(ip.as_string());
    out[s.uid].sandboxes.push_back(std::move(s));
  }
  for (const auto& c : reply["containers"].items()) {
    ContainerView v;
    v.id = str(c["id"]);
    v.pod_id = str(c["podId"]);
    v.pod_uid = str(c["podUid"]);
    v.name = str(c["name"]);
    v.image = str(c["image"]);
    v.image_id = str(c["imageId"]);
    v.reason = str(c["reason"]);
    v.message = str(c["message"]);
    v.hash = str(c.at("labels[io.pintle.container.hash]"));
    v.attempt = c["attempt"].as_int();
    v.created_ns = c["createdAt"].as_int();
    v.started_ns = c["startedAt"].as_int();
    v.finished_ns = c["finishedAt"].as_int();
    v.exit_code = static_cast<int>(c["exitCode"].as_int());
    v.state = state_of(c["state"].as_string());
    out[v.pod_uid].containers.push_back(std::move(v));
  }
  for (auto& [uid, view] : out) {
    std::sort(view.sandboxes.begin(), view.sandboxes.end(), [](const auto& a, const auto& b) { return a.attempt < b.attempt; });
    std::sort(view.containers.begin(), view.containers.end(),
              [](const auto& a, const auto& b) { return std::tie(a.name, a.attempt) < std::tie(b.name, b.attempt); });
  }
  return out;
}

}  // namespace pintle::node_agent

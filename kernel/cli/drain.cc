#include "kernel/cli/drain.h"

#include <unistd.h>

#include <vector>

#include "kernel/base/file.h"
#include "kernel/cli/api_client.h"
#include "kernel/cli/process.h"

namespace pintle::cli {
namespace {

std::string text_at(const json::Value& object, std::string_view path) { return std::string(object.at(path).as_string()); }

constexpr int kDrainMs = 60000;
constexpr const char* kMergePatch = "application/merge-patch+json";

std::string record_file(const std::string& data) { return data + "/drained.json"; }

}  // namespace

Result<void> drain(const std::string& data, const std::function<void(const std::string&)>& say) {
  auto api = ApiClient::open(data);
  if (!api) return api.error();
  auto nodes = api->get("/api/v1/nodes");
  if (!nodes) return nodes.error();
  json::Value closed = json::parse_or_null(kernel::read_file(record_file(data)) ? *kernel::read_file(record_file(data)) : "");
  closed.make_array();
  for (const auto& node : (*nodes)["items"].items()) {
    if (node.at("spec.unschedulable").as_bool()) continue;
    const std::string name = text_at(node, "metadata.name");
    auto r = api->call("PATCH", "/api/v1/nodes/" + name, R"({"spec":{"unschedulable":true}})", kMergePatch);
    if (!r) return Error(r.error().code, "node " + name + ": " + r.error().text);
    closed.push(name);
  }
  if (auto r = kernel::write_file(record_file(data), closed.dump()); !r) return r;
  const auto running = [&]() -> Result<std::vector<std::string>> {
    auto pods = api->get("/api/v1/pods");
    if (!pods) return pods.error();
    std::vector<std::string> out;
    for (const auto& pod : (*pods)["items"].items()) {
      const std::string phase = text_at(pod, "status.phase");
      if (text_at(pod, "spec.nodeName").empty() || phase == "Succeeded" || phase == "Failed") continue;
      out.push_back("/api/v1/namespaces/" + text_at(pod, "metadata.namespace") + "/pods/" + text_at(pod, "metadata.name"));
    }
    return out;
  };
  auto pods = running();
  if (!pods) return pods.error();
  const size_t all = pods->size();
  for (const auto& path : *pods) {
    auto r = api->call("DELETE", path);
    if (!r && r.error().code != PINTLE_NOT_FOUND) return Error(r.error().code, path + ": " + r.error().text);
  }
  const int64_t deadline = monotonic_ms() + kDrainMs;
  size_t left = all, told = all + 1;
  for (;;) {
    pods = running();
    if (!pods) return pods.error();
    left = pods->size();
    if (left != told) say("draining: " + std::to_string(left) + " of " + std::to_string(all) + " pods left");
    told = left;
    if (left == 0 || monotonic_ms() > deadline) break;
    pause_ms(200);
  }
  if (left > 0) say("after " + std::to_string(kDrainMs / 1000) + " s " + std::to_string(left) + " pods still run; going on");
  return {};
}


Result<void> open_drained_nodes(const std::string& data) {
  auto text = kernel::read_file(record_file(data));
  if (!text) return {};
  auto api = ApiClient::open(data);
  if (!api) return api.error();
  const json::Value closed = json::parse_or_null(*text);
  for (const auto& name : closed.items()) {
    auto r = api->call("PATCH", "/api/v1/nodes/" + std::string(name.as_string()), R"({"spec":{"unschedulable":null}})", kMergePatch);
    if (!r && r.error().code != PINTLE_NOT_FOUND) return Error(r.error().code, "node " + std::string(name.as_string()) + " stays closed for pods: " + r.error().text);
  }
  unlink(record_file(data).c_str());
  return {};
}

}  // namespace pintle::cli

// What a change of a Plugin or Slot object must not do in silence.
#include <algorithm>

#include "kernel/plugin/plugins_controller.h"

namespace pintle::kernel {
namespace {

constexpr uint32_t kPrepare = 3, kDelete = 4;

constexpr const char* kForce = "pintle.dev/force";

bool forced(const json::Value& object) { return object["metadata"]["annotations"][kForce].as_string() == "true"; }

std::string join(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& n : names) out += (out.empty() ? "\"" : ", \"") + n + "\"";
  return out;
}

// The pipeline puts the object's name before it, as it does for the causes of every plugin.
Error invalid_field(const char* field, const std::string& value, const std::string& why) {
  const std::string message = "Invalid value: " + json::quote(value) + ": " + why;
  const json::Value cause = json::Value::object({{"reason", "FieldValueInvalid"}, {"field", field}, {"message", message}});
  return Error(PINTLE_INVALID, std::string(field) + ": " + message, json::Value::object({{"causes", json::Value::array({cause})}}));
}

// What a Plugin's dependents would lose.
Error needed(const std::string& name, const std::string& text) {
  const json::Value details = json::Value::object({{"name", name}, {"group", "pintle.dev"}, {"kind", "plugins"}});
  return Error(PINTLE_CONFLICT, "Operation cannot be fulfilled on plugins.pintle.dev \"" + name + "\": " + text, json::Value::object({{"details", details}}));
}

}  // namespace

void PluginsController::hook(uint32_t method, std::string request, std::function<void(Result<std::string>)> done) {
  const json::Value v = json::parse_or_null(request);
  Result<std::string> r = Error(PINTLE_UNSUPPORTED, "the kernel's kinds have no such hook");
  if (method == kPrepare) r = prepare_hook(v);
  if (method == kDelete) r = delete_hook(v);
  services_.executor.post([done = std::move(done), r = std::move(r)] { done(r); });
}

// Plugins and slots that would be left without what only `name` gives them.
std::vector<std::string> PluginsController::dependents_of(const std::string& name) const {
  std::lock_guard lock(seen_mutex_);
  std::map<std::string, GraphNode> nodes = seen_.enabled;
  std::vector<std::string> out = dependents(nodes, name);
  for (const auto& [slot, who] : seen_.candidates) {
    const auto required = seen_.required_slots.find(slot);
    if (required == seen_.required_slots.end() || !required->second) continue;
    if (who.size() == 1 && who.front() == name) out.push_back("slot " + slot);
  }
  return out;
}

Result<std::string> PluginsController::prepare_hook(const json::Value& request) const {
  const json::Value& object = request["object"];
  const json::Value& old = request["old"];
  const std::string name(object["metadata"]["name"].as_string());
  if (request["subresource"].as_string() != "") return std::string("{}");
  if (request["kind"].as_string() == kPluginKind) {
    // The configuration file's word is not asked for permission.
    const bool ends = old.is_object() && old.at("spec.enabled").as_bool(true) && !object.at("spec.enabled").as_bool(true);
    if (ends && forced(object)) {
      // Good for this once: it must not force what somebody does next month.
      json::Value next = object;
      next.make("metadata.annotations").erase(kForce);
      return json::Value::object({{"object", std::move(next)}}).dump();
    }
    if (ends && request["user"].as_string() != kernel_identity().user) {
      const auto who = dependents_of(name);
      if (!who.empty())
        return needed(name, "plugin \"" + name + "\" cannot be disabled: " + join(who) + " need it; disable them first or set the annotation pintle.dev/force to \"true\"");
    }
    return std::string("{}");
  }
  const std::string provider(object.at("spec.provider").as_string());
  if (provider.empty() || provider == old.at("spec.provider").as_string()) return std::string("{}");
  std::vector<std::string> candidates;
  {
    std::lock_guard lock(seen_mutex_);
    if (const auto at = seen_.candidates.find(name); at != seen_.candidates.end()) candidates = at->second;
  }
  if (std::find(candidates.begin(), candidates.end(), provider) == candidates.end())
    return invalid_field("spec.provider", provider, "plugin \"" + provider + "\" is not enabled or cannot hold slot \"" + name + "\"; " +
                                                        (candidates.empty() ? std::string("no enabled plugin can") : "these can: " + join(candidates)));
  return std::string("{}");
}

Result<std::string> PluginsController::delete_hook(const json::Value& request) const {
  const json::Value& object = request["object"];
  const std::string name(object["metadata"]["name"].as_string());
  if (request["kind"].as_string() == kPluginKind && object.at("spec.enabled").as_bool(true) && !forced(object)) {
    const auto who = dependents_of(name);
    if (!who.empty())
      return needed(name, "plugin \"" + name + "\" cannot be deleted: " + join(who) + " need it; delete them first or set the annotation pintle.dev/force to \"true\"");
  }
  json::Value answer = json::Value::object({{"action", "immediate"}});
  if (request["kind"].as_string() == kPluginKind && object.at("spec.enabled").as_bool(true))
    answer.set("warnings", json::Value::array({"plugin \"" + name + "\" is disabled by this and stays so, also after a restart; enable it with: kubectl patch plugin " + name +
                                               " --type=merge -p '{\"spec\":{\"enabled\":true}}'"}));
  return answer.dump();
}

}  // namespace pintle::kernel

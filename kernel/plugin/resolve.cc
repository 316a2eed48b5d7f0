// PluginsController: from objects and files to who shall run and hold what.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "kernel/base/log.h"
#include "kernel/plugin/host_services.h"
#include "kernel/plugin/plugins_controller.h"
#include "pintle/if/controller.h"
#include "pintle/if/http.h"
#include "pintle/if/resource.h"

namespace pintle::kernel {
namespace {

constexpr const char* kGoesOn = "NotApplied";

}  // namespace

// From objects and files to a plan.
void PluginsController::resolve() {
  std::map<std::string, json::Value> configs;
  const std::map<std::string, GraphNode> nodes = look_at_files(configs);
  plan_ = plan(nodes, PluginHost::interfaces());
  candidates_.clear();
  for (const auto& name : plan_.order) {
    const Unit& u = units_.at(name);
    const bool goes_on = u.problem.code != PINTLE_OK;
    const Manifest& m = goes_on ? *u.current->manifest : *u.file.manifest;
    for (auto& slot : m.slots_for(goes_on ? json::parse_or_null(u.current->config) : configs[name])) candidates_[slot].push_back(name);
  }
  choose_holders();
  for (const auto& name : plan_.order) register_kinds(units_.at(name));
  for (auto& [name, u] : units_)
    if (!plan_.refused.count(name) && !nodes.count(name) && u.file.manifest) register_kinds(u);
  for (auto& [name, u] : units_) {
    if (u.current) tell_problem(u);
    else if (!u.starting) show_plan(u);
  }
}

// What can be started, by object name; what cannot is Unit::problem. A plugin that runs stays, though what it is asked for now could not be started.
std::map<std::string, GraphNode> PluginsController::look_at_files(std::map<std::string, json::Value>& configs) {
  const auto files = inventory_.by_name();
  std::map<std::string, GraphNode> nodes;
  std::map<std::string, std::string> first_instance;
  for (auto& [name, u] : units_) {
    find_file(u, files);
    u.problem = check(u, configs);
    const Manifest* m = u.problem.code == PINTLE_OK ? u.file.manifest.get() : u.current ? u.current->manifest.get() : nullptr;
    if (!m || !u.exists || !u.enabled) continue;
    if (!m->multiple) {
      const auto [at, fresh] = first_instance.emplace(m->name, name);
      if (!fresh) {
        u.problem = Error(PINTLE_INVALID, "plugin \"" + m->name + "\" does not allow several instances; \"" + at->second + "\" is one");
        continue;
      }
    }
    nodes[name] = {m->provides, m->requirements, m->needs, m->after};
  }
  // `needs` names manifests; a plugin with another object name answers for its manifest's.
  for (const auto& [manifest, object] : first_instance)
    if (manifest != object) {
      for (auto& [name, node] : nodes) {
        std::replace(node.needs.begin(), node.needs.end(), manifest, object);
        std::replace(node.after.begin(), node.after.end(), manifest, object);
      }
      calls_.set_alias(manifest, object);
    }
  return nodes;
}

void PluginsController::find_file(Unit& u, const std::map<std::string, PluginFile>& files) {
  const std::string& wanted = u.plugin.empty() ? u.name : u.plugin;
  if (!u.path.empty()) {
    if (u.file.path != u.path || !u.file.manifest) u.file = inspect_file(u.path);
  } else if (const auto at = files.find(wanted); at != files.end()) {
    u.file = at->second;
  } else if (!u.current) {
    const std::string before = std::exchange(u.file, {}).path;
    std::string searched;
    for (const auto& d : config_.plugin_directories) searched += (searched.empty() ? "" : ", ") + d;
    u.file.error = Error(PINTLE_NOT_FOUND, "no file with a plugin called \"" + wanted + "\" in " + (searched.empty() ? "any directory: none is configured" : searched));
    for (const auto& bad : inventory_.refused())
      if (bad.path == before || object_name(bad) == wanted) {
        u.file.error = bad.error;
        u.file.path = bad.path;
      }
  }
  if (u.file.manifest && u.judged != u.file.path) {
    u.judged = u.file.path;
    u.shipped = came_with_us(u.judged);
  }
}

// Code OK: it could be started, with configs[its name].
Error PluginsController::check(Unit& u, std::map<std::string, json::Value>& configs) {
  if (!u.file.manifest) return u.file.error;
  const Manifest& m = *u.file.manifest;
  const std::string& wanted = u.plugin.empty() ? u.name : u.plugin;
  if (!u.path.empty() && m.name != wanted) return Error(PINTLE_INVALID, "\"" + u.path + "\" is plugin \"" + m.name + "\", not \"" + wanted + "\"");
  auto checked = apply_schema(m.config_schema, u.config, "plugins." + u.name + ".config", u.source == "file" && !u.drift ? config_.locate : Locate());
  if (!checked) return checked.error();
  configs[u.name] = *checked;
  u.config_text = checked->dump();
  if (own_process(u) ? !m.may_run_in_own_process : !m.may_run_in_process) {
    if (!u.isolation.empty() || u.shipped) return Error(PINTLE_INVALID, "its manifest does not allow isolation " + u.isolation);
    return Error(PINTLE_INVALID, "it did not come with this server, so it runs in a process of its own, which its manifest does not allow; set spec.isolation to "
                                 "in-process to trust it");
  }
  *u.level = u.log_level.empty() ? log::level() : log::parse_level(u.log_level);
  return Error(PINTLE_OK, "");
}

void PluginsController::choose_holders() {
  // The file's order decides between plugins that could all hold a slot.
  const auto rank = [&](const std::string& name) {
    const auto at = std::find_if(config_.plugins.begin(), config_.plugins.end(), [&](const PluginEntry& e) { return e.name == name; });
    return at - config_.plugins.begin();
  };
  wanted_.clear();
  for (auto& [slot, who] : candidates_) {
    std::stable_sort(who.begin(), who.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
    auto object = slot_objects_.find(slot);
    std::string provider = object == slot_objects_.end() ? "" : object->second.provider;
    if (provider.empty()) {
      const auto chosen = config_.slots.find(slot);
      provider = chosen != config_.slots.end() ? chosen->second : who.front();
      if (std::find(who.begin(), who.end(), provider) == who.end()) provider = who.front();
    }
    std::string message;
    if (std::find(who.begin(), who.end(), provider) == who.end()) {
      message = "plugin \"" + provider + "\" is not enabled, cannot start or cannot hold this slot";
      provider.clear();
    }
    // A newcomer that fails does not cost the old holder its slot.
    const std::string holder = services_.slots->info(slot).provider;
    if (holder != provider && std::find(who.begin(), who.end(), holder) != who.end()) {
      const bool hopeless = provider.empty() || (!units_.at(provider).current && !can_try(units_.at(provider)));
      if (hopeless && units_.at(holder).current) {
        if (!provider.empty()) message = "plugin \"" + provider + "\" failed: " + units_.at(provider).last_error + "; \"" + holder + "\" goes on";
        provider = holder;
      }
    }
    if (object != slot_objects_.end()) object->second.message = message;
    wanted_[slot] = provider;
  }
}

void PluginsController::show_plan(Unit& u) {
  if (u.without) return show(u, PluginState::kSkipped, "Without", "left out on the command line of this run");
  if (!u.exists || !u.enabled) {
    if (u.state == PluginState::kFound || u.state == PluginState::kSkipped || u.state == PluginState::kInspected || u.state == PluginState::kFailed)
      show(u, u.problem.code == PINTLE_OK ? PluginState::kFound : PluginState::kFailed, u.problem.code == PINTLE_OK ? "Disabled" : "Invalid", u.problem.text);
    else u.reason = "Disabled";
  } else if (u.problem.code != PINTLE_OK) {
    u.last_error = u.problem.text;
    show(u, PluginState::kFailed, u.problem.code == PINTLE_NOT_FOUND ? "NotFound" : "Invalid", u.problem.text);
  } else if (const auto refused = plan_.refused.find(u.name); refused != plan_.refused.end()) {
    u.last_error = refused->second;
    show(u, PluginState::kFailed, "Dependency", refused->second);
  } else if (!should_run(u)) {
    show(u, PluginState::kSkipped, "Standby", "another plugin holds its slots");
  } else if (u.failed_for.empty() && u.retry_at == 0) {
    show(u, PluginState::kInspected, "", "");
  }
}

// Of a plugin that runs: what it is asked for now could not be started.
void PluginsController::tell_problem(Unit& u) {
  std::string why;
  if (u.exists && u.enabled) {
    const auto refused = plan_.refused.find(u.name);
    why = u.problem.code != PINTLE_OK ? u.problem.text : refused != plan_.refused.end() ? refused->second : "";
  }
  if (why.empty()) {
    if (u.reason == kGoesOn) u.reason.clear(), u.message.clear();
    return;
  }
  const std::string text = why + "; what runs goes on as it was";
  if (u.reason == kGoesOn && u.message == text) return;
  u.reason = kGoesOn;
  u.message = text;
  u.last_error = why;
  log::error("plugin", "\"" + u.name + "\": " + text);
  events_.record("Plugin", u.name, u.uid, true, kGoesOn, text);
}

void PluginsController::register_kinds(Unit& u) {
  if (!u.file.manifest) return;  // of one that runs on though its file is gone
  const Manifest& m = *u.file.manifest;
  Registry& registry = services_.pipeline.registry();
  // New kinds come with new code: not before it runs.
  const bool known = registered_.count(m.name);
  if (known && (registered_[m.name] == u.file.digest || (u.current && u.current->digest != u.file.digest))) return;
  if (m.document["kinds"].empty() && m.document["types"].empty()) {
    registered_[m.name] = u.file.digest;
    return;
  }
  const bool wanted = u.exists && u.enabled;
  auto r = registry.add(m.name, m.document);
  if (!r) {
    if (wanted) {
      u.problem = r.error();
      u.failed_for = u.fingerprint();
      u.last_error = r.error().text;
      show(u, PluginState::kFailed, "Kinds", r.error().text);
    }
    return;
  }
  registered_[m.name] = u.file.digest;
  registry.set_hidden(m.name, !wanted);
  registry.set_available(m.name, u.current != nullptr);
}

bool PluginsController::should_run(const Unit& u) const {
  if (!u.exists || !u.enabled || u.problem.code != PINTLE_OK || !u.file.manifest) return false;
  if (std::find(plan_.order.begin(), plan_.order.end(), u.name) == plan_.order.end()) return false;
  const Manifest& m = *u.file.manifest;
  // The kernel itself calls these by the plugin's name.
  if (m.slots.empty() || m.provides_interface(PINTLE_CONTROLLER) || m.provides_interface(PINTLE_RESOURCE) || m.provides_interface(PINTLE_HTTP)) return true;
  return std::any_of(wanted_.begin(), wanted_.end(), [&](const auto& w) { return w.second == u.name; });
}

bool PluginsController::can_try(const Unit& u) const {
  const std::string now = u.fingerprint();
  return u.failed_for != now && (u.retry_at <= services_.executor.now() || u.tried_for != now);
}

bool PluginsController::came_with_us(const std::string& path) const {
  if (!config_.shipped_directories) return true;
  namespace fs = std::filesystem;
  std::error_code code;
  const fs::path here = fs::weakly_canonical(path, code).parent_path();
  return std::any_of(config_.shipped_directories->begin(), config_.shipped_directories->end(),
                     [&](const std::string& d) { return fs::weakly_canonical(d, code) == here; });
}

bool PluginsController::own_process(const Unit& u) const {
  if (!u.isolation.empty()) return u.isolation == "process";
  return u.file.manifest->default_own_process || !u.shipped;
}

std::vector<std::string> PluginsController::slots_for(const std::string& name) const {
  std::vector<std::string> out;
  for (const auto& [slot, who] : wanted_)
    if (who == name) out.push_back(slot);
  out.push_back("plugin." + name);
  return out;
}

}  // namespace pintle::kernel

#include "kernel/plugin/manifest.h"

#include <algorithm>

#include "pintle/abi.h"

namespace pintle::kernel {
namespace {

std::vector<std::string> texts_of(const json::Value& list) {
  std::vector<std::string> out;
  for (const auto& v : list.items()) out.emplace_back(v.as_string());
  return out;
}

bool contains(const std::vector<std::string>& list, std::string_view what) {
  return std::any_of(list.begin(), list.end(), [&](const std::string& s) { return s == "*" || s == what; });
}

bool good_name(std::string_view name) {
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

const char* kKnown[] = {"name", "version", "description", "license", "provides", "slots", "multiple", "requires", "optional", "after",
                        "needs", "isolation", "threads", "unload", "config", "permissions", "types", "kinds", "abi", "draft"};

}  // namespace

Result<std::shared_ptr<const Manifest>> Manifest::parse(std::string_view text) {
  json::ParseResult parsed = json::parse(text);
  if (!parsed || !parsed.value.is_object()) return Error(PINTLE_INVALID, "the manifest is not a JSON object: " + parsed.error);
  auto m = std::make_shared<Manifest>();
  const json::Value& v = m->document = std::move(parsed.value);
  m->name = v["name"].as_string();
  m->version = v["version"].as_string();
  if (!good_name(m->name)) return Error(PINTLE_INVALID, "the manifest's name \"" + m->name + "\" is not made of a-z, 0-9 and -");
  const auto bad = [&](const std::string& why) { return Error(PINTLE_INVALID, "manifest of \"" + m->name + "\": " + why); };
  if (m->version.empty()) return bad("version is missing");
  for (const auto& member : v.members())
    if (std::find_if(std::begin(kKnown), std::end(kKnown), [&](const char* k) { return member.key == k; }) == std::end(kKnown))
      return bad("unknown member \"" + member.key + "\"");
  m->abi = v["abi"].as_string();
  m->draft = v["draft"].as_string();
  const std::string major = std::to_string(PINTLE_ABI_MAJOR) + ".";
  if (m->abi.rfind(major, 0) != 0)
    return bad("built for ABI " + (m->abi.empty() ? "(unknown)" : m->abi) + ", this kernel speaks ABI " + major + std::to_string(PINTLE_ABI_MINOR));
  if (m->draft != PINTLE_DRAFT)
    return bad("built for draft \"" + m->draft + "\", this kernel speaks draft \"" PINTLE_DRAFT "\"");
  m->description = v["description"].as_string();
  m->license = v["license"].as_string();
  m->provides = texts_of(v["provides"]);
  m->slots = texts_of(v["slots"]);
  m->requirements = texts_of(v["requires"]);
  m->after = texts_of(v["after"]);
  m->needs = texts_of(v["needs"]);
  m->multiple = v["multiple"].as_bool();
  if (const auto& isolation = v["isolation"]; isolation.is_object()) {
    const auto allowed = texts_of(isolation["allowed"]);
    if (!allowed.empty()) {
      m->may_run_in_process = contains(allowed, "in-process");
      m->may_run_in_own_process = contains(allowed, "process");
    }
    const std::string_view preferred = isolation["default"].as_string(m->may_run_in_process ? "in-process" : "process");
    if (preferred != "in-process" && preferred != "process") return bad("isolation.default is neither in-process nor process");
    m->default_own_process = preferred == "process";
    if (m->default_own_process ? !m->may_run_in_own_process : !m->may_run_in_process)
      return bad("isolation.default is not in isolation.allowed");
  }
  const std::string_view threads = v["threads"].as_string("host"), unload = v["unload"].as_string("allowed");
  if (threads != "host" && threads != "own") return bad("threads is neither host nor own");
  if (unload != "allowed" && unload != "never") return bad("unload is neither allowed nor never");
  m->own_threads = threads == "own";
  m->may_unload = unload == "allowed" && !m->own_threads;
  m->config_schema = v["config"];
  for (const auto& p : v["permissions"].items()) {
    Permission permission{texts_of(p["kinds"]), texts_of(p["verbs"]), {}};
    if (permission.kinds.empty()) return bad("a permission names no kinds");
    for (const auto& s : p["subresources"].members()) permission.subresources.emplace_back(s.key, texts_of(s.value));
    m->permissions.push_back(std::move(permission));
  }
  return std::shared_ptr<const Manifest>(std::move(m));
}

bool Manifest::provides_interface(std::string_view id) const {
  return std::find(provides.begin(), provides.end(), id) != provides.end();
}

bool Manifest::permits(std::string_view kind, std::string_view subresource, std::string_view verb) const {
  for (const auto& p : permissions) {
    if (!contains(p.kinds, kind)) continue;
    if (subresource.empty()) {
      if (contains(p.verbs, verb)) return true;
      continue;
    }
    for (const auto& [sub, allowed] : p.subresources)
      if ((sub == "*" || sub == subresource) && contains(allowed, verb)) return true;
  }
  return false;
}

std::vector<std::string> Manifest::slots_for(const json::Value& config) const {
  std::vector<std::string> out;
  for (const auto& pattern : slots) {
    const size_t open = pattern.find("{config."), close = pattern.find('}', open == std::string::npos ? 0 : open);
    if (open == std::string::npos || close == std::string::npos) {
      out.push_back(pattern);
      continue;
    }
    const json::Value& value = config.at(pattern.substr(open + 8, close - open - 8));
    const auto put = [&](std::string_view text) {
      if (!text.empty()) out.push_back(pattern.substr(0, open) + std::string(text) + pattern.substr(close + 1));
    };
    if (value.is_array())
      for (const auto& item : value.items()) put(item.is_object() ? item["name"].as_string() : item.as_string());
    else if (value.is_int()) put(std::to_string(value.as_int()));
    else put(value.as_string());
  }
  return out;
}

}  // namespace pintle::kernel

#include <algorithm>
#include <mutex>

#include "kernel/api/schema/kind_manifest.h"

namespace pintle::kernel {
namespace {

// Clients list groups in this order and take the first one that knows a short name: the core group, then groups
// without a domain, then those of k8s.io, then everybody else's.
int priority(const Kind& k) {
  if (k.group.empty()) return 0;
  if (k.group.find('.') == std::string::npos) return 1;
  const std::string_view g = k.group;
  return g.size() > 7 && g.substr(g.size() - 7) == ".k8s.io" ? 2 : 3;
}

}  // namespace

struct Registry::State {
  mutable std::mutex mutex;  // guards `current`
  std::mutex writing;        // serialises writers
  std::shared_ptr<const RegistrySnapshot> current = std::make_shared<RegistrySnapshot>();
  std::vector<std::function<void()>> listeners;

  std::shared_ptr<const RegistrySnapshot> get() const {
    const std::lock_guard lock(mutex);
    return current;
  }

  void swap(std::shared_ptr<RegistrySnapshot> next) {
    std::vector<std::function<void()>> call;
    {
      const std::lock_guard lock(mutex);
      next->generation = current->generation + 1;
      current = std::move(next);
      call = listeners;
    }
    for (const auto& fn : call) fn();
  }

  // Changes the kinds of one plugin; no swap when there is nothing to change.
  void change(const std::string& plugin, bool Kind::*flag, bool value) {
    const std::lock_guard lock(writing);
    auto next = std::make_shared<RegistrySnapshot>(*get());
    bool changed = false;
    for (auto& k : next->kinds) {
      if (k->owner != plugin || (*k).*flag == value) continue;
      auto copy = std::make_shared<Kind>(*k);
      (*copy).*flag = value;
      k = std::move(copy);
      changed = true;
    }
    if (changed) swap(std::move(next));
  }
};

Registry::Registry() : state_(std::make_shared<State>()) {}

std::shared_ptr<const RegistrySnapshot> Registry::snapshot() const { return state_->get(); }

Result<void> Registry::add(const std::string& plugin, const json::Value& manifest) {
  const std::lock_guard lock(state_->writing);
  auto next = std::make_shared<RegistrySnapshot>(*state_->get());
  const auto refuse = [&](const std::string& text) { return Error(PINTLE_INVALID, "manifest of plugin \"" + plugin + "\": " + text); };
  if (auto r = next->types.add(plugin, manifest["types"]); !r) return refuse(r.error().text);
  if (auto r = next->types.resolve(); !r) return refuse(r.error().text);
  std::erase_if(next->kinds, [&](const auto& k) { return k->owner == plugin; });
  if (!manifest["kinds"].is_null() && !manifest["kinds"].is_array()) return refuse("kinds: must be a list");
  for (const json::Value& v : manifest["kinds"].items()) {
    auto kind = parse_kind(plugin, v, next->types);
    if (!kind) return refuse(kind.error().text);
    for (const auto& other : next->kinds) {
      if (other->group != kind->group || (other->plural != kind->plural && other->kind != kind->kind)) continue;
      return refuse("kind " + kind->kind + ": " + other->name() + " is there already, from plugin \"" + other->owner + "\"");
    }
    next->kinds.push_back(std::make_shared<const Kind>(std::move(*kind)));
  }
  // Kinds of one group stay together, groups of one priority in the order of their first kind.
  std::vector<std::string> groups;
  for (const auto& k : next->kinds)
    if (std::find(groups.begin(), groups.end(), k->group) == groups.end()) groups.push_back(k->group);
  const auto place = [&](const Kind& k) {
    return std::pair(priority(k), std::find(groups.begin(), groups.end(), k.group) - groups.begin());
  };
  std::stable_sort(next->kinds.begin(), next->kinds.end(), [&](const auto& a, const auto& b) { return place(*a) < place(*b); });
  state_->swap(std::move(next));
  return {};
}

void Registry::set_hidden(const std::string& plugin, bool hidden) { state_->change(plugin, &Kind::hidden, hidden); }
void Registry::set_available(const std::string& plugin, bool available) { state_->change(plugin, &Kind::available, available); }

void Registry::on_change(std::function<void()> fn) {
  const std::lock_guard lock(state_->mutex);
  state_->listeners.push_back(std::move(fn));
}

}  // namespace pintle::kernel

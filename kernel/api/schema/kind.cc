#include "kernel/api/schema/kind.h"

#include <algorithm>

namespace pintle::kernel {

const Version& Kind::storage() const {
  for (const Version& v : versions)
    if (v.storage) return v;
  return versions.front();
}

const Version* Kind::version(std::string_view v) const {
  for (const Version& x : versions)
    if (x.name == v) return &x;
  return nullptr;
}

const Subresource* Kind::subresource(std::string_view name_wanted) const {
  for (const Subresource& s : subresources)
    if (s.name == name_wanted) return &s;
  return nullptr;
}

std::shared_ptr<const Kind> RegistrySnapshot::find(std::string_view group, std::string_view version,
                                                   std::string_view plural) const {
  for (const auto& k : kinds) {
    if (k->hidden || k->plural != plural || k->group != group) continue;
    const Version* v = k->version(version);
    if (v && v->served) return k;
  }
  return nullptr;
}

std::shared_ptr<const Kind> RegistrySnapshot::find_kind(std::string_view group, std::string_view kind) const {
  for (const auto& k : kinds)
    if (!k->hidden && k->kind == kind && k->group == group) return k;
  return nullptr;
}

std::shared_ptr<const Kind> RegistrySnapshot::by_name(std::string_view storage_name) const {
  const size_t dot = storage_name.find('.');
  const std::string_view plural = storage_name.substr(0, dot);
  const std::string_view group = dot == std::string_view::npos ? std::string_view() : storage_name.substr(dot + 1);
  for (const auto& k : kinds)
    if (k->plural == plural && k->group == group) return k;
  return nullptr;
}

namespace {

// Kubernetes' name of a type: "api.policy.v1.Eviction".
std::string published_name(std::string_view group, std::string_view version, std::string_view kind) {
  const std::string folder(group.empty() ? "core" : group.substr(0, group.find('.')));
  return "api." + folder + "." + std::string(version) + "." + std::string(kind);
}

}  // namespace

TypeId RegistrySnapshot::body_type(const Kind& kind, const Version& version, const Subresource& s) const {
  if (!s.type.empty()) return types.find(s.type);
  const bool own_group = s.kind_version.empty();
  if (s.kind_name.empty() || (s.kind_name == kind.kind && own_group)) return version.type;
  return own_group ? types.find(published_name(kind.group, version.name, s.kind_name))
                   : types.find(published_name(s.kind_group, s.kind_version, s.kind_name));
}

TypeId RegistrySnapshot::body_type(std::string_view group, std::string_view version, std::string_view kind) const {
  if (const auto k = find_kind(group, kind))
    if (const Version* v = k->version(version)) return v->type;
  for (const auto& k : kinds) {
    for (const Subresource& s : k->subresources) {
      if (s.kind_name != kind || s.type.empty()) continue;
      const bool own_group = s.kind_version.empty();
      if ((own_group ? k->group : s.kind_group) == group && (own_group ? k->version(version) != nullptr : s.kind_version == version))
        return types.find(s.type);
    }
  }
  if (const TypeId id = types.find(published_name(group, version, kind)); id != kNoType) return id;
  return types.find("apimachinery.pkg.apis.meta.v1." + std::string(kind));
}

}  // namespace pintle::kernel

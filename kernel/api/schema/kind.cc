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

}  // namespace pintle::kernel

#include <algorithm>

#include "kernel/api/schema/base64.h"
#include "kernel/api/schema/codec.h"

namespace pintle::kernel {
namespace {

using json::Value;

constexpr const char* kAllVerbs[] = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};

Value list_of(const std::vector<std::string>& strings) {
  Value v = Value::array();
  for (const std::string& s : strings) v.push(s);
  return v;
}

Value verbs_of(const Kind& k) {
  if (!k.verbs.empty()) {
    std::vector<std::string> sorted = k.verbs;
    std::sort(sorted.begin(), sorted.end());
    return list_of(sorted);
  }
  Value v = Value::array();
  for (const char* verb : kAllVerbs) v.push(verb);
  return v;
}

Value verbs_of(const Subresource& s) {
  std::vector<std::string> sorted = s.verbs;
  std::sort(sorted.begin(), sorted.end());
  return list_of(sorted);
}

std::string group_version(std::string_view group, std::string_view version) {
  return group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version);
}

// Stable short text that changes with the storage version; clients only compare it.
std::string storage_hash(const Kind& k) {
  uint64_t h = 14695981039346656037ull;
  for (const char c : k.group + "/" + k.storage().name + "/" + k.kind) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(h >> (8 * i));
  return encode_base64(bytes);
}

// Kubernetes' order of versions: v2, v1, v1beta2, v1alpha1; anything else behind, by name.
struct VersionRank {
  int stage = 0;  // 3 stable, 2 beta, 1 alpha, 0 none of them
  int major = 0, minor = 0;
};

VersionRank rank_of(const std::string& v) {
  VersionRank r;
  size_t i = 1;
  const auto number = [&](int& out) {
    const size_t start = i;
    for (; i < v.size() && i < start + 6 && v[i] >= '0' && v[i] <= '9'; ++i) out = out * 10 + (v[i] - '0');
    return i > start;
  };
  if (v.empty() || v[0] != 'v' || !number(r.major)) return {};
  if (i == v.size()) {
    r.stage = 3;
    return r;
  }
  r.stage = v.compare(i, 4, "beta") == 0 ? 2 : v.compare(i, 5, "alpha") == 0 ? 1 : 0;
  i += r.stage == 2 ? 4 : 5;
  if (r.stage == 0 || i > v.size() || !number(r.minor) || i != v.size()) return {};
  return r;
}

bool better(const std::string& a, const std::string& b) {
  const VersionRank x = rank_of(a), y = rank_of(b);
  if (x.stage != y.stage) return x.stage > y.stage;
  if (x.stage == 0) return a < b;
  return x.major != y.major ? x.major > y.major : x.minor > y.minor;
}

struct Group {
  std::string name;
  std::vector<std::string> versions;  // best first
};

// Groups that serve anything, in the registry's order.
std::vector<Group> groups_of(const RegistrySnapshot& registry) {
  std::vector<Group> groups;
  for (const auto& k : registry.kinds) {
    if (k->hidden) continue;
    for (const Version& v : k->versions) {
      if (!v.served) continue;
      auto g = std::find_if(groups.begin(), groups.end(), [&](const Group& x) { return x.name == k->group; });
      if (g == groups.end()) g = groups.insert(groups.end(), Group{k->group, {}});
      if (std::find(g->versions.begin(), g->versions.end(), v.name) == g->versions.end()) g->versions.push_back(v.name);
    }
  }
  for (Group& g : groups) std::stable_sort(g.versions.begin(), g.versions.end(), better);
  return groups;
}

Value group_object(const Group& g) {
  Value versions = Value::array();
  for (const std::string& v : g.versions) versions.push(Value::object({{"groupVersion", group_version(g.name, v)}, {"version", v}}));
  Value preferred = versions[0];
  return Value::object({{"name", g.name}, {"versions", std::move(versions)}, {"preferredVersion", std::move(preferred)}});
}

bool serves(const Kind& k, std::string_view group, std::string_view version) {
  if (k.hidden || k.group != group) return false;
  const Version* v = k.version(version);
  return v && v->served;
}

struct BodyKind {
  std::string group, version, kind;
};

BodyKind body_of(const Kind& k, const Subresource& s, std::string_view version) {
  if (s.kind_name.empty()) return {k.group, std::string(version), k.kind};
  if (s.kind_version.empty()) return {k.group, std::string(version), s.kind_name};
  return {s.kind_group, s.kind_version, s.kind_name};
}

Value aggregated_resource(const Kind& k, const std::string& version) {
  Value r = Value::object({{"resource", k.plural},
                           {"responseKind", Value::object({{"group", k.group}, {"version", version}, {"kind", k.kind}})},
                           {"scope", k.namespaced ? "Namespaced" : "Cluster"},
                           {"singularResource", k.singular},
                           {"verbs", verbs_of(k)}});
  if (!k.short_names.empty()) r.set("shortNames", list_of(k.short_names));
  if (!k.categories.empty()) r.set("categories", list_of(k.categories));
  Value subs = Value::array();
  for (const Subresource& s : k.subresources) {
    const BodyKind body = body_of(k, s, version);
    subs.push(Value::object({{"subresource", s.name},
                             {"responseKind", Value::object({{"group", body.group}, {"version", body.version}, {"kind", body.kind}})},
                             {"verbs", verbs_of(s)}}));
  }
  if (!subs.empty()) r.set("subresources", std::move(subs));
  return r;
}

}  // namespace

json::Value discovery_groups(const RegistrySnapshot& registry) {
  Value groups = Value::array();
  for (const Group& g : groups_of(registry))
    if (!g.name.empty()) groups.push(group_object(g));
  return Value::object({{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(groups)}});
}

json::Value discovery_resources(const RegistrySnapshot& registry, std::string_view group, std::string_view version) {
  Value resources = Value::array();
  bool any = false;
  for (const auto& k : registry.kinds) {
    if (!serves(*k, group, version)) continue;
    any = true;
    Value r = Value::object({{"name", k->plural}, {"singularName", k->singular}, {"namespaced", k->namespaced}, {"kind", k->kind}, {"verbs", verbs_of(*k)}});
    if (!k->short_names.empty()) r.set("shortNames", list_of(k->short_names));
    if (!k->categories.empty()) r.set("categories", list_of(k->categories));
    r.set("storageVersionHash", storage_hash(*k));
    resources.push(std::move(r));
    for (const Subresource& s : k->subresources) {
      const BodyKind body = body_of(*k, s, version);
      Value sub = Value::object({{"name", k->plural + "/" + s.name}, {"singularName", ""}, {"namespaced", k->namespaced}});
      if (body.group != group || body.version != version) {
        sub.set("group", body.group);
        sub.set("version", body.version);
      }
      sub.set("kind", body.kind);
      sub.set("verbs", verbs_of(s));
      resources.push(std::move(sub));
    }
  }
  if (!any) return {};
  return Value::object({{"kind", "APIResourceList"}, {"apiVersion", "v1"}, {"groupVersion", group_version(group, version)}, {"resources", std::move(resources)}});
}

json::Value discovery_aggregated(const RegistrySnapshot& registry, bool core) {
  Value items = Value::array();
  for (const Group& g : groups_of(registry)) {
    if (g.name.empty() != core) continue;
    Value versions = Value::array();
    for (const std::string& v : g.versions) {
      Value resources = Value::array();
      for (const auto& k : registry.kinds)
        if (serves(*k, g.name, v)) resources.push(aggregated_resource(*k, v));
      versions.push(Value::object({{"version", v}, {"resources", std::move(resources)}, {"freshness", "Current"}}));
    }
    Value metadata = Value::object({{"name", g.name}, {"creationTimestamp", Value()}});
    if (g.name.empty()) metadata.erase("name");
    items.push(Value::object({{"metadata", std::move(metadata)}, {"versions", std::move(versions)}}));
  }
  return Value::object({{"kind", "APIGroupDiscoveryList"}, {"apiVersion", "apidiscovery.k8s.io/v2"}, {"metadata", Value::object()}, {"items", std::move(items)}});
}

json::Value openapi_v3_index(const RegistrySnapshot& registry, const std::function<std::string(const std::string& path)>& hash) {
  Value paths = Value::object();
  for (const Group& g : groups_of(registry))
    for (const std::string& v : g.versions) {
      const std::string path = g.name.empty() ? "api/" + v : "apis/" + g.name + "/" + v;
      std::string url = "/openapi/v3/" + path;
      const std::string h = hash ? hash(path) : std::string();
      if (!h.empty()) url += "?hash=" + h;
      paths.set(path, Value::object({{"serverRelativeURL", url}}));
    }
  return Value::object({{"paths", std::move(paths)}});
}

}  // namespace pintle::kernel

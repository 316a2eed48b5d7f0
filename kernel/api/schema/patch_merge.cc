// RFC 7386.
#include <unordered_map>

#include "kernel/api/schema/decode.h"

namespace pintle::kernel {
namespace {

// What a patch becomes where the target has nothing: nulls say "remove" and leave no trace.
void drop_nulls(json::Value& v) {
  if (!v.is_object()) return;
  json::Object& members = v.make_object();
  std::erase_if(members, [](const json::Member& m) { return m.value.is_null(); });
  for (json::Member& m : members) drop_nulls(m.value);
}

void merge(json::Value& target, const json::Value& patch) {
  json::Object& members = target.make_object();
  // Both sides may hold very many keys: beyond a few an index replaces the search.
  const bool indexed = members.size() > 64 && patch.size() > 64;
  std::unordered_map<std::string, size_t> index;
  if (indexed)
    for (size_t i = 0; i < members.size(); ++i) index.emplace(members[i].key, i);
  bool removed = false;
  for (const json::Member& p : patch.members()) {
    json::Value* at = nullptr;
    if (indexed) {
      const auto it = index.find(p.key);
      if (it != index.end()) at = &members[it->second].value;
    } else {
      at = target.find(p.key);
    }
    if (p.value.is_null()) {
      if (at) {
        *at = json::Value();
        removed = true;
      }
    } else if (!at) {
      members.push_back({p.key, p.value});
      drop_nulls(members.back().value);
    } else if (p.value.is_object()) {
      if (at->is_object()) {
        merge(*at, p.value);
      } else {
        *at = p.value;
        drop_nulls(*at);
      }
    } else {
      *at = p.value;
    }
  }
  if (removed) std::erase_if(members, [](const json::Member& m) { return m.value.is_null(); });
}

}  // namespace

Result<void> merge_patch(json::Value& target, const json::Value& patch) {
  if (!patch.is_object()) return Error(PINTLE_BAD_REQUEST, "error decoding patch: a merge patch must be an object");
  if (depth_of(patch, kMaxDepth + 1) > kMaxDepth) return Error(PINTLE_BAD_REQUEST, "error decoding patch: nested deeper than 256 levels");
  merge(target, patch);
  return {};
}

}  // namespace pintle::kernel

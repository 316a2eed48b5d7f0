// Strategic merge patch: merges by the patch strategies that the types declare, steered by directives in the patch.
//
//   $patch: delete | replace | merge        in a map or in an element of a merged list
//   $retainKeys: [a, b]                     in a map: drop what is not listed
//   $deleteFromPrimitiveList/<field>: [x]   beside a merged list of scalars
//   $setElementOrder/<field>: [...]         beside a merged list: its order
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "kernel/api/schema/decode.h"

namespace pintle::kernel {
namespace {

constexpr std::string_view kPatch = "$patch", kRetainKeys = "$retainKeys", kDeletePrefix = "$deleteFromPrimitiveList/",
                           kOrderPrefix = "$setElementOrder/";

struct BadPatch {
  std::string text;
};

// What is known about the values of one field of an object, of one entry of a map.
struct Meta {
  const FieldType* field = nullptr;
  const TypeRef* type = nullptr;
  bool merges() const { return field && field->patch_strategy.find("merge") != std::string::npos; }
  bool replaces() const { return field && field->patch_strategy.find("replace") != std::string::npos; }
};

// Where the target has nothing, a patch is taken over without its directives and without its nulls.
json::Value plain(const json::Value& patch) {
  if (patch.is_array()) {
    json::Value out = json::Value::array();
    for (const json::Value& i : patch.items()) {
      if (i.is_object() && i.contains(kPatch) && i[kPatch].as_string() != "merge") continue;
      out.push(plain(i));
    }
    return out;
  }
  if (!patch.is_object()) return patch;
  json::Value out = json::Value::object();
  json::Object& members = out.make_object();
  for (const json::Member& m : patch.members()) {
    if (m.value.is_null() || m.key == kPatch || m.key == kRetainKeys || m.key.starts_with(kDeletePrefix) || m.key.starts_with(kOrderPrefix))
      continue;
    members.push_back({m.key, plain(m.value)});
  }
  return out;
}

class Merger {
 public:
  explicit Merger(const TypeTable& types) : types_(types) {}

  void object(json::Value& target, const json::Value& patch, const TypeRef* type) {
    if (const json::Value* directive = patch.find(kPatch)) {
      const std::string_view what = directive->as_string();
      if (what == "replace") {
        target = plain(patch);
        return;
      }
      if (what == "delete") {
        target = json::Value::object();
        return;
      }
      if (what != "merge") throw BadPatch{"Unknown patch type found: " + std::string(what)};
    }
    if (const json::Value* keep = patch.find(kRetainKeys)) retain(target, patch, *keep);
    std::vector<std::string_view> merged_with_order;
    for (const json::Member& m : patch.members())
      if (m.key.starts_with(kOrderPrefix)) ordered_list(target, patch, m, type, merged_with_order);
    for (const json::Member& m : patch.members()) {
      if (m.key == kPatch || m.key == kRetainKeys || m.key.starts_with(kOrderPrefix)) continue;
      if (std::find(merged_with_order.begin(), merged_with_order.end(), m.key) != merged_with_order.end()) continue;
      member(target, m, type);
    }
  }

 private:
  Meta meta_of(const TypeRef* type, std::string_view name) const {
    Meta meta;
    if (!type) return meta;
    if (type->shape == Shape::kMap) meta.type = type->item.get();
    if (type->shape != Shape::kObject) return meta;
    meta.field = types_.get(type->object).field(name);
    if (meta.field) meta.type = &meta.field->type;
    return meta;
  }

  static void retain(json::Value& target, const json::Value& patch, const json::Value& keep) {
    if (!keep.is_array()) throw BadPatch{"the value of $retainKeys must be a list"};
    const auto listed = [&](const std::string& key) {
      return std::any_of(keep.items().begin(), keep.items().end(), [&](const json::Value& k) { return k.as_string() == key; });
    };
    for (const json::Member& m : patch.members())
      if (m.key[0] != '$' && !m.value.is_null() && !listed(m.key))
        throw BadPatch{"$retainKeys must contain all fields present in the patch: \"" + m.key + "\" is missing"};
    std::erase_if(target.make_object(), [&](const json::Member& m) { return !listed(m.key); });
  }

  void member(json::Value& target, const json::Member& m, const TypeRef* type) {
    const bool deletes = m.key.starts_with(kDeletePrefix);
    const std::string_view name = deletes ? std::string_view(m.key).substr(kDeletePrefix.size()) : std::string_view(m.key);
    if (m.value.is_null()) {
      target.erase(name);
      return;
    }
    json::Value* at = target.find(name);
    if (deletes) {
      if (!m.value.is_array()) throw BadPatch{"the value of " + m.key + " must be a list"};
      if (at && at->is_array()) erase_items(*at, m.value);
      return;
    }
    const Meta meta = meta_of(type, name);
    if (!at || at->type() != m.value.type()) {
      target.set(name, plain(m.value));
    } else if (m.value.is_object()) {
      if (meta.replaces() && !m.value.contains(kPatch)) *at = plain(m.value);
      else object(*at, m.value, meta.type);
    } else if (m.value.is_array()) {
      list(*at, m.value, meta, name);
    } else {
      *at = m.value;
    }
  }

  static void erase_items(json::Value& list, const json::Value& gone) {
    std::unordered_set<std::string> texts;
    for (const json::Value& g : gone.items()) texts.insert(g.dump());
    std::erase_if(list.make_array(), [&](const json::Value& v) { return texts.count(v.dump()) != 0; });
  }

  void list(json::Value& target, const json::Value& patch, const Meta& meta, std::string_view name) {
    if (!meta.merges()) {
      target = plain(patch);
      return;
    }
    const bool maps = (!patch.empty() && patch[0].is_object()) || (!target.empty() && target[0].is_object());
    if (!maps) {
      std::unordered_set<std::string> there;
      for (const json::Value& v : target.items()) there.insert(v.dump());
      for (const json::Value& v : patch.items())
        if (there.insert(v.dump()).second) target.push(v);
      return;
    }
    if (meta.field->patch_merge_key.empty()) throw BadPatch{"cannot merge lists without merge key for " + std::string(name)};
    keyed_list(target, patch, meta);
  }

  static std::string key_of(const json::Value& item, const std::string& merge_key) {
    const json::Value* k = item.find(merge_key);
    if (!item.is_object() || !k || k->is_null())
      throw BadPatch{"map: " + item.dump() + " does not contain declared merge key: " + merge_key};
    return k->dump();
  }

  void keyed_list(json::Value& target, const json::Value& patch, const Meta& meta) {
    const std::string& merge_key = meta.field->patch_merge_key;
    std::unordered_set<std::string> deleted;
    bool replace = false;
    for (const json::Value& p : patch.items()) {
      const json::Value* directive = p.find(kPatch);
      if (!directive) continue;
      const std::string_view what = directive->as_string();
      if (what == "delete") deleted.insert(key_of(p, merge_key));
      else if (what == "replace") replace = true;
      else if (what != "merge") throw BadPatch{"Unknown patch type found: " + std::string(what)};
    }
    if (replace) {
      target = plain(patch);
      return;
    }
    json::Array& items = target.make_array();
    if (!deleted.empty())
      std::erase_if(items, [&](const json::Value& v) { const json::Value* k = v.find(merge_key); return k && deleted.count(k->dump()); });
    std::unordered_map<std::string, size_t> index;
    for (size_t i = 0; i < items.size(); ++i)
      if (const json::Value* k = items[i].find(merge_key)) index.emplace(k->dump(), i);
    for (const json::Value& p : patch.items()) {
      if (p[kPatch].as_string() == "delete") continue;
      const std::string key = key_of(p, merge_key);
      const auto it = index.find(key);
      if (it != index.end()) {
        object(items[it->second], p, meta.type ? meta.type->item.get() : nullptr);
      } else {
        index.emplace(key, items.size());
        items.push_back(plain(p));
      }
    }
  }

  // "$setElementOrder/x": merges the list x and puts it in the order wished. What the patch does not name keeps its
  // place among the named ones as well as the old order allows.
  void ordered_list(json::Value& target, const json::Value& patch, const json::Member& order, const TypeRef* type,
                    std::vector<std::string_view>& done) {
    const std::string_view name = std::string_view(order.key).substr(kOrderPrefix.size());
    if (!order.value.is_array()) throw BadPatch{"the value of " + order.key + " must be a list"};
    const Meta meta = meta_of(type, name);
    const json::Value* change = patch.find(name);
    json::Value* at = target.find(name);
    const std::string delete_key = std::string(kDeletePrefix) + std::string(name);
    if (const json::Value* gone = patch.find(delete_key); gone && at && at->is_array() && gone->is_array()) erase_items(*at, *gone);
    if ((!at && !change) || (change && change->is_null())) return;  // the null is dealt with like any other
    if (change && !change->is_array()) throw BadPatch{"\"" + std::string(name) + "\" must be a list"};
    const json::Value before = at && at->is_array() ? *at : json::Value::array();
    const std::string merge_key = meta.merges() && meta.field ? meta.field->patch_merge_key : "";
    if (change) check_order(*change, order.value, merge_key, order.key);
    if (change && at && at->is_array()) list(*at, *change, meta, name);
    else if (change) at = &target.set(name, plain(*change));
    if (change) done.push_back(name);
    if (!at || !at->is_array()) return;
    arrange(*at, order.value, before, merge_key);
  }

  static std::string order_key(const json::Value& item, const std::string& merge_key) {
    return merge_key.empty() || !item.is_object() ? item.dump() : key_of(item, merge_key);
  }

  static void check_order(const json::Value& change, const json::Value& order, const std::string& merge_key, const std::string& directive) {
    std::unordered_map<std::string, size_t> place;
    for (size_t i = 0; i < order.size(); ++i) place.emplace(order_key(order[i], merge_key), i);
    size_t last = 0;
    for (const json::Value& item : change.items()) {
      if (item.is_object() && item.contains(kPatch) && item[kPatch].as_string() != "merge") continue;
      const auto it = place.find(order_key(item, merge_key));
      if (it == place.end() || it->second < last)
        throw BadPatch{"The order in patch list:\n" + change.dump() + "\n doesn't match " + directive + " list:\n" + order.dump() + "\n"};
      last = it->second;
    }
  }

  static void arrange(json::Value& list, const json::Value& order, const json::Value& before, const std::string& merge_key) {
    std::unordered_map<std::string, size_t> wished, old;
    for (size_t i = 0; i < order.size(); ++i) wished.emplace(order_key(order[i], merge_key), i);
    for (size_t i = 0; i < before.size(); ++i) old.emplace(order_key(before[i], merge_key), i);
    struct Item {
      json::Value value;
      size_t wished = SIZE_MAX, old = SIZE_MAX;
    };
    std::vector<Item> named, rest;
    for (json::Value& v : list.make_array()) {
      const std::string key = order_key(v, merge_key);
      Item item;
      if (const auto o = old.find(key); o != old.end()) item.old = o->second;
      const auto w = wished.find(key);
      if (w != wished.end()) item.wished = w->second;
      item.value = std::move(v);
      (w != wished.end() ? named : rest).push_back(std::move(item));
    }
    std::stable_sort(named.begin(), named.end(), [](const Item& a, const Item& b) { return a.wished < b.wished; });
    std::stable_sort(rest.begin(), rest.end(), [](const Item& a, const Item& b) { return a.old < b.old; });
    json::Array out;
    size_t n = 0;
    for (Item& item : rest) {
      // Before the first named item that came later in the old list.
      size_t stop = n;
      while (stop < named.size() && (named[stop].old == SIZE_MAX || named[stop].old < item.old)) ++stop;
      while (n < stop) out.push_back(std::move(named[n++].value));
      out.push_back(std::move(item.value));
    }
    while (n < named.size()) out.push_back(std::move(named[n++].value));
    list = json::Value(std::move(out));
  }

  const TypeTable& types_;
};

}  // namespace

Result<void> strategic_patch(json::Value& target, const json::Value& patch, TypeId type, const TypeTable& types) {
  if (!patch.is_object()) return Error(PINTLE_BAD_REQUEST, "error decoding patch: a strategic merge patch must be an object");
  if (depth_of(patch, kMaxDepth + 1) > kMaxDepth) return Error(PINTLE_BAD_REQUEST, "error decoding patch: nested deeper than 256 levels");
  TypeRef root;
  root.shape = Shape::kObject;
  root.object = type;
  json::Value result = target;
  result.make_object();
  try {
    Merger(types).object(result, patch, type == kNoType ? nullptr : &root);
  } catch (const BadPatch& e) {
    return Error(PINTLE_BAD_REQUEST, e.text);
  }
  target = std::move(result);
  return {};
}

}  // namespace pintle::kernel

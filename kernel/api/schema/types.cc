#include "kernel/api/schema/types.h"

#include <algorithm>
#include <cmath>

#include "pintle/format.h"

namespace pintle::kernel {
namespace {

Error invalid(const std::string& where, const std::string& what) { return Error(PINTLE_INVALID, where + ": " + what); }

struct Scalar {
  std::string_view name;
  Shape shape;
};
constexpr Scalar kScalars[] = {
    {"string", Shape::kString}, {"bool", Shape::kBool}, {"int32", Shape::kInt32}, {"int64", Shape::kInt64},
    {"double", Shape::kDouble}, {"bytes", Shape::kBytes}, {"quantity", Shape::kQuantity},
    {"intOrString", Shape::kIntOrString}, {"time", Shape::kTime}, {"microTime", Shape::kMicroTime},
    {"duration", Shape::kDuration}, {"any", Shape::kAny},
};

// apiVersion, kind and metadata come first in every object, as clients print them.
int rank(const FieldType& f) {
  if (f.name == "apiVersion") return 0;
  if (f.name == "kind") return 1;
  return f.name == "metadata" ? 2 : 3;
}

void index_names(ObjectType& t) {
  t.by_name.clear();
  for (size_t i = 0; i < t.fields.size(); ++i)
    if (!t.fields[i].proto_inline) t.by_name.push_back(static_cast<uint16_t>(i));
  std::sort(t.by_name.begin(), t.by_name.end(), [&](uint16_t a, uint16_t b) { return t.fields[a].name < t.fields[b].name; });
}

TypeId object_below(const TypeRef& ref) {
  const TypeRef* r = &ref;
  while (r->item) r = r->item.get();
  return r->shape == Shape::kObject ? r->object : kNoType;
}

Result<std::vector<std::string>> strings(const std::string& where, const json::Value& v) {
  std::vector<std::string> out;
  if (!v.is_array()) return invalid(where, "must be a list of strings");
  for (const json::Value& s : v.items()) {
    if (!s.is_string()) return invalid(where, "must be a list of strings");
    out.emplace_back(s.as_string());
  }
  return out;
}

// Members of a field that are plain texts and plain flags, by their name in the manifest.
bool set_text(FieldType& f, std::string_view key, const json::Value& v) {
  std::string* to = key == "doc"             ? &f.doc
                    : key == "protoName"     ? &f.proto_name
                    : key == "format"        ? &f.format
                    : key == "listType"      ? &f.list_type
                    : key == "mapType"       ? &f.map_type
                    : key == "patchStrategy" ? &f.patch_strategy
                    : key == "patchMergeKey" ? &f.patch_merge_key
                                             : nullptr;
  if (!to || !v.is_string()) return false;
  to->assign(v.as_string());
  return true;
}

bool set_flag(FieldType& f, std::string_view key, const json::Value& v) {
  bool* to = key == "required"      ? &f.required
             : key == "immutable"   ? &f.immutable
             : key == "stored"      ? &f.stored_only
             : key == "protoInline" ? &f.proto_inline
                                    : nullptr;
  if (!to || !v.is_bool()) return false;
  *to = v.as_bool();
  return true;
}

bool set_number(FieldType& f, std::string_view key, const json::Value& v) {
  if (key == "min" || key == "max") {
    if (!v.is_number()) return false;
    (key == "min" ? f.minimum : f.maximum) = v.as_double();
    return true;
  }
  std::optional<uint32_t>* to = key == "minItems"    ? &f.min_items
                                : key == "maxItems"  ? &f.max_items
                                : key == "minLength" ? &f.min_length
                                : key == "maxLength" ? &f.max_length
                                                     : nullptr;
  const bool fits = v.is_int() && v.as_int() >= 0 && v.as_int() <= INT32_MAX;
  if (key == "proto" && fits) {
    f.proto = static_cast<uint32_t>(v.as_int());
    return true;
  }
  if (!to || !fits) return false;
  *to = static_cast<uint32_t>(v.as_int());
  return true;
}

}  // namespace

const FieldType* ObjectType::field(std::string_view wanted) const {
  const int i = field_index(wanted, fields.size());
  return i < 0 ? nullptr : &fields[static_cast<size_t>(i)];
}

int ObjectType::field_index(std::string_view wanted, size_t hint) const {
  for (size_t i = hint; i < fields.size() && i < hint + 3; ++i)
    if (fields[i].name == wanted && !fields[i].proto_inline) return static_cast<int>(i);
  const auto it = std::lower_bound(by_name.begin(), by_name.end(), wanted,
                                   [this](uint16_t i, std::string_view n) { return fields[i].name < n; });
  return it != by_name.end() && fields[*it].name == wanted ? *it : -1;
}

TypeId TypeTable::find(std::string_view name) const {
  const auto it = by_name_.find(std::string(name));
  return it == by_name_.end() || dangling_.count(it->second) ? kNoType : it->second;
}

TypeId TypeTable::intern(const std::string& name, const std::string& referrer) {
  const auto [it, fresh] = by_name_.emplace(name, static_cast<TypeId>(types_.size()));
  if (fresh) {
    types_.emplace_back().name = name;
    dangling_.emplace(it->second, referrer);
  }
  return it->second;
}

Result<TypeRef> TypeTable::parse_ref(std::string_view text, const std::string& referrer) {
  TypeRef ref;
  for (const Scalar& s : kScalars)
    if (s.name == text) {
      ref.shape = s.shape;
      return ref;
    }
  const bool list = text.substr(0, 2) == "[]";
  if (list || text.substr(0, 11) == "map[string]") {
    auto item = parse_ref(text.substr(list ? 2 : 11), referrer);
    if (!item) return item.error();
    ref.shape = list ? Shape::kArray : Shape::kMap;
    ref.item = std::make_shared<const TypeRef>(*item);
    return ref;
  }
  if (text.empty() || text.find_first_of("[] ") != std::string_view::npos)
    return invalid(referrer, "\"" + std::string(text) + "\" is not a type");
  ref.shape = Shape::kObject;
  ref.object = intern(std::string(text), referrer);
  return ref;
}

Result<FieldType> TypeTable::parse_field(const std::string& type, const std::string& name, const json::Value& v) {
  const std::string where = type + "." + name;
  FieldType f;
  f.name = name;
  if (!v.is_object() && !v.is_string()) return invalid(where, "must be an object with the member type");
  auto ref = parse_ref(v.is_string() ? v.as_string() : v["type"].as_string(), where);
  if (!ref) return ref.error();
  f.type = *ref;
  for (const json::Member& m : v.members()) {
    if (m.key == "type" || set_text(f, m.key, m.value) || set_flag(f, m.key, m.value) || set_number(f, m.key, m.value)) continue;
    if (m.key == "default") {
      f.default_value = m.value;
    } else if (m.key == "enum" || m.key == "listMapKeys") {
      auto list = strings(where + "." + m.key, m.value);
      if (!list) return list.error();
      (m.key == "enum" ? f.enumeration : f.list_map_keys) = *list;
    } else if (m.key == "duplicates" && m.value.as_string() == "allow") {
      f.duplicates_allowed = true;
    } else if (m.key == "protoZero" && (m.value.as_string() == "keep" || m.value.as_string() == "drop")) {
      f.proto_zero = m.value.as_string() == "keep" ? FieldType::ProtoZero::kKeep : FieldType::ProtoZero::kDrop;
    } else {
      return invalid(where, "member \"" + m.key + "\" is unknown or has a wrong value " + m.value.dump());
    }
  }
  const Format format = format_by_name(f.format);
  if (format == Format::kUnknown) return invalid(where, "unknown format \"" + f.format + "\"");
  f.format_id = static_cast<uint8_t>(format);
  if (!f.list_type.empty() && f.list_type != "atomic" && f.list_type != "set" && f.list_type != "map")
    return invalid(where, "listType must be atomic, set or map");
  if (f.list_type == "map" && f.list_map_keys.empty()) return invalid(where, "a list of type map needs listMapKeys");
  std::sort(f.enumeration.begin(), f.enumeration.end());
  if (f.proto_inline && f.type.shape != Shape::kObject) return invalid(where, "protoInline needs an object type");
  return f;
}

Result<void> TypeTable::add(const std::string& owner, const json::Value& types) {
  if (!types.is_null() && !types.is_object()) return invalid("types", "must be an object");
  for (const json::Member& m : types.members()) {
    if (!m.value.is_object()) return invalid(m.key, "must be an object");
    ObjectType t;
    t.name = m.key;
    t.owner = owner;
    for (const json::Member& part : m.value.members()) {
      if (part.key == "doc" && part.value.is_string()) {
        t.doc.assign(part.value.as_string());
      } else if (part.key == "hooks" && part.value.is_array()) {
        for (const json::Value& h : part.value.items()) {
          if (h.as_string() == "default") t.hook_default = true;
          else if (h.as_string() == "validate") t.hook_validate = true;
          else return invalid(m.key + ".hooks", "unknown hook " + h.dump());
        }
      } else if (part.key == "union") {
        auto list = strings(m.key + ".union", part.value);
        if (!list) return list.error();
        t.union_fields = *list;
        t.union_exactly_one = !t.union_fields.empty();
      } else if (part.key == "fields" && (part.value.is_object() || part.value.is_null())) {
        for (const json::Member& f : part.value.members()) {
          auto field = parse_field(m.key, f.key, f.value);
          if (!field) return field.error();
          t.fields.push_back(std::move(*field));
        }
      } else {
        return invalid(m.key, "member \"" + part.key + "\" is unknown or has a wrong type");
      }
    }
    if (t.fields.size() > 4096) return invalid(m.key, "has more than 4096 fields");
    std::stable_sort(t.fields.begin(), t.fields.end(), [](const FieldType& a, const FieldType& b) { return rank(a) < rank(b); });
    index_names(t);
    const TypeId id = intern(m.key, m.key);
    if (!dangling_.erase(id) && types_[id].owner != owner)
      return invalid(m.key, "plugin \"" + types_[id].owner + "\" exports a type of this name already");
    types_[id] = std::move(t);
  }
  return {};
}

Result<void> TypeTable::inline_fields(TypeId id, std::vector<uint8_t>& state) {
  if (state[id] == 2) return {};
  if (state[id] == 1) return invalid(types_[id].name, "inlines itself");
  state[id] = 1;
  std::vector<FieldType> all;
  for (FieldType& f : types_[id].fields) {
    if (f.inlined) continue;  // of an earlier resolve(); its type may have been replaced since
    const TypeId from = f.proto_inline ? f.type.object : kNoType;
    all.push_back(std::move(f));
    if (from == kNoType) continue;
    if (auto r = inline_fields(from, state); !r) return r;
    for (const FieldType& g : types_[from].fields) {
      if (g.proto_inline) continue;
      all.push_back(g);
      all.back().inlined = true;
      all.back().proto = 0;
    }
    if (types_[id].union_fields.empty() && types_[from].union_exactly_one) {
      types_[id].union_fields = types_[from].union_fields;
      types_[id].union_exactly_one = true;
    }
  }
  types_[id].fields = std::move(all);
  index_names(types_[id]);
  const ObjectType& t = types_[id];
  for (size_t i = 1; i < t.by_name.size(); ++i)
    if (t.fields[t.by_name[i]].name == t.fields[t.by_name[i - 1]].name)
      return invalid(t.name, "field \"" + t.fields[t.by_name[i]].name + "\" is there twice, once inlined");
  for (const std::string& u : t.union_fields)
    if (!t.field(u)) return invalid(t.name + ".union", "no field \"" + u + "\"");
  state[id] = 2;
  return {};
}

Result<void> TypeTable::resolve() {
  if (!dangling_.empty()) {
    std::vector<std::string> names;
    for (const auto& [id, referrer] : dangling_) names.push_back("\"" + types_[id].name + "\" (in " + referrer + ")");
    std::sort(names.begin(), names.end());
    std::string text = "types that nobody exports: ";
    for (size_t i = 0; i < names.size(); ++i) text += (i ? ", " : "") + names[i];
    return Error(PINTLE_INVALID, text);
  }
  std::vector<uint8_t> state(types_.size());
  for (TypeId id = 0; id < types_.size(); ++id)
    if (auto r = inline_fields(id, state); !r) return r;

  for (ObjectType& t : types_) {
    t.deep = t.hook_default || t.hook_validate ? ObjectType::kHasHooks : 0;
    for (const FieldType& f : t.fields) {
      if (f.default_value) t.deep |= ObjectType::kHasDefaults;
      if (f.stored_only) t.deep |= ObjectType::kHasStoredOnly;
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (ObjectType& t : types_) {
      uint8_t deep = t.deep;
      for (const FieldType& f : t.fields)
        if (const TypeId below = object_below(f.type); below != kNoType) deep |= types_[below].deep;
      changed |= deep != t.deep;
      t.deep = deep;
    }
  }
  return {};
}

}  // namespace pintle::kernel

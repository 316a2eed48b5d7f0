// Walks that look at declared marks only: hooks, and fields that are stored without being acted upon.
#include "kernel/api/schema/codec.h"

namespace pintle::kernel {
namespace {

using HookFn = std::function<void(const ObjectType&, const std::string&, json::Value&)>;

bool marked(const TypeRef& ref, const TypeTable& types, uint8_t mark) {
  const TypeRef* r = &ref;
  while (r->item) r = r->item.get();
  return r->shape == Shape::kObject && (types.get(r->object).deep & mark);
}

std::string join(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

void visit_value(json::Value& v, const TypeRef& ref, const TypeTable& types, const std::string& path, const HookFn& fn) {
  if (ref.shape == Shape::kObject) {
    visit_hooked(v, ref.object, types, path, fn);
  } else if (ref.shape == Shape::kArray && v.is_array()) {
    json::Array& items = v.make_array();
    for (size_t i = 0; i < items.size(); ++i) visit_value(items[i], *ref.item, types, path + "[" + std::to_string(i) + "]", fn);
  } else if (ref.shape == Shape::kMap && v.is_object()) {
    for (json::Member& m : v.make_object()) visit_value(m.value, *ref.item, types, path + "[" + m.key + "]", fn);
  }
}

// "", 0, false, {} and [] set nothing: clients that send protobuf write them without having been told to.
bool says_nothing(const json::Value& v) {
  switch (v.type()) {
    case json::Type::kNull: return true;
    case json::Type::kBool: return !v.as_bool();
    case json::Type::kInt:
    case json::Type::kDouble: return v.as_double() == 0;
    case json::Type::kString: return v.as_string().empty();
    default: return v.empty();
  }
}

class StoredOnly {
 public:
  explicit StoredOnly(const TypeTable& types) : types_(types) {}
  std::vector<std::string> found;

  void object(const json::Value& v, const json::Value* old, TypeId type, const std::string& path) {
    const ObjectType& t = types_.get(type);
    if (!(t.deep & ObjectType::kHasStoredOnly)) return;
    size_t expected = 0;
    for (const json::Member& m : v.members()) {
      const int i = t.field_index(m.key, expected);
      if (i < 0) continue;
      expected = static_cast<size_t>(i) + 1;
      const FieldType& f = t.fields[static_cast<size_t>(i)];
      const json::Value* before = old ? old->find(m.key) : nullptr;
      if (f.stored_only) {
        const bool is_default = f.default_value && m.value == *f.default_value;
        if (!says_nothing(m.value) && !is_default && !(before && *before == m.value)) found.push_back(join(path, m.key));
      } else if (marked(f.type, types_, ObjectType::kHasStoredOnly)) {
        value(m.value, before, f.type, join(path, m.key));
      }
    }
  }

 private:
  void value(const json::Value& v, const json::Value* old, const TypeRef& ref, const std::string& path) {
    if (old && *old == v) return;
    if (ref.shape == Shape::kObject) {
      object(v, old, ref.object, path);
    } else if (ref.shape == Shape::kArray) {
      const json::Array& items = v.items();
      for (size_t i = 0; i < items.size(); ++i) {
        const json::Value* before = old && i < old->items().size() ? &old->items()[i] : nullptr;
        value(items[i], before, *ref.item, path + "[" + std::to_string(i) + "]");
      }
    } else if (ref.shape == Shape::kMap) {
      for (const json::Member& m : v.members()) value(m.value, old ? old->find(m.key) : nullptr, *ref.item, path + "[" + m.key + "]");
    }
  }

  const TypeTable& types_;
};

}  // namespace

void visit_hooked(json::Value& object, TypeId type, const TypeTable& types, const std::string& path, const HookFn& fn) {
  const ObjectType& t = types.get(type);
  if (!(t.deep & ObjectType::kHasHooks) || !object.is_object()) return;
  if (t.hook_default || t.hook_validate) fn(t, path, object);
  for (const FieldType& f : t.fields) {
    if (!marked(f.type, types, ObjectType::kHasHooks)) continue;
    if (f.proto_inline) {
      // The inlined type's fields lie in this very object; what is below them is visited through their copies.
      const ObjectType& inlined = types.get(f.type.object);
      if (inlined.hook_default || inlined.hook_validate) fn(inlined, path, object);
      continue;
    }
    if (json::Value* v = object.find(f.name)) visit_value(*v, f.type, types, join(path, f.name), fn);
  }
}

std::vector<std::string> stored_only_fields(const json::Value& object, const json::Value* old, TypeId type, const TypeTable& types) {
  StoredOnly walk(types);
  walk.object(object, old, type, "");
  return std::move(walk.found);
}

}  // namespace pintle::kernel

#include "kernel/api/schema/codec.h"

namespace pintle::kernel {
namespace {

void defaults_below(json::Value& v, const TypeRef& ref, const TypeTable& types) {
  if (ref.shape == Shape::kObject) {
    if (v.is_object()) apply_defaults(v, ref.object, types);
  } else if (ref.shape == Shape::kArray && v.is_array()) {
    for (json::Value& i : v.make_array()) defaults_below(i, *ref.item, types);
  } else if (ref.shape == Shape::kMap && v.is_object()) {
    for (json::Member& m : v.make_object()) defaults_below(m.value, *ref.item, types);
  }
}

bool may_hold_defaults(const TypeRef& ref, const TypeTable& types) {
  const TypeRef* r = &ref;
  while (r->item) r = r->item.get();
  return r->shape == Shape::kObject && (types.get(r->object).deep & ObjectType::kHasDefaults);
}

}  // namespace

void apply_defaults(json::Value& object, TypeId type, const TypeTable& types) {
  const ObjectType& t = types.get(type);
  if (!(t.deep & ObjectType::kHasDefaults) || !object.is_object()) return;
  json::Object& members = object.make_object();
  // Normalised members are in schema order, so one pass over both finds each field's place. In an object that is out of
  // order (built by a hook) nothing is doubled; only the place of what is added may be another.
  size_t at = 0;
  while (at < members.size() && !t.field(members[at].key)) ++at;  // apiVersion and kind that the type does not list
  for (const FieldType& f : t.fields) {
    if (f.proto_inline) continue;
    const bool here = at < members.size() && members[at].key == f.name;
    const bool below = may_hold_defaults(f.type, types);
    if (!here && !f.default_value && !below) {
      continue;
    }
    json::Value* v = here ? &members[at].value : object.find(f.name);
    if (v && v->is_null()) {
      if (f.default_value) *v = *f.default_value;
    } else if (!v && f.default_value) {
      const auto place = members.insert(members.begin() + static_cast<ptrdiff_t>(at), json::Member{f.name, *f.default_value});
      v = &place->value;
    }
    if (v && below) defaults_below(*v, f.type, types);
    if (at < members.size() && members[at].key == f.name) ++at;
  }
}

}  // namespace pintle::kernel

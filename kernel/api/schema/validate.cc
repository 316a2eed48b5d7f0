#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "kernel/api/schema/codec.h"
#include "pintle/format.h"
#include "kernel/api/schema/path.h"

namespace pintle::kernel {
namespace {

// Numbers as Go prints them: 5, not 5.0.
std::string number(double d) {
  std::string s;
  json::append_number(d, s);
  if (s.size() > 2 && s.substr(s.size() - 2) == ".0") s.resize(s.size() - 2);
  return s;
}

// Long values would bury the message.
std::string shown(const json::Value& v) {
  constexpr size_t kLongest = 10000;
  std::string s = v.dump();
  if (s.size() <= kLongest) return s;
  size_t n = kLongest;
  while ((s[n] & 0xC0) == 0x80) --n;  // not within a character
  return s.substr(0, n) + "...";
}

class Validator {
 public:
  Validator(const TypeTable& types, const std::string& base, std::vector<FieldCause>& causes)
      : types_(types), base_(base), causes_(causes) {}

  void object(const json::Value& v, const json::Value* old, const ObjectType& t, const PathFrame* at) {
    // Members are in schema order as a rule: one pass over both.
    const json::Object& members = v.members();
    size_t next = 0;
    for (const FieldType& f : t.fields) {
      if (f.proto_inline) continue;
      const json::Value* m = nullptr;
      if (next < members.size() && members[next].key == f.name) m = &members[next++].value;
      else if (members.size() != next || f.required || (f.immutable && old)) m = v.find(f.name);
      if (m && m->is_null()) m = nullptr;
      const json::Value* before = old ? old->find(f.name) : nullptr;
      const PathFrame frame{at, f.name};
      if (f.immutable && before && !before->is_null() && (!m || *m != *before))
        invalid(frame, m ? shown(*m) : before->is_string() ? "\"\"" : "null", "field is immutable");
      if (!m) {
        if (f.required) required(frame);
        continue;
      }
      field(*m, before, f, frame);
    }
    if (t.union_exactly_one) check_union(v, t, at);
  }

 private:
  void cause(const char* reason, const PathFrame& at, std::string message) {
    if (causes_.size() >= 256) return;  // enough to be told
    std::string path = at.bracketed();
    if (!base_.empty()) path = base_ + (path.empty() || path.front() == '[' ? "" : ".") + path;
    causes_.push_back({reason, std::move(path), std::move(message)});
  }
  void invalid(const PathFrame& at, const std::string& value, const std::string& why) {
    cause("FieldValueInvalid", at, "Invalid value: " + value + ": " + why);
  }
  void required(const PathFrame& at) { cause("FieldValueRequired", at, "Required value"); }
  void duplicate(const PathFrame& at, const std::string& value) {
    cause("FieldValueDuplicate", at, "Duplicate value: " + value);
  }

  void field(const json::Value& v, const json::Value* old, const FieldType& f, const PathFrame& at) {
    if (v.is_array()) list(v, old, f, at);
    else if (v.is_object() && f.type.shape == Shape::kMap) map(v, old, f, at);
    else value(v, old, f.type, f, at);
  }

  void value(const json::Value& v, const json::Value* old, const TypeRef& ref, const FieldType& f, const PathFrame& at) {
    if (ref.shape == Shape::kObject) {
      object(v, old, types_.get(ref.object), &at);
    } else if (v.is_string()) {
      text(v.as_string(), f, at);
    } else if (v.is_number()) {
      range(v, f, at);
    } else if (ref.shape == Shape::kArray || ref.shape == Shape::kMap) {
      nested(v, ref, f, at);
    }
  }

  // Lists of lists and the like: only what lies below has rules.
  void nested(const json::Value& v, const TypeRef& ref, const FieldType& f, const PathFrame& at) {
    for (size_t i = 0; i < v.items().size(); ++i) value(v.items()[i], nullptr, *ref.item, f, PathFrame{&at, {}, i});
    for (const json::Member& m : v.members())
      value(m.value, nullptr, *ref.item, f, PathFrame{&at, m.key, static_cast<size_t>(-1), true});
  }

  void text(std::string_view s, const FieldType& f, const PathFrame& at) {
    const auto format = static_cast<Format>(f.format_id);
    if (s.empty()) {
      const bool allowed = std::binary_search(f.enumeration.begin(), f.enumeration.end(), s);
      const bool has_rule = format != Format::kNone || !f.enumeration.empty() || f.min_length.value_or(0) > 0;
      if (f.required && has_rule && !allowed && format != Format::kLabelValue) required(at);
      else if (f.min_length.value_or(0) > 0) required(at);
      return;  // an optional "" is "not set"
    }
    if (!f.enumeration.empty() && !std::binary_search(f.enumeration.begin(), f.enumeration.end(), s)) {
      std::string all;
      for (const std::string& e : f.enumeration)
        if (!e.empty()) all += (all.empty() ? "" : ", ") + json::quote(e);
      cause("FieldValueNotSupported", at, "Unsupported value: " + json::quote(s) + ": supported values: " + all);
    }
    if (f.max_length && s.size() > *f.max_length)
      cause("FieldValueTooLong", at, "Too long: may not be more than " + std::to_string(*f.max_length) + " bytes");
    if (f.min_length && s.size() < *f.min_length)
      invalid(at, json::quote(s), "must be at least " + std::to_string(*f.min_length) + " bytes long");
    if (format == Format::kNone) return;
    const std::string wrong = check_format(format, s);
    if (!wrong.empty()) invalid(at, json::quote(s), wrong);
  }

  void range(const json::Value& v, const FieldType& f, const PathFrame& at) {
    const double d = v.as_double();
    if (!(f.minimum && d < *f.minimum) && !(f.maximum && d > *f.maximum)) return;
    std::string why;
    if (f.minimum && f.maximum) why = "must be between " + number(*f.minimum) + " and " + number(*f.maximum) + ", inclusive";
    else if (f.minimum) why = "must be greater than or equal to " + number(*f.minimum);
    else why = "must be less than or equal to " + number(*f.maximum);
    invalid(at, v.dump(), why);
  }

  void list(const json::Value& v, const json::Value* old, const FieldType& f, const PathFrame& at) {
    const json::Array& items = v.items();
    if (f.max_items && items.size() > *f.max_items)
      cause("FieldValueTooMany", at,
            "Too many: " + std::to_string(items.size()) + ": must have at most " + std::to_string(*f.max_items) + " items");
    if (f.min_items && items.size() < *f.min_items) {
      if (items.empty()) required(at);
      else invalid(at, std::to_string(items.size()), "must have at least " + std::to_string(*f.min_items) + " items");
    }
    if (f.type.shape != Shape::kArray) return;  // any JSON
    const bool keyed = f.list_type == "map";
    std::unordered_map<std::string, const json::Value*> before;
    if (keyed && old)
      for (const json::Value& o : old->items()) before.emplace(key_of(o, f), &o);
    std::unordered_set<std::string> seen;
    for (size_t i = 0; i < items.size(); ++i) {
      const PathFrame frame{&at, {}, i};
      const json::Value* then = nullptr;
      if (keyed) {
        std::string key = key_of(items[i], f);
        if (const auto it = before.find(key); it != before.end()) then = it->second;
        if (!f.duplicates_allowed && !seen.insert(std::move(key)).second) duplicate_key(items[i], f, frame);
      } else if (f.list_type == "set" && !f.duplicates_allowed && !seen.insert(items[i].dump()).second) {
        duplicate(frame, shown(items[i]));
      }
      value(items[i], then, *f.type.item, f, frame);
    }
  }

  static std::string key_of(const json::Value& item, const FieldType& f) {
    std::string key;
    for (const std::string& k : f.list_map_keys) {
      const json::Value* v = item.find(k);
      if (v) v->dump_to(key);
      key += '\0';
    }
    return key;
  }

  void duplicate_key(const json::Value& item, const FieldType& f, const PathFrame& at) {
    if (f.list_map_keys.size() == 1) {
      duplicate(PathFrame{&at, f.list_map_keys[0]}, shown(item[f.list_map_keys[0]]));
      return;
    }
    json::Value keys = json::Value::object();
    for (const std::string& k : f.list_map_keys)
      if (const json::Value* v = item.find(k)) keys.set(k, *v);
    duplicate(at, shown(keys));
  }

  // A format on a map is about its keys; ranges, lengths and enumerations about its values.
  void map(const json::Value& v, const json::Value* old, const FieldType& f, const PathFrame& at) {
    const auto format = static_cast<Format>(f.format_id);
    if (f.max_items && v.size() > *f.max_items)
      cause("FieldValueTooMany", at,
            "Too many: " + std::to_string(v.size()) + ": must have at most " + std::to_string(*f.max_items) + " items");
    if (f.min_items && v.size() < *f.min_items) required(at);
    for (const json::Member& m : v.members()) {
      const PathFrame frame{&at, m.key, static_cast<size_t>(-1), true};
      if (format != Format::kNone) {
        const std::string wrong = check_format(format, m.key);
        if (!wrong.empty()) invalid(frame, json::quote(m.key), wrong);
      }
      if (f.type.item->shape == Shape::kObject) {
        object(m.value, old ? old->find(m.key) : nullptr, types_.get(f.type.item->object), &frame);
      } else if (m.value.is_number()) {
        range(m.value, f, frame);
      } else if (m.value.is_array() || m.value.is_object()) {
        nested(m.value, *f.type.item, f, frame);
      } else if (m.value.is_string() && f.max_length && m.value.as_string().size() > *f.max_length) {
        cause("FieldValueTooLong", frame, "Too long: may not be more than " + std::to_string(*f.max_length) + " bytes");
      }
    }
  }

  void check_union(const json::Value& v, const ObjectType& t, const PathFrame* at) {
    std::string all;
    const std::string* first = nullptr;
    const PathFrame root;
    for (const std::string& u : t.union_fields) all += (all.empty() ? "" : ", ") + u;
    for (const std::string& u : t.union_fields) {
      const json::Value* m = v.find(u);
      if (!m || m->is_null()) continue;
      if (first) cause("FieldValueForbidden", PathFrame{at, u}, "Forbidden: may not be set together with " + *first + ": exactly one of " + all);
      else first = &u;
    }
    if (!first) cause("FieldValueRequired", at ? *at : root, "Required value: must specify one of: " + all);
  }

  const TypeTable& types_;
  const std::string& base_;
  std::vector<FieldCause>& causes_;
};

}  // namespace

void validate(const json::Value& object, const json::Value* old, TypeId type, const TypeTable& types, const std::string& path,
              std::vector<FieldCause>& causes) {
  Validator(types, path, causes).object(object, old, types.get(type), nullptr);
}

}  // namespace pintle::kernel

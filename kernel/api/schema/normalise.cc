#include <algorithm>
#include <array>

#include "kernel/api/schema/base64.h"
#include "kernel/api/schema/decode.h"
#include "kernel/api/schema/duration.h"
#include "kernel/api/schema/path.h"
#include "kernel/api/schema/quantity.h"
#include "kernel/api/schema/timestamp.h"

namespace pintle::kernel {
namespace {

std::string_view last_segment(std::string_view s) { return s.substr(s.rfind('.') + 1); }

// "api.core.v1.PodSpec" -> "v1.PodSpec"
std::string go_object(std::string_view name) {
  const size_t last = name.rfind('.');
  if (last == std::string_view::npos) return std::string(name);
  const size_t before = name.rfind('.', last - 1);
  return std::string(name.substr(before == std::string_view::npos ? 0 : before + 1));
}

class Normaliser {
 public:
  Normaliser(const TypeTable& types, std::vector<std::string>* problems) : types_(types), problems_(problems) {}

  std::string error;

  bool root(json::Value& v, const ObjectType& t) {
    if (!v.is_object()) {
      error = "json: cannot unmarshal " + json_name(v) + " into Go value of type " + go_object(t.name);
      return false;
    }
    return object(v, t, nullptr);
  }

 private:
  // Order of a member: a field's index, or one of these.
  static constexpr int kDropped = -1;

  bool object(json::Value& v, const ObjectType& t, const PathFrame* at) {
    if (!v.is_object()) return mismatch(v, go_object(t.name), at);
    json::Object& members = v.make_object();
    std::array<int, 48> few;
    std::vector<int> many;
    int* rank = few.data();
    if (members.size() > few.size()) {
      many.resize(members.size());
      rank = many.data();
    }
    bool ordered = true;
    int last = -1;
    size_t expected = 0;
    const ObjectType* outer = in_;
    for (size_t i = 0; i < members.size(); ++i) {
      json::Member& m = members[i];
      const int f = t.field_index(m.key, expected);
      rank[i] = kDropped;
      if (f < 0) {
        if (!at && (m.key == "apiVersion" || m.key == "kind")) {
          rank[i] = m.key == "kind" ? 1 : 0;  // known at the root of everything; they sort before the type's own fields
          if (!m.value.is_string()) return mismatch(m.value, "string", at);
        } else {
          unknown(at, m.key);
          ordered = false;
          continue;
        }
      } else {
        expected = static_cast<size_t>(f) + 1;
        if (!m.value.is_null()) {
          const PathFrame frame{at, m.key};
          in_ = &t;
          if (!value(m.value, t.fields[static_cast<size_t>(f)].type, &frame)) return false;
          in_ = outer;
        }
        if (m.value.is_null()) {
          ordered = false;
          continue;
        }
        rank[i] = f + 2;
      }
      ordered &= rank[i] > last;
      last = rank[i];
    }
    if (!ordered) reorder(members, rank);
    return true;
  }

  static void reorder(json::Object& members, const int* rank) {
    std::vector<std::pair<int, size_t>> order;
    order.reserve(members.size());
    for (size_t i = 0; i < members.size(); ++i)
      if (rank[i] != kDropped) order.emplace_back(rank[i], i);
    std::sort(order.begin(), order.end());
    json::Object sorted;
    sorted.reserve(order.size());
    for (const auto& [r, i] : order) sorted.push_back(std::move(members[i]));
    members = std::move(sorted);
  }

  bool map(json::Value& v, const TypeRef& item, const PathFrame* at) {
    json::Object& members = v.make_object();
    bool sorted = true, nulls = false;
    for (size_t i = 0; i < members.size(); ++i) {
      json::Member& m = members[i];
      if (!m.value.is_null()) {
        const PathFrame frame{at, m.key, static_cast<size_t>(-1), true};
        if (!value(m.value, item, &frame)) return false;
      }
      nulls |= m.value.is_null() && item.shape != Shape::kAny;
      sorted &= i == 0 || members[i - 1].key < m.key;
    }
    if (nulls) std::erase_if(members, [](const json::Member& m) { return m.value.is_null(); });
    if (!sorted) std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    return true;
  }

  bool value(json::Value& v, const TypeRef& ref, const PathFrame* at) {
    switch (ref.shape) {
      case Shape::kAny: return true;
      case Shape::kObject: return object(v, types_.get(ref.object), at);
      case Shape::kString: return v.is_string() || mismatch(v, "string", at);
      case Shape::kBool: return v.is_bool() || mismatch(v, "bool", at);
      case Shape::kInt32: return (v.is_int() && v.as_int() >= INT32_MIN && v.as_int() <= INT32_MAX) || mismatch(v, "int32", at);
      case Shape::kInt64: return v.is_int() || mismatch(v, "int64", at);
      case Shape::kDouble: return v.is_number() || mismatch(v, "float64", at);
      case Shape::kArray: {
        if (!v.is_array()) return mismatch(v, go_name(ref), at);
        json::Array& items = v.make_array();
        for (size_t i = 0; i < items.size(); ++i) {
          const PathFrame frame{at, {}, i};
          if (items[i].is_null() && ref.item->shape != Shape::kAny) return mismatch(items[i], go_name(*ref.item), &frame);
          if (!value(items[i], *ref.item, &frame)) return false;
        }
        return true;
      }
      case Shape::kMap:
        if (!v.is_object()) return mismatch(v, go_name(ref), at);
        return map(v, *ref.item, at);
      default: return special(v, ref, at);
    }
  }

  // Scalars that have a form of their own.
  bool special(json::Value& v, const TypeRef& ref, const PathFrame* at) {
    switch (ref.shape) {
      case Shape::kIntOrString:
        if (v.is_string()) return true;
        return (v.is_int() && v.as_int() >= INT32_MIN && v.as_int() <= INT32_MAX) || mismatch(v, "int32", at);
      case Shape::kBytes: {
        if (!v.is_string()) return mismatch(v, "[]uint8", at);
        const size_t wrong = find_base64_error(v.as_string());
        return wrong == std::string_view::npos || failed("illegal base64 data at input byte " + std::to_string(wrong), at);
      }
      case Shape::kQuantity: {
        if (!v.is_string() && !v.is_number()) return mismatch(v, "resource.Quantity", at);
        std::string out;
        const std::string wrong = v.is_string() ? canonical_quantity(v.as_string(), out) : canonical_quantity(v.dump(), out);
        if (!wrong.empty()) return failed(wrong, at);
        if (v.as_string() != out) v = json::Value(std::move(out));
        return true;
      }
      case Shape::kTime:
      case Shape::kMicroTime: {
        if (!v.is_string()) return mismatch(v, "string", at);
        Instant t;
        if (!parse_rfc3339(v.as_string(), t)) {
          std::string quoted;
          json::quote(v.as_string(), quoted);
          const bool micro = ref.shape == Shape::kMicroTime;
          return failed("parsing time " + quoted + " as \"2006-01-02T15:04:05" + (micro ? ".000000" : "") + "Z07:00\": cannot parse " +
                            quoted + " as \"2006\"", at);
        }
        std::string out = format_rfc3339(t, ref.shape == Shape::kMicroTime);
        if (v.as_string() != out) v = json::Value(std::move(out));
        return true;
      }
      case Shape::kDuration: {
        if (!v.is_string()) return mismatch(v, "string", at);
        const auto ns = parse_duration(v.as_string());
        if (!ns) {
          std::string quoted;
          json::quote(v.as_string(), quoted);
          return failed("time: invalid duration " + quoted, at);
        }
        std::string out = format_duration(*ns);
        if (v.as_string() != out) v = json::Value(std::move(out));
        return true;
      }
      default: return true;
    }
  }

  void unknown(const PathFrame* at, const std::string& key) {
    if (!problems_ || problems_->size() >= kMaxProblems) return;
    const PathFrame frame{at, key};
    problems_->push_back("unknown field \"" + frame.dotted() + "\"");
  }

  static std::string json_name(const json::Value& v) {
    switch (v.type()) {
      case json::Type::kNull: return "null";
      case json::Type::kBool: return "bool";
      case json::Type::kString: return "string";
      case json::Type::kArray: return "array";
      case json::Type::kObject: return "object";
      default: return "number";
    }
  }

  std::string go_name(const TypeRef& ref) const {
    switch (ref.shape) {
      case Shape::kString: return "string";
      case Shape::kBool: return "bool";
      case Shape::kInt32: return "int32";
      case Shape::kInt64: return "int64";
      case Shape::kDouble: return "float64";
      case Shape::kBytes: return "[]uint8";
      case Shape::kQuantity: return "resource.Quantity";
      case Shape::kIntOrString: return "intstr.IntOrString";
      case Shape::kTime: return "v1.Time";
      case Shape::kMicroTime: return "v1.MicroTime";
      case Shape::kDuration: return "v1.Duration";
      case Shape::kArray: return "[]" + go_name(*ref.item);
      case Shape::kMap: return "map[string]" + go_name(*ref.item);
      case Shape::kObject: return go_object(types_.get(ref.object).name);
      case Shape::kAny: break;
    }
    return "interface {}";
  }

  bool mismatch(const json::Value& v, const std::string& wanted, const PathFrame* at) {
    const bool number_does_not_fit = v.is_number() && (wanted == "int32" || wanted == "int64");
    error = "json: cannot unmarshal " + (number_does_not_fit ? "number " + v.dump() : json_name(v)) + " into Go struct field " +
            std::string(last_segment(in_ ? in_->name : "Object")) + "." + (at ? at->members() : "") + " of type " + wanted;
    return false;
  }

  // Errors of values that parse themselves do not name the field in Go; we do.
  bool failed(const std::string& what, const PathFrame* at) {
    error = at->dotted() + ": " + what;
    return false;
  }

  const TypeTable& types_;
  std::vector<std::string>* problems_;
  const ObjectType* in_ = nullptr;  // the object type whose field is read now
};

}  // namespace

Result<void> normalise(json::Value& object, TypeId type, const TypeTable& types, std::vector<std::string>* problems) {
  const ObjectType& t = types.get(type);
  Normaliser n(types, problems);
  if (n.root(object, t)) return {};
  // "api.GROUP.v1.Thing": kind and version when the object itself does not say.
  std::string kind(object["kind"].as_string(last_segment(t.name)));
  const std::string go = go_object(t.name);
  std::string version(object["apiVersion"].as_string(go.substr(0, go.find('.'))));
  version.erase(0, version.rfind('/') + 1);
  return Error(PINTLE_BAD_REQUEST, kind + " in version \"" + version + "\" cannot be handled as a " + kind + ": " + n.error);
}

}  // namespace pintle::kernel

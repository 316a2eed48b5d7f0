// The flat table of API types, interned once: what plugins export in their manifests, what decoding, defaulting,
// validation, patching, protobuf and OpenAPI read.
//
// Threads: a TypeTable is built once and immutable afterwards; the Registry swaps whole tables.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::kernel {

using TypeId = uint32_t;
constexpr TypeId kNoType = UINT32_MAX;

// How a value is shaped. Named object types are kObject with `object` set.
enum class Shape : uint8_t {
  kString, kBool, kInt32, kInt64, kDouble, kBytes,   // bytes: base64 in JSON
  kQuantity, kIntOrString, kTime, kMicroTime, kDuration,
  kArray, kMap, kObject,
  kAny,       // any JSON (RawExtension, FieldsV1, JSON)
};

struct TypeRef {
  Shape shape = Shape::kAny;
  TypeId object = kNoType;               // kObject
  std::shared_ptr<const TypeRef> item;   // kArray, kMap
};

struct FieldType {
  std::string name;
  TypeRef type;
  bool required = false;
  bool immutable = false;   // may not change once set (update)
  bool stored_only = false; // accepted, not acted upon: a write that sets it gets a Warning naming it
  uint32_t proto = 0;       // protobuf field number; 0 = none
  bool proto_inline = false; // in protobuf a message of its own; in JSON its fields lie in the parent
  std::string proto_name;   // when it differs from `name` (uID, volumeSource)
  std::string doc;
  std::optional<json::Value> default_value;
  std::vector<std::string> enumeration;
  std::optional<double> minimum, maximum;
  std::string format;       // dns1123label, dns1123subdomain, dns1035label, qualifiedName, labelValue, path, ip, portName, ...
  std::optional<uint32_t> min_items, max_items, min_length, max_length;
  std::string list_type;    // atomic, set, map
  std::vector<std::string> list_map_keys;
  std::string map_type;     // atomic, granular
  std::string patch_strategy;  // "merge", "replace", "retainKeys", "merge,retainKeys"
  std::string patch_merge_key;
  uint8_t format_id = 0;    // index of `format` among the known formats (format.h)
  bool duplicates_allowed = false;  // a list of type map whose keys may repeat (declared: duplicates: allow)
  // What a zero ("" / 0 / false) in a protobuf body means: Go writes fields that were never set as zeros too.
  // kAuto: empty strings, and numbers below `minimum`, of optional fields are "not set"; everything else counts.
  enum class ProtoZero : uint8_t { kAuto, kKeep, kDrop } proto_zero = ProtoZero::kAuto;
  bool inlined = false;     // copied into this type from a proto_inline field's type; JSON sees it, protobuf does not
};

struct ObjectType {
  std::string name;          // "api.core.v1.PodSpec", "apimachinery.pkg.apis.meta.v1.ObjectMeta"
  std::string doc;
  std::vector<FieldType> fields;  // schema order: the canonical order
  bool hook_default = false, hook_validate = false;  // the owner's resource hooks run wherever the type occurs
  bool union_exactly_one = false;                     // exactly one of the members marked so (VolumeSource, Handler): see `union_fields`
  std::vector<std::string> union_fields;
  std::string owner;         // plugin
  // As seen in JSON: finds fields of inlined types, not the inlining field itself. Null when there is none.
  const FieldType* field(std::string_view name) const;
  // The same as an index; `hint` (the field expected next) is tried first. -1 when there is none.
  int field_index(std::string_view name, size_t hint) const;

  // Derived by TypeTable.
  std::vector<uint16_t> by_name;  // indexes of JSON-visible fields, sorted by name
  enum Deep : uint8_t { kHasDefaults = 1, kHasHooks = 2, kHasStoredOnly = 4 };
  uint8_t deep = 0;               // what occurs in this type or below it
};

class TypeTable {
 public:
  TypeId find(std::string_view name) const;  // kNoType when unknown
  const ObjectType& get(TypeId id) const { return types_[id]; }
  size_t size() const { return types_.size(); }
  // Adds the `types` of a manifest. References may point forward or to other manifests; resolve() checks them.
  Result<void> add(const std::string& owner, const json::Value& types);
  // A type that the same owner exports again replaces the earlier one under the same id.
  Result<void> resolve();  // INVALID naming every dangling reference; also derives what depends on other types

 private:
  TypeId intern(const std::string& name, const std::string& referrer);
  Result<TypeRef> parse_ref(std::string_view text, const std::string& referrer);
  Result<FieldType> parse_field(const std::string& type, const std::string& name, const json::Value& v);
  Result<void> inline_fields(TypeId id, std::vector<uint8_t>& state);

  std::vector<ObjectType> types_;
  std::unordered_map<std::string, TypeId> by_name_;
  std::unordered_map<TypeId, std::string> dangling_;  // referred to and not defined -> who refers to it
};

}  // namespace pintle::kernel

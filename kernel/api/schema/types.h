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
};

struct ObjectType {
  std::string name;          // "api.core.v1.PodSpec", "apimachinery.pkg.apis.meta.v1.ObjectMeta"
  std::string doc;
  std::vector<FieldType> fields;  // schema order: the canonical order
  bool hook_default = false, hook_validate = false;  // the owner's resource hooks run wherever the type occurs
  bool union_exactly_one = false;                     // exactly one of the members marked so (VolumeSource, Handler): see `union_fields`
  std::vector<std::string> union_fields;
  std::string owner;         // plugin
  const FieldType* field(std::string_view name) const;
};

class TypeTable {
 public:
  TypeId find(std::string_view name) const;  // kNoType when unknown
  const ObjectType& get(TypeId id) const { return types_[id]; }
  size_t size() const { return types_.size(); }
  // Adds the `types` of a manifest. References may point forward or to other manifests; resolve() checks them.
  Result<void> add(const std::string& owner, const json::Value& types);
  Result<void> resolve();  // INVALID naming the first dangling reference
 private:
  std::vector<ObjectType> types_;
  std::unordered_map<std::string, TypeId> by_name_;
};

}  // namespace pintle::kernel

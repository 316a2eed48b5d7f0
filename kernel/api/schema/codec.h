// Between bytes on the wire and canonical objects: decode, check fields, default, validate, encode.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/api/schema/kind.h"

namespace pintle::kernel {

enum class FieldValidation { kIgnore, kWarn, kStrict };

struct Decoded {
  json::Value value;
  std::vector<std::string> problems;  // `unknown field "spec.foo"`, `duplicate field "spec.bar"`: in the order met
};

// JSON, YAML (depth, node and alias budgets) or Kubernetes protobuf into a value, according to `content_type`.
// Protobuf needs `types`; the message type comes from the envelope's apiVersion/kind via `registry`.
// Errors: BAD_REQUEST with Kubernetes' wording, UNSUPPORTED_MEDIA.
Result<Decoded> decode_body(std::string_view body, std::string_view content_type, const RegistrySnapshot& registry);

// Drops unknown fields and fields of the wrong type are errors: `Thing in version "v1" cannot be handled as a Thing: json:
// cannot unmarshal ...`. Puts members into schema order. Problems are appended; null members are dropped.
Result<void> normalise(json::Value& object, TypeId type, const TypeTable& types, std::vector<std::string>* problems);

void apply_defaults(json::Value& object, TypeId type, const TypeTable& types);

struct FieldCause {
  std::string reason;  // FieldValueRequired, FieldValueInvalid, ...
  std::string field;   // "spec.containers[0].image"
  std::string message; // "Required value: ..."
};
// Required, enum, range, format, list-map keys, unions; with `old`: immutability.
void validate(const json::Value& object, const json::Value* old, TypeId type, const TypeTable& types, const std::string& path,
              std::vector<FieldCause>& causes);
// Names, labels, annotations, ownerReferences, finalizers of ObjectMeta.
void validate_metadata(const json::Value& metadata, const Kind& kind, std::vector<FieldCause>& causes);

// Visits every occurrence of types that have hooks: fn(type, path, value).
void visit_hooked(json::Value& object, TypeId type, const TypeTable& types, const std::string& path,
                  const std::function<void(const ObjectType&, const std::string& path, json::Value&)>& fn);

// Fields set in `object` (and not, or differently, in `old`) that are stored_only: dotted paths for the Warning.
std::vector<std::string> stored_only_fields(const json::Value& object, const json::Value* old, TypeId type, const TypeTable& types);

// Patches. `type` may be kNoType for merge and JSON patch. Errors carry Kubernetes' code (400, 413, 422).
Result<void> merge_patch(json::Value& target, const json::Value& patch);
Result<void> json_patch(json::Value& target, const json::Value& patch);  // at most 10,000 operations, copies bounded
Result<void> strategic_patch(json::Value& target, const json::Value& patch, TypeId type, const TypeTable& types);

// Documents. Rendered from a snapshot; callers cache by RegistrySnapshot::generation.
json::Value discovery_groups(const RegistrySnapshot&);                                   // GET /apis
json::Value discovery_resources(const RegistrySnapshot&, std::string_view group, std::string_view version);  // null = no such
json::Value discovery_aggregated(const RegistrySnapshot&, bool core);                    // apidiscovery.k8s.io/v2
json::Value openapi_v3_index(const RegistrySnapshot&, const std::function<std::string(const std::string& path)>& hash);
json::Value openapi_v3(const RegistrySnapshot&, std::string_view group, std::string_view version);
// The same as compact text, without a tree in memory (the documents are megabytes). "" = no such group and version.
std::string openapi_v3_text(const RegistrySnapshot&, std::string_view group, std::string_view version);
// All groups and versions as one OpenAPI v2 document: JSON, and the same as gnostic's openapi.v2.Document in protobuf.
std::string openapi_v2_text(const RegistrySnapshot&);
std::string openapi_v2_protobuf(const RegistrySnapshot&);

// "5m", "3h12m", "2d", "<invalid>": the ages that kubectl prints.
std::string human_duration(int64_t ns);

// Selectors.
class LabelSelector {
 public:
  static Result<LabelSelector> parse(std::string_view text);          // query grammar; BAD_REQUEST
  static Result<LabelSelector> from_object(const json::Value& selector);  // metav1.LabelSelector
  bool matches(std::string_view packed_labels) const;                  // Facets::labels
  bool empty() const { return requirements_.empty(); }
 private:
  struct Requirement { std::string key; int op; std::vector<std::string> values; };
  std::vector<Requirement> requirements_;
};
struct FieldRequirement { std::string field, value; bool equal; };
Result<std::vector<FieldRequirement>> parse_field_selector(std::string_view text);

std::string pack_labels(const json::Value& labels);

}  // namespace pintle::kernel

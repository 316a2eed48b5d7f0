// OpenAPI v2 in protobuf: the messages of openapi.v2 (google/gnostic, openapiv2/OpenAPIv2.proto) as tables, member by member.
#include <bit>
#include <span>

#include "kernel/api/schema/openapi.h"

namespace pintle::kernel {
namespace {

// How a member of the JSON form lies in its message.
enum class ProtoHow : uint8_t {
  kText, kTexts, kFlag, kCount, kReal,
  kAny, kAnys,   // Any: the value as YAML, of which JSON is a part
  kType,         // TypeItem {repeated string value = 1}
  kItems,        // ItemsItem {repeated Schema schema = 1}
  kAdditional,   // AdditionalPropertiesItem {Schema schema = 1 | bool boolean = 2}
  kSchema,
  kProperties,   // Properties {repeated NamedSchema additional_properties = 1}
  kSchemaItem,   // SchemaItem {Schema schema = 1}
  kOperation,
  kParameters,   // repeated ParametersItem
  kResponses,    // Responses {repeated NamedResponseValue response_code = 1}
};

struct ProtoMember {
  std::string_view name;
  uint32_t number;
  ProtoHow how;
};

constexpr ProtoMember kSchemaMembers[] = {
    {"$ref", 1, ProtoHow::kText}, {"format", 2, ProtoHow::kText}, {"title", 3, ProtoHow::kText}, {"description", 4, ProtoHow::kText}, {"default", 5, ProtoHow::kAny},
    {"maximum", 7, ProtoHow::kReal}, {"minimum", 9, ProtoHow::kReal}, {"maxLength", 11, ProtoHow::kCount}, {"minLength", 12, ProtoHow::kCount}, {"pattern", 13, ProtoHow::kText},
    {"maxItems", 14, ProtoHow::kCount}, {"minItems", 15, ProtoHow::kCount}, {"uniqueItems", 16, ProtoHow::kFlag}, {"maxProperties", 17, ProtoHow::kCount}, {"minProperties", 18, ProtoHow::kCount},
    {"required", 19, ProtoHow::kTexts}, {"enum", 20, ProtoHow::kAnys}, {"additionalProperties", 21, ProtoHow::kAdditional}, {"type", 22, ProtoHow::kType}, {"items", 23, ProtoHow::kItems},
    {"properties", 25, ProtoHow::kProperties}};
constexpr uint32_t kSchemaExtension = 31;

constexpr ProtoMember kPathItemMembers[] = {
    {"get", 2, ProtoHow::kOperation}, {"put", 3, ProtoHow::kOperation}, {"post", 4, ProtoHow::kOperation}, {"delete", 5, ProtoHow::kOperation}, {"options", 6, ProtoHow::kOperation},
    {"head", 7, ProtoHow::kOperation}, {"patch", 8, ProtoHow::kOperation}, {"parameters", 9, ProtoHow::kParameters}};
constexpr uint32_t kPathItemExtension = 10;

constexpr ProtoMember kOperationMembers[] = {
    {"tags", 1, ProtoHow::kTexts}, {"summary", 2, ProtoHow::kText}, {"description", 3, ProtoHow::kText}, {"operationId", 5, ProtoHow::kText}, {"produces", 6, ProtoHow::kTexts},
    {"consumes", 7, ProtoHow::kTexts}, {"parameters", 8, ProtoHow::kParameters}, {"responses", 9, ProtoHow::kResponses}};
constexpr uint32_t kOperationExtension = 13;

constexpr ProtoMember kResponseMembers[] = {{"description", 1, ProtoHow::kText}, {"schema", 2, ProtoHow::kSchemaItem}};

constexpr ProtoMember kBodyMembers[] = {{"description", 1, ProtoHow::kText}, {"name", 2, ProtoHow::kText}, {"in", 3, ProtoHow::kText}, {"required", 4, ProtoHow::kFlag}, {"schema", 5, ProtoHow::kSchema}};
constexpr ProtoMember kQueryMembers[] = {{"required", 1, ProtoHow::kFlag}, {"in", 2, ProtoHow::kText}, {"description", 3, ProtoHow::kText}, {"name", 4, ProtoHow::kText},
                                    {"type", 6, ProtoHow::kText}, {"format", 7, ProtoHow::kText}, {"uniqueItems", 20, ProtoHow::kFlag}};
constexpr ProtoMember kPathMembers[] = {{"required", 1, ProtoHow::kFlag}, {"in", 2, ProtoHow::kText}, {"description", 3, ProtoHow::kText}, {"name", 4, ProtoHow::kText},
                                   {"type", 5, ProtoHow::kText}, {"format", 6, ProtoHow::kText}, {"uniqueItems", 19, ProtoHow::kFlag}};

void append_varint(uint64_t v, std::string& out) {
  for (; v >= 0x80; v >>= 7) out += static_cast<char>(v | 0x80);
  out += static_cast<char>(v);
}

void append_count(uint32_t field, uint64_t v, std::string& out) {
  if (v == 0) return;
  append_varint(uint64_t{field} << 3, out);
  append_varint(v, out);
}

void append_real(uint32_t field, double v, std::string& out) {
  if (v == 0) return;
  append_varint(uint64_t{field} << 3 | 1, out);
  const auto bits = std::bit_cast<uint64_t>(v);
  for (int i = 0; i < 8; ++i) out += static_cast<char>(bits >> (8 * i));
}

std::string wrapped(uint32_t field, std::string_view bytes) {
  std::string out;
  append_proto_bytes(field, bytes, out);
  return out;
}

std::string any_message(const json::Value& v) { return wrapped(2, v.dump()); }

// Named* messages: name = 1, value = 2.
std::string named_message(std::string_view name, std::string_view value) {
  std::string out = wrapped(1, name);
  append_proto_bytes(2, value, out);
  return out;
}

std::string object_message(const json::Value& object, std::span<const ProtoMember> members, uint32_t extension);

std::string schema_message(const json::Value& v) { return object_message(v, kSchemaMembers, kSchemaExtension); }

// ParametersItem {Parameter {BodyParameter = 1 | NonBodyParameter = 2 {query = 3 | path = 4}} = 1}
std::string parameter_message(const json::Value& v) {
  const std::string_view in = v["in"].as_string();
  if (in == "body") return wrapped(1, wrapped(1, object_message(v, kBodyMembers, 6)));
  if (in == "path") return wrapped(1, wrapped(2, wrapped(4, object_message(v, kPathMembers, 22))));
  return wrapped(1, wrapped(2, wrapped(3, object_message(v, kQueryMembers, 23))));
}

void append_member(const ProtoMember& m, const json::Value& v, std::string& out) {
  const auto bytes = [&](std::string_view b) { append_proto_bytes(m.number, b, out); };
  switch (m.how) {
    case ProtoHow::kText:
      if (!v.as_string().empty()) bytes(v.as_string());
      break;
    case ProtoHow::kTexts:
      for (const json::Value& t : v.items()) bytes(t.as_string());
      break;
    case ProtoHow::kFlag: append_count(m.number, v.as_bool(), out); break;
    case ProtoHow::kCount: append_count(m.number, static_cast<uint64_t>(v.as_int()), out); break;
    case ProtoHow::kReal: append_real(m.number, v.as_double(), out); break;
    case ProtoHow::kAny: bytes(any_message(v)); break;
    case ProtoHow::kAnys:
      for (const json::Value& t : v.items()) bytes(any_message(t));
      break;
    case ProtoHow::kType: bytes(wrapped(1, v.as_string())); break;
    case ProtoHow::kItems:
    case ProtoHow::kAdditional:
    case ProtoHow::kSchemaItem: bytes(wrapped(1, schema_message(v))); break;
    case ProtoHow::kSchema: bytes(schema_message(v)); break;
    case ProtoHow::kProperties: bytes(openapi_v2_entries(OpenApiPiece::kSchema, v, 1)); break;
    case ProtoHow::kOperation: bytes(object_message(v, kOperationMembers, kOperationExtension)); break;
    case ProtoHow::kParameters:
      for (const json::Value& p : v.items()) bytes(parameter_message(p));
      break;
    case ProtoHow::kResponses: {
      std::string all;
      for (const json::Member& r : v.members()) append_proto_bytes(1, named_message(r.key, wrapped(1, object_message(r.value, kResponseMembers, 5))), all);
      bytes(all);
      break;
    }
  }
}

std::string object_message(const json::Value& object, std::span<const ProtoMember> members, uint32_t extension) {
  std::string out;
  for (const ProtoMember& m : members)
    if (const json::Value* v = object.find(m.name)) append_member(m, *v, out);
  for (const json::Member& m : object.members())
    if (m.key.starts_with("x-")) append_proto_bytes(extension, named_message(m.key, any_message(m.value)), out);
  return out;
}

}  // namespace

void append_proto_bytes(uint32_t field, std::string_view bytes, std::string& out) {
  append_varint(uint64_t{field} << 3 | 2, out);
  append_varint(bytes.size(), out);
  out += bytes;
}

std::string openapi_v2_entries(OpenApiPiece what, const json::Value& entries, uint32_t field) {
  std::string out;
  for (const json::Member& m : entries.members())
    append_proto_bytes(field, named_message(m.key, what == OpenApiPiece::kPaths ? object_message(m.value, kPathItemMembers, kPathItemExtension) : schema_message(m.value)), out);
  return out;
}

}  // namespace pintle::kernel

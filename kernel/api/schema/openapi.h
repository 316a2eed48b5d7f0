// What the OpenAPI documents of both versions are made of.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "kernel/api/schema/kind.h"

namespace pintle::kernel {

// OpenAPI v3 of all groups and versions, piece by piece: first the paths of each kind, {"/api/v1/...": {...}, ...}, then each
// schema, {"io.k8s.api.GROUP.v1.Thing": {...}}. A piece is gone when `take` returns: the whole takes megabytes.
enum class OpenApiPiece { kPaths, kSchema };
void openapi_v3_pieces(const RegistrySnapshot& registry, const std::function<void(OpenApiPiece, std::string_view json)>& take);

// A part of an OpenAPI v2 document as gnostic's openapi.v2 messages hold it: the bytes of its NamedPathItem or NamedSchema entries,
// which `field` of the message around them repeats. What the messages have no field for is left out.
std::string openapi_v2_entries(OpenApiPiece what, const json::Value& named, uint32_t field);
// A field that holds bytes (a message, a text), with its tag and length.
void append_proto_bytes(uint32_t field, std::string_view bytes, std::string& out);

}  // namespace pintle::kernel

// The three decoders behind decode_body().
#pragma once
#include <string_view>

#include "kernel/api/schema/codec.h"

namespace pintle::kernel {

constexpr int kMaxDepth = 256;
constexpr size_t kMaxProblems = 64;  // of one body; who has more fixes these first

Result<Decoded> decode_json(std::string_view body);
Result<Decoded> decode_yaml(std::string_view body);
Result<Decoded> decode_protobuf(std::string_view body, const RegistrySnapshot& registry);

bool valid_utf8(std::string_view s);
// Levels of nesting: 1 for a scalar. Stops counting above `limit`.
int depth_of(const json::Value& v, int limit);
Error unsupported_media(std::string_view accepted);

}  // namespace pintle::kernel

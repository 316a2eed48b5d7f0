// Base64 as JSON carries bytes (RFC 4648, padded).
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace pintle::kernel {

std::string encode_base64(std::string_view bytes);
// Offset of the first wrong character, or npos when `text` is padded base64 (line breaks are allowed, as in Go).
size_t find_base64_error(std::string_view text);

}  // namespace pintle::kernel

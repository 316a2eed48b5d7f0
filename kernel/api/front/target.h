// The request target: one decoder for paths and queries, with the rules of what is refused.
#pragma once
#include <string>
#include <string_view>

#include "kernel/api/front/http.h"
#include "kernel/api/front/refusal.h"

namespace pintle::kernel {

// Fills request.path and request.query from request.target. Refused (400): what is not origin form or absolute form,
// "//", segments "." and "..", an encoded slash, control characters, broken percent-encoding, a decoded path or query that is not UTF-8.
Refusal decode_target(HttpRequest& request);

// Strict: no overlong forms, no surrogates.
bool is_utf8(std::string_view text);

}  // namespace pintle::kernel

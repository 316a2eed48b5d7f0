// Undoes "Content-Encoding: gzip" of a request body.
#pragma once
#include <string>

#include "kernel/api/front/refusal.h"

namespace pintle::kernel {

// Replaces `body` by its plain form. Refused: 413 when that would exceed `budget` bytes, 400 when it is not complete gzip.
Refusal gunzip(std::string& body, size_t budget);

}  // namespace pintle::kernel

// Answers that the front end gives by itself: a Kubernetes Status as JSON.
#pragma once
#include <string>
#include <string_view>

namespace pintle::kernel {

// A request that never reaches a handler. code 0: no refusal.
struct Refusal {
  int code = 0;
  std::string message;
  int retry_after_s = 0;  // > 0: details.retryAfterSeconds and the Retry-After header
  explicit operator bool() const { return code != 0; }
};

// The Status document of a refusal; `code` may be any 4xx or 5xx.
std::string refusal_body(const Refusal& refusal);
const char* http_reason(int code);  // "Not Found"; "Unknown" for what has no name here

}  // namespace pintle::kernel

// JSON of a test, which must be well-formed.
#pragma once
#include <gtest/gtest.h>

#include "pintle/json.h"

namespace pintle::core {

inline json::Value parse(const char* text) {
  const json::ParseResult r = json::parse(text);
  EXPECT_TRUE(r.ok) << r.error;
  return r.value;
}

}  // namespace pintle::core

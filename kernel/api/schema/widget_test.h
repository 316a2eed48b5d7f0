// A plugin's types and kinds as tests hand them over: enough shapes to meet every rule of the schema.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "kernel/api/schema/codec.h"

namespace pintle::kernel::testing {

inline json::Value parse(const std::string& text) {
  json::ParseResult r = json::parse(text);
  EXPECT_TRUE(r.ok) << r.error << " in " << text;
  return std::move(r.value);
}

extern const char* const kMetaManifest;    // ObjectMeta and its friends
extern const char* const kWidgetManifest;  // Widget of widgets.example.io/v1 and what it is made of

// Both manifests added.
class Widgets : public ::testing::Test {
 protected:
  Widgets();
  TypeId type(const std::string& name) const {
    const TypeId id = snapshot->types.find(name);
    EXPECT_NE(id, kNoType) << name;
    return id;
  }
  TypeId widget() const { return type("example.v1.Widget"); }
  const TypeTable& types() const { return snapshot->types; }
  // Normalised; a wrong type fails the test.
  json::Value canonical(const std::string& text, std::vector<std::string>* problems = nullptr) const;
  std::string normalise_error(const std::string& text) const;
  // "reason field: message" per cause, after defaults.
  std::vector<std::string> causes(const std::string& text, const std::string& old = "") const;

  Registry registry;
  std::shared_ptr<const RegistrySnapshot> snapshot;
};

}  // namespace pintle::kernel::testing

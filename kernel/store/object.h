// A stored object: immutable canonical JSON, reference-counted, with the few decoded facts that selection needs.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pintle::kernel {

using Revision = uint64_t;

// "<plural>.<group>" of the storage kind: "pods", "deployments.apps".
struct Key {
  std::string kind, ns, name;
  bool operator==(const Key&) const = default;
  auto operator<=>(const Key&) const = default;
};

// What selection and indexes need, extracted once per version by the kind's owner (Store::set_kind).
struct Facets {
  std::string labels;               // "key\0value\0" pairs, sorted by key
  std::vector<std::string> fields;  // values of KindTraits::fields, same order; "" when absent
};

class StoredObject {
 public:
  StoredObject(Key key, Revision revision, std::string_view json, Facets facets);
  // Canonical JSON with resourceVersion; 64 readable zero bytes follow (simdjson).
  std::string_view json() const { return {bytes_.get(), size_}; }
  const Key& key() const { return key_; }
  Revision revision() const { return revision_; }
  const Facets& facets() const { return facets_; }
  // Cache for pintle.object/1 field(): owned by whoever sets it first, freed with the object. [any]
  std::atomic<void*>& view() const { return view_; }
  ~StoredObject();
  StoredObject(const StoredObject&) = delete;
  static void (*free_view)(void*);  // set once at start by kernel/plugin

 private:
  Key key_;
  Revision revision_;
  std::unique_ptr<char[]> bytes_;
  size_t size_;
  Facets facets_;
  mutable std::atomic<void*> view_{nullptr};
};
using ObjectRef = std::shared_ptr<const StoredObject>;

}  // namespace pintle::kernel

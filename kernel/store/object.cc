#include "kernel/store/object.h"

namespace pintle::kernel {
namespace {
constexpr size_t kPadding = 64;
}

void (*StoredObject::free_view)(void*) = nullptr;

StoredObject::StoredObject(Key key, Revision revision, std::string_view json, Facets facets)
    : key_(std::move(key)),
      revision_(revision),
      bytes_(std::make_unique_for_overwrite<char[]>(json.size() + kPadding)),
      size_(json.size()),
      facets_(std::move(facets)) {
  std::memcpy(bytes_.get(), json.data(), json.size());
  std::memset(bytes_.get() + json.size(), 0, kPadding);
}

StoredObject::~StoredObject() {
  void* view = view_.load(std::memory_order_acquire);
  if (view && free_view) free_view(view);
}

}  // namespace pintle::kernel

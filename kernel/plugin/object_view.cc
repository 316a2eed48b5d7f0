#include "kernel/plugin/object_view.h"

#include <atomic>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>

#include "kernel/base/raw_field.h"
#include "pintle/result.h"

struct pintle_object {
  std::atomic<uint32_t> references{1};
  pintle::kernel::ObjectRef object;
};

namespace pintle::kernel {
namespace {

// Paths are registered once per process; few, and never removed.
struct Paths {
  std::shared_mutex mutex;
  std::unordered_map<std::string, uint32_t> ids;
  std::vector<std::shared_ptr<const std::vector<std::string>>> keys;
};
Paths& paths() {
  static auto* p = new Paths;
  return *p;
}

// Fields found so far, for all who look at this version of the object.
struct View {
  std::mutex mutex;
  std::vector<std::optional<std::string_view>> fields;
};

void free_view(void* view) { delete static_cast<View*>(view); }

View& view_of(const StoredObject& object) {
  if (void* have = object.view().load(std::memory_order_acquire)) return *static_cast<View*>(have);
  auto* fresh = new View;
  void* expected = nullptr;
  if (object.view().compare_exchange_strong(expected, fresh, std::memory_order_acq_rel)) return *fresh;
  delete fresh;
  return *static_cast<View*>(expected);
}

uint32_t path(const pintle_host*, pintle_bytes dotted) {
  Paths& p = paths();
  std::string text(view(dotted));
  std::unique_lock lock(p.mutex);
  const auto [at, fresh] = p.ids.emplace(std::move(text), static_cast<uint32_t>(p.keys.size()));
  if (fresh) p.keys.push_back(std::make_shared<const std::vector<std::string>>(split_path(at->first)));
  return at->second;
}

pintle_bytes field(const pintle_object* handle, uint32_t id) {
  std::shared_ptr<const std::vector<std::string>> keys;
  {
    Paths& p = paths();
    std::shared_lock lock(p.mutex);
    if (id >= p.keys.size()) return {nullptr, 0};
    keys = p.keys[id];
  }
  View& v = view_of(*handle->object);
  std::lock_guard lock(v.mutex);
  if (v.fields.size() <= id) v.fields.resize(id + 1);
  auto& found = v.fields[id];
  if (!found) found = raw_field(handle->object->json(), *keys);
  return found->empty() ? pintle_bytes{nullptr, 0} : bytes(*found);
}

}  // namespace

pintle_object* make_handle(ObjectRef object) {
  if (!object) return nullptr;
  static const bool once = [] {
    StoredObject::free_view = free_view;
    return true;
  }();
  (void)once;
  auto* handle = new pintle_object;
  handle->object = std::move(object);
  return handle;
}

void release_handle(pintle_object* handle) {
  if (handle->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete handle;
}

const pintle_object_api* object_api() {
  static constexpr pintle_object_api kApi{
      sizeof(pintle_object_api),
      [](pintle_object* o) { o->references.fetch_add(1, std::memory_order_relaxed); },
      release_handle,
      [](const pintle_object* o) { return bytes(o->object->json()); },
      [](const pintle_object* o) -> uint64_t { return o->object->revision(); },
      path,
      field,
      [](const pintle_object* o) { return bytes(o->object->key().kind); },
  };
  return &kApi;
}

}  // namespace pintle::kernel

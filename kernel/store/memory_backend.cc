#include "kernel/store/backend.h"

namespace pintle::kernel {
namespace {

// Keeps nothing: the store's own memory is the only copy.
class MemoryBackend final : public Backend {
 public:
  bool blocking() const override { return false; }
  Result<LoadedState> load(const std::function<void(StoredRow)>&) override { return LoadedState(); }
  Result<void> append(const Group&) override { return {}; }
  void close() override {}
  json::Value metrics() const override { return json::Value::object(); }
};

}  // namespace

std::unique_ptr<Backend> make_memory_backend() { return std::make_unique<MemoryBackend>(); }

}  // namespace pintle::kernel

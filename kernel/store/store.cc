#include "kernel/store/store.h"

#include "kernel/store/backend.h"
#include "kernel/store/core.h"

namespace pintle::kernel {
namespace {

// What callers hold. The core may outlive it for a moment in tasks that the executor still has.
class CoreStore final : public Store {
 public:
  explicit CoreStore(std::shared_ptr<StoreCore> core) : core_(std::move(core)) {}
  ~CoreStore() override { core_->close(); }

  void set_kind(const std::string& kind, KindTraits traits) override { core_->set_kind(kind, std::move(traits)); }
  std::vector<std::string> kinds() const override { return core_->kinds(); }
  ObjectRef get(const Key& key) const override { return core_->get(key); }
  Result<ListPage> list(const ListQuery& query) const override { return core_->list(query); }
  size_t count(const std::string& kind, const std::string& ns) const override { return core_->count(kind, ns); }
  Revision revision() const override { return core_->revision(); }
  void commit(Transaction txn, CommitDone done) override { core_->commit(std::move(txn), std::move(done)); }
  uint64_t epoch(const std::string& slot) const override { return core_->epoch(slot); }
  Result<uint64_t> subscribe(Revision from, ChangeSink sink) override { return core_->subscribe(from, std::move(sink)); }
  void unsubscribe(uint64_t id) override { core_->unsubscribe(id); }
  bool read_only() const override { return core_->read_only(); }
  json::Value metrics() const override { return core_->metrics(); }
  void close() override { core_->close(); }

 private:
  const std::shared_ptr<StoreCore> core_;
};

}  // namespace

Result<std::unique_ptr<Store>> make_store(Executor& executor, const StoreOptions& options,
                                          std::unique_ptr<Backend> backend) {
  auto core = std::make_shared<StoreCore>(executor, options, std::move(backend));
  const Result<void> loaded = core->load();
  if (!loaded) return loaded.error();
  return std::unique_ptr<Store>(std::make_unique<CoreStore>(std::move(core)));
}

Result<std::unique_ptr<Store>> open_store(Executor& executor, const StoreOptions& options) {
  if (options.path.empty()) return make_store(executor, options, make_memory_backend());
  Result<std::unique_ptr<Backend>> backend = open_sqlite_backend(executor, options.path);
  if (!backend) return backend.error();
  return make_store(executor, options, std::move(*backend));
}

}  // namespace pintle::kernel

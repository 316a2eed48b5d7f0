// Host services as the kernel itself gives them: the pipeline under the plugin's identity, the bus, the slots.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "kernel/api/pipeline.h"
#include "kernel/bus/bus.h"
#include "kernel/plugin/backend.h"
#include "kernel/plugin/manifest.h"
#include "kernel/plugin/slots.h"

namespace pintle::kernel {

// What all instances share. Outlives them.
struct KernelServices {
  Executor& executor;
  Store& store;
  Bus& bus;
  Pipeline& pipeline;
  std::shared_ptr<SlotTable> slots;
};

// One per instance. Threads: any.
class KernelBackend final : public HostBackend {
 public:
  using OnReport = std::function<void(int health, std::string message)>;
  KernelBackend(KernelServices& services, std::string name, std::shared_ptr<const Manifest> manifest, std::shared_ptr<std::atomic<int>> log_level,
                OnReport on_report);
  Executor& executor() override { return services_.executor; }
  void log(int level, std::string_view text, std::string_view fields) override;
  int log_level() const override { return *log_level_; }
  void report(int health, std::string_view message) override { on_report_(health, std::string(message)); }
  Result<ObjectRef> get(const Key& key) override;
  Result<Listed> list(const StoreQuery& query) override;
  Result<std::unique_ptr<WatchFeed>> watch(const StoreQuery& query, std::function<void()> wake) override;
  void commit(std::vector<StoreOp> ops, std::vector<FenceCheck> fences, uint32_t flags,
              std::function<void(pintle_code, std::vector<StoreOpResult>)> done) override;
  std::shared_ptr<OpenCall> invoke(const std::string& slot, Invoke call) override;
  uint64_t epoch(const std::string& slot) override { return services_.slots->epoch(slot); }
  void hold(const std::string& slot, uint64_t epoch) override;

  Identity identity() const;  // with the fences of the slots it holds

 private:
  Result<std::shared_ptr<const Kind>> kind_for(const std::string& kind, const char* verb) const;
  KernelServices& services_;
  const std::string name_;
  const std::shared_ptr<const Manifest> manifest_;
  const std::shared_ptr<std::atomic<int>> log_level_;
  const OnReport on_report_;
  mutable std::mutex mutex_;
  std::vector<FenceCheck> held_;
};

}  // namespace pintle::kernel

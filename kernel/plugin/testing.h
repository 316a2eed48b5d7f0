// For tests of this room: a host backend without an API behind it, and the plugins of tests/plugins.
#pragma once
#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "kernel/plugin/instance.h"
#include "kernel/plugin/inventory.h"
#include "kernel/plugin/slots.h"

namespace pintle::kernel::testing {

class PlainBackend final : public HostBackend {
 public:
  explicit PlainBackend(Executor& e, std::shared_ptr<SlotTable> s = nullptr) : executor_(e), slots_(std::move(s)) {}
  Executor& executor() override { return executor_; }
  void log(int, std::string_view text, std::string_view) override {
    std::lock_guard lock(mutex);
    lines.emplace_back(text);
  }
  int log_level() const override { return PINTLE_LOG_DEBUG; }
  void report(int, std::string_view message) override {
    std::lock_guard lock(mutex);
    reports.emplace_back(message);
  }
  Result<ObjectRef> get(const Key&) override { return Error(PINTLE_NOT_FOUND, "empty"); }
  Result<Listed> list(const StoreQuery&) override { return Listed{}; }
  Result<std::unique_ptr<WatchFeed>> watch(const StoreQuery&, std::function<void()>) override {
    struct Silent final : WatchFeed {
      std::vector<WatchEvent> take(size_t) override { return {}; }
    };
    return std::unique_ptr<WatchFeed>(new Silent);
  }
  void commit(std::vector<StoreOp>, std::vector<FenceCheck>, uint32_t, std::function<void(pintle_code, std::vector<StoreOpResult>)> done) override {
    executor_.post([done] { done(PINTLE_OK, {}); });
  }
  std::shared_ptr<OpenCall> invoke(const std::string& slot, Invoke call) override { return slots_->invoke(slot, std::move(call), fences()); }
  uint64_t epoch(const std::string& slot) override { return slots_ ? slots_->epoch(slot) : 0; }
  void hold(const std::string& slot, uint64_t epoch) override {
    std::lock_guard lock(mutex);
    held.push_back({slot, epoch});
  }
  std::vector<FenceCheck> fences() {
    std::lock_guard lock(mutex);
    return held;
  }
  std::mutex mutex;
  std::vector<std::string> lines, reports;
  std::vector<FenceCheck> held;

 private:
  Executor& executor_;
  std::shared_ptr<SlotTable> slots_;
};

inline std::string test_plugin(const std::string& name) { return std::string(PINTLE_TEST_PLUGINS) + "/" + name + ".so"; }

inline InstanceOptions probe_options(Executor& executor, const std::string& config, const std::string& name = "probe",
                                     std::shared_ptr<SlotTable> slots = nullptr) {
  const PluginFile file = inspect_file(test_plugin(name));
  InstanceOptions o;
  o.name = name;
  o.manifest = file.manifest;
  o.file = file.path;
  o.digest = file.digest;
  o.config = config;
  o.backend = std::make_shared<PlainBackend>(executor, std::move(slots));
  return o;
}

}  // namespace pintle::kernel::testing

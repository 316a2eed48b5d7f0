// How the request pipeline reaches plugins: by plugin name or slot, with a deadline and a breaker.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "kernel/api/pipeline.h"
#include "kernel/plugin/slots.h"

namespace pintle::kernel {

// Threads: any.
class PluginCalls final : public HookCaller {
 public:
  // Hooks of kinds that the kernel owns itself run here, not in a plugin.
  using BuiltIn = std::function<void(uint32_t method, std::string request, std::function<void(Result<std::string>)> done)>;

  PluginCalls(Executor& executor) : executor_(executor) {}
  void set_slots(std::shared_ptr<SlotTable> slots);
  void set_built_in(std::string owner, BuiltIn fn);
  // Kinds name their owner by its manifest; the running instance by its Plugin object.
  void set_alias(const std::string& manifest_name, const std::string& object_name);
  void set_providers(std::function<std::vector<std::string>(const std::string& interface_id)> source);

  // Deadline 1 s unless given. After 5 calls in a row without an answer (TIMEOUT, UNAVAILABLE) calls fail at once for 5 s, then
  // one is let through. NOT_FOUND of a slot becomes UNAVAILABLE.
  void call(const std::string& plugin_or_slot, const char* interface_id, uint32_t method, std::string request, uint64_t deadline_ns,
            std::function<void(Result<std::string>)> done) override;
  // No deadline.
  std::function<void()> open(const std::string& slot, const char* interface_id, uint32_t method, std::string request, std::vector<int> fds,
                             std::function<bool(std::string_view)> part, std::function<void(Result<std::string>)> done,
                             std::function<void(std::function<void()>)>* resume) override;
  bool slot_held(const std::string& slot) const override;
  std::vector<std::string> slots(const std::string& prefix) const override;
  std::vector<std::string> providers(const std::string& interface_id) const override;

 private:
  struct Breaker {
    int failures = 0;
    uint64_t closed_until = 0;
  };
  std::shared_ptr<SlotTable> table() const;
  std::string target(const std::string& plugin_or_slot) const;
  Executor& executor_;
  mutable std::mutex mutex_;
  std::shared_ptr<SlotTable> slots_;
  std::string owner_;
  BuiltIn built_in_;
  std::function<std::vector<std::string>(const std::string&)> providers_;
  std::map<std::string, std::string> aliases_;
  std::map<std::string, Breaker> breakers_;
};

}  // namespace pintle::kernel

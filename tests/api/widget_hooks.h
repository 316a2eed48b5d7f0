// The widgets' plugin as a table in the test: every hook of pintle.resource, and the far end of log.
#pragma once
#include <map>
#include <mutex>
#include <set>

#include "kernel/api/pipeline.h"

namespace pintle::kernel {

class WidgetHooks final : public HookCaller {
 public:
  explicit WidgetHooks(Executor& executor) : executor_(executor) {}
  void call(const std::string& target, const char* interface_id, uint32_t method, std::string request, uint64_t deadline_ns,
            std::function<void(Result<std::string>)> done) override;
  std::function<void()> open(const std::string& slot, const char* interface_id, uint32_t method, std::string request, std::vector<int> fds,
                             std::function<bool(std::string_view)> part, std::function<void(Result<std::string>)> done,
                             std::function<void(std::function<void()>)>* resume) override;
  bool slot_held(const std::string& slot) const override { return held.contains(slot); }
  std::vector<std::string> slots(const std::string& prefix) const override;
  std::vector<std::string> providers(const std::string& interface_id) const override;

  std::set<std::string> held;
  std::map<std::string, int> calls;        // by hook name
  bool down = false;                       // every hook answers UNAVAILABLE
  bool admit = true;                       // the admission slot's verdict
  bool admission_hangs = false;            // ... or it never answers in time
  bool routes = true;                      // /shop/ (GET, POST) and /shop/broken are the widgets' own paths
  std::set<std::string> allowed_users;     // of the authz slot
  std::string log_text = "first line\nsecond line\n";
  size_t log_repeat = 1;
  int log_cancelled = 0;
  bool log_follows = false;                // stays open until cancelled

 private:
  Result<json::Value> answer(const std::string& target, const std::string& interface_id, uint32_t method, const json::Value& request);
  Result<json::Value> resource(uint32_t method, const json::Value& request);
  Executor& executor_;
  std::mutex mutex_;  // hooks run on the executor's threads
};

}  // namespace pintle::kernel

// Admission that hangs: ConfigMaps of the namespace "hang" are judged after ten seconds, long after everybody has given up.
#include <map>
#include <mutex>

#include "pintle/plugin.h"

namespace pintle::hanging {

class Hanging final : public Plugin, public AdmissionProvider {
 public:
  Hanging(Host h, const json::Value&) : Plugin(h) {}

  void describe_admission(json::Value, Call call) override {
    call.reply(std::string(R"({"rules":[{"kinds":["configmaps"],"operations":["CREATE"],"namespaces":["hang"],"phase":"validate"}],"failurePolicy":"Fail"})"));
  }
  void admission_validate(json::Value, Call call) override {
    const std::lock_guard lock(mutex_);
    const uint64_t id = next_++;
    Pending& p = pending_[id];
    p.call = std::move(call);
    p.timer = host.after(10ull * 1000000000, [this, id] { answer(id); });
  }
  void drain(Call done) override {
    std::map<uint64_t, Pending> all;
    {
      const std::lock_guard lock(mutex_);
      all.swap(pending_);
    }
    for (auto& [id, p] : all) p.call.fail(PINTLE_UNAVAILABLE, "draining");
    done.reply();
  }

 private:
  struct Pending {
    Call call;
    Timer timer;
  };
  void answer(uint64_t id) {
    Pending p;
    {
      const std::lock_guard lock(mutex_);
      const auto at = pending_.find(id);
      if (at == pending_.end()) return;
      p = std::move(at->second);
      pending_.erase(at);
    }
    p.call.reply(std::string(R"({"allowed":true})"));
  }
  std::mutex mutex_;
  uint64_t next_ = 0;
  std::map<uint64_t, Pending> pending_;
};

}  // namespace pintle::hanging

PINTLE_PLUGIN(pintle::hanging::Hanging)

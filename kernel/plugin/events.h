// Transitions of plugins and slots as Event objects, as soon as somebody serves that kind; until then in a bounded buffer.
#pragma once
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "kernel/api/pipeline.h"

namespace pintle::kernel {

// Threads: on the controller's strand, which is also where answers come back to.
class EventBuffer {
 public:
  static constexpr size_t kMax = 1000;   // the oldest go first
  static constexpr size_t kBatch = 100;  // written in one group commit
  using Run = std::function<void(std::function<void()>)>;
  EventBuffer(Executor& executor, Pipeline& pipeline) : executor_(executor), pipeline_(pipeline) {}
  // How to come back to the strand; a function given to it after the strand's end is dropped.
  void run_on(Run strand) { strand_ = std::move(strand); }
  void record(const std::string& kind, const std::string& name, const std::string& uid, bool warning, const std::string& reason,
              const std::string& message);
  // Writes what is waiting, when the kind "events" is served.
  void flush();

 private:
  struct Event {
    std::string kind, name, uid, reason, message;
    bool warning;
    int64_t at;
    int attempts = 0;
  };
  ApiRequest request(const Event& event);
  void written(std::vector<Event> batch, const Result<void>& all, const std::vector<ApiAnswer>& answers);
  Executor& executor_;
  Pipeline& pipeline_;
  Run strand_;
  std::deque<Event> events_;
  bool writing_ = false;
  uint64_t count_ = 0;
};

// RFC 3339 with seconds, or with microseconds.
std::string time_text(int64_t wall_ns, bool micro = false);
// Identity of the kernel itself.
Identity kernel_identity();

}  // namespace pintle::kernel

// Transitions of plugins and slots as Event objects, as soon as somebody serves that kind; until then in a bounded buffer.
#pragma once
#include <deque>
#include <mutex>
#include <string>

#include "kernel/api/pipeline.h"

namespace pintle::kernel {

// Threads: any.
class EventBuffer {
 public:
  static constexpr size_t kMax = 1000;  // the oldest go first
  EventBuffer(Executor& executor, Pipeline& pipeline) : executor_(executor), pipeline_(pipeline) {}
  void record(const std::string& kind, const std::string& name, const std::string& uid, bool warning, const std::string& reason,
              const std::string& message);
  // Writes what is waiting, when the kind "events" is served.
  void flush();
  size_t waiting() const;

 private:
  struct Event {
    std::string kind, name, uid, reason, message;
    bool warning;
    int64_t at;
    int attempts = 0;
  };
  void write_next();
  Executor& executor_;
  Pipeline& pipeline_;
  mutable std::mutex mutex_;
  std::deque<Event> events_;
  bool writing_ = false;
  uint64_t count_ = 0;
};

// RFC 3339 with seconds, or with microseconds.
std::string time_text(int64_t wall_ns, bool micro = false);
// Identity of the kernel itself.
Identity kernel_identity();

}  // namespace pintle::kernel

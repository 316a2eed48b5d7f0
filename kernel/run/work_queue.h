// Keys to be worked on, with the guarantees of a level-based controller.
//
//  - A key is in the queue once, however often it is added.
//  - A key is never handed out while it is being worked on; one that is added meanwhile comes once more afterwards.
//  - Order of first addition (fair); keys that failed come back after 5 ms, doubling per key up to 60 s, with a jitter of a tenth.
//  - forget() or done() ends a key's back-off.
// Threads: any; the wake function is called without a lock and must only schedule.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "kernel/run/executor.h"
#include "pintle/json.h"

namespace pintle::kernel {

class WorkQueue {
 public:
  static constexpr uint64_t kFirstBackoffNs = 5'000'000;
  static constexpr uint64_t kLastBackoffNs = 60'000'000'000;

  WorkQueue(Executor& executor, std::function<void()> wake);
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;

  void add(const std::string& key);
  void add_all(const std::vector<std::string>& keys);
  void add_after(const std::string& key, uint64_t delay_ns);
  // At most `max` keys; they count as being worked on until finish() or retry(). Empty: nothing to do or shut down.
  std::vector<std::string> take(size_t max);
  void finish(const std::string& key);  // worked: the back-off is over
  void retry(const std::string& key);   // failed: again after its back-off
  // Nothing is handed out any more; what is being worked on may still finish.
  void shut_down();
  bool idle() const;  // nothing is being worked on
  size_t waiting() const;
  json::Value metrics() const;  // {"depth","working","delayed","adds","retries","oldestSeconds"}

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace pintle::kernel

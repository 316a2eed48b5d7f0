// Pods without a node: who is next, who waits for how long, who waits for what.
//
// A pod is ready, in work (a scheduler or the store has it), cooling down (a time) or parked (until something happens that may
// help, at the latest after kFlushAfter). Pure: time comes in as an argument (ns). Threads: one at a time.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace pintle::scheduling_plugin {

// What may help a pod that fitted nowhere.
enum Happening : uint32_t {
  kNodeAdded = 1,
  kNodeLabels = 2,
  kNodeTaints = 4,  // also cordon and readiness
  kNodeAllocatable = 8,
  kPodGone = 16,
  kPodAssigned = 32,
  kNamespaceLabels = 64,
  kSlotHolder = 128,
  kEverything = 0xffffffffu
};
// The happenings that may help a pod refused by this filter; unknown filters (of other schedulers): all.
uint32_t helped_by(const std::string& filter);

class PendingQueue {
 public:
  struct Options {
    uint64_t backoff_ns = 1000000000, max_backoff_ns = 10000000000;
  };
  explicit PendingQueue(Options options) : options_(options) {}

  // A pod appeared, or changed in a way that may help: ready at once, unless it is in work already (then it is ready
  // again as soon as that ends without success).
  void add(const std::string& uid, const std::string& scheduler, int64_t priority);
  void remove(const std::string& uid);
  bool contains(const std::string& uid) const { return pods_.contains(uid); }

  // The next ready pods of a scheduler, highest priority first, then oldest first; they are in work afterwards.
  std::vector<std::string> take(const std::string& scheduler, size_t most);
  // In work ended: it fitted nowhere. Parked until one of `helped` happens; a happening while it was in work counts.
  void park(const std::string& uid, uint32_t helped, uint64_t now);
  // In work ended with an error that has nothing to do with the pod: ready again after a back-off / at once.
  void retry_later(const std::string& uid, uint64_t now);
  void retry_now(const std::string& uid);

  void happened(uint32_t what, uint64_t now);
  // Moves pods whose time has come to ready. Returns the instant of the next one, 0 = none waits for a time.
  uint64_t tick(uint64_t now);

  std::set<std::string> schedulers_with_ready() const;
  size_t ready() const;
  size_t parked() const;
  size_t size() const { return pods_.size(); }

 private:
  static constexpr uint64_t kFlushAfter = 300ull * 1000000000;
  enum class Where { kReady, kWorking, kCooling, kParked };
  struct Entry {
    std::string scheduler;
    int64_t priority = 0;
    uint64_t order = 0;  // arrival
    Where where = Where::kReady;
    uint32_t helped = 0;
    uint32_t seen = 0;          // happenings while in work
    bool again = false;         // changed while in work
    uint32_t attempts = 0;
    uint64_t until = 0;         // cooling or parked: next instant
    uint64_t cool_until = 0;    // parked: not before
  };
  struct Rank {
    int64_t priority;
    uint64_t order;
    std::string uid;
    bool operator<(const Rank& o) const {
      if (priority != o.priority) return priority > o.priority;
      return order != o.order ? order < o.order : uid < o.uid;
    }
  };
  uint64_t backoff(const Entry& e) const;
  void place(const std::string& uid, Entry& e, Where where, uint64_t until);
  void unplace(const std::string& uid, Entry& e);

  Options options_;
  uint64_t arrivals_ = 0;
  std::map<std::string, Entry> pods_;
  std::map<std::string, std::set<Rank>> ready_;             // by scheduler
  std::set<std::pair<uint64_t, std::string>> times_;        // cooling and parked
  std::set<std::string> parked_, working_;
};

}  // namespace pintle::scheduling_plugin

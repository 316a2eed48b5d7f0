// Who holds which role: gates, epochs and swaps.
//
// A slot has at most one holder. Its epoch, kept in the store, rises with every change of the holder; writes and calls that
// carry an older epoch are refused (DEPOSED). Every running instance also holds the slot "plugin.<name>".
//
// Invariants:
//  - a call that found the gate open is counted on its instance before the gate can close; one that found it closed waits
//    (bounded) and goes to whoever holds the slot afterwards: a swap loses no call;
//  - the newcomer is activated only after the new epoch is durable; until then a failure changes nothing;
//  - afterwards a failure gives the slots back to the old holder under yet another epoch.
// Threads: calls and questions from any thread; take_over() and vacate() one at a time.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernel/plugin/instance.h"
#include "kernel/store/store.h"

namespace pintle::kernel {

struct SlotInfo {
  std::string name, provider;  // provider: name of the Plugin object; "" = vacant
  uint64_t epoch = 0;
  std::string phase;           // Held, Swapping, Vacant
  uint64_t waiting = 0;        // calls in front of the closed gate
  uint64_t swaps = 0;
};

class SlotTable : public std::enable_shared_from_this<SlotTable> {
 public:
  SlotTable(Executor& executor, Store& store) : executor_(executor), store_(store) {}

  // To the holder of `slot`; of "a.*" when nobody holds "a.b". NOT_FOUND when the slot was never held, UNAVAILABLE when it is
  // vacant or the gate stays closed for longer than 10 s or the call's deadline. `caller`: fences of the calling instance; DEPOSED
  // when one is over.
  std::shared_ptr<OpenCall> invoke(const std::string& slot, Invoke call, const std::vector<FenceCheck>& caller = {});
  uint64_t epoch(const std::string& slot) const;  // of the present holder; 0 = nobody
  bool held(const std::string& slot) const;
  std::vector<std::string> held_below(const std::string& prefix) const;
  std::vector<SlotInfo> list() const;
  SlotInfo info(const std::string& slot) const;

  // `names` go to `newcomer` (started, not yet active), all or none. Gates are closed meanwhile.
  void take_over(std::vector<std::string> names, std::string provider, std::shared_ptr<Instance> newcomer,
                 std::function<void(Result<void>)> done);
  // Nobody holds them any more; the old holder is fenced off. Waiting calls get UNAVAILABLE.
  void vacate(std::vector<std::string> names, std::function<void(Result<void>)> done);
  // The instance is gone (crash): calls wait in front of the gate for a successor, up to the bound.
  void close_gates_of(const std::shared_ptr<Instance>& instance);

 private:
  struct Waiting;
  struct Slot {
    std::string provider;
    std::shared_ptr<Instance> holder;
    uint64_t epoch = 0;
    bool open = false, swapping = false;
    uint64_t swaps = 0;
    std::deque<std::shared_ptr<Waiting>> waiting;
  };
  struct Change;
  Slot* find(const std::string& slot);  // lock held
  void persist(const std::vector<std::string>& names, std::function<void(Result<void>)> done);
  void activate_next(std::shared_ptr<Change> change);
  void give_back(std::shared_ptr<Change> change, Error why);
  uint64_t epoch_of(const std::string& name) const;
  void settle(const std::vector<std::string>& names, const std::string& provider, std::shared_ptr<Instance> holder);

  Executor& executor_;
  Store& store_;
  mutable std::mutex mutex_;
  std::map<std::string, Slot> slots_;
};

// Only the implicit slots start so.
inline bool is_plugin_slot(const std::string& slot) { return slot.rfind("plugin.", 0) == 0; }

}  // namespace pintle::kernel

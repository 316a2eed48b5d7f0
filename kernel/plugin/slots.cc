#include "kernel/plugin/slots.h"

#include <unistd.h>

#include <algorithm>

namespace pintle::kernel {
namespace {

constexpr size_t kMaxWaiting = 65536;
constexpr uint64_t kMaxWaitNs = 10ull * 1000000000;

void answer(Executor& executor, Invoke& call, Error error) {
  for (const int fd : call.fds)
    if (fd >= 0) ::close(fd);
  call.fds.clear();
  executor.post([done = std::move(call.done), error = std::move(error)] { done(error); });
}

struct Nothing final : OpenCall {
  void cancel() override {}
  void resume() override {}
};

}  // namespace

// A call in front of a closed gate; afterwards the handle of the real one.
struct SlotTable::Waiting final : OpenCall {
  Waiting(Executor& e, Invoke c) : executor(e), call(std::move(c)) {}
  Executor& executor;
  std::mutex mutex;
  Invoke call;
  bool over = false;  // sent or answered
  std::shared_ptr<OpenCall> real;
  TimerId timer = 0;

  void fail(Error error) {
    std::lock_guard lock(mutex);
    if (over) return;
    over = true;
    executor.cancel(timer);
    answer(executor, call, std::move(error));
  }
  void send(Instance& holder) {
    std::lock_guard lock(mutex);
    if (over) return;
    over = true;
    executor.cancel(timer);
    real = holder.invoke(std::move(call));
  }
  void cancel() override {
    std::shared_ptr<OpenCall> open;
    {
      std::lock_guard lock(mutex);
      open = real;
    }
    if (open) open->cancel();
    else fail(Error(PINTLE_CANCELLED, "the caller gave up"));
  }
  void resume() override {
    std::shared_ptr<OpenCall> open;
    {
      std::lock_guard lock(mutex);
      open = real;
    }
    if (open) open->resume();
  }
};

struct SlotTable::Change {
  std::vector<std::string> names;
  std::string provider;
  std::shared_ptr<Instance> newcomer;
  std::function<void(Result<void>)> done;
  std::map<std::string, std::pair<std::string, std::shared_ptr<Instance>>> before;
  size_t next = 0;
};

SlotTable::Slot* SlotTable::find(const std::string& name) {
  if (const auto at = slots_.find(name); at != slots_.end()) return &at->second;
  if (const size_t dot = name.find('.'); dot != std::string::npos)
    if (const auto at = slots_.find(name.substr(0, dot) + ".*"); at != slots_.end()) return &at->second;
  return nullptr;
}

std::shared_ptr<OpenCall> SlotTable::invoke(const std::string& name, Invoke call, const std::vector<FenceCheck>& caller) {
  std::lock_guard lock(mutex_);
  for (const auto& fence : caller) {
    const auto at = slots_.find(fence.slot);
    const uint64_t now = at == slots_.end() ? 0 : at->second.epoch;
    if (now != fence.epoch) {
      answer(executor_, call, Error(PINTLE_DEPOSED, "the caller no longer holds slot \"" + fence.slot + "\""));
      return std::make_shared<Nothing>();
    }
  }
  Slot* slot = find(name);
  if (!slot) {
    answer(executor_, call, Error(PINTLE_NOT_FOUND, "nobody has ever held slot \"" + name + "\""));
    return std::make_shared<Nothing>();
  }
  // Under the lock on purpose: the instance counts the call before the gate can close. invoke() only schedules.
  if (slot->open) return slot->holder->invoke(std::move(call));
  if (!slot->swapping) {
    answer(executor_, call, Error(PINTLE_UNAVAILABLE, "nobody holds slot \"" + name + "\" now"));
    return std::make_shared<Nothing>();
  }
  if (slot->waiting.size() >= kMaxWaiting) {
    answer(executor_, call, Error(PINTLE_TOO_MANY_REQUESTS, "too many calls wait for slot \"" + name + "\""));
    return std::make_shared<Nothing>();
  }
  const uint64_t now = executor_.now();
  uint64_t limit = now + kMaxWaitNs;
  bool late = false;
  if (call.deadline && call.deadline < limit) {
    limit = call.deadline;
    late = true;
  }
  auto waiting = std::make_shared<Waiting>(executor_, std::move(call));
  {
    std::lock_guard inner(waiting->mutex);
    std::weak_ptr<Waiting> weak = waiting;
    waiting->timer = executor_.after(limit > now ? limit - now : 0, [weak, name, late] {
      if (auto w = weak.lock()) w->fail(Error(late ? PINTLE_TIMEOUT : PINTLE_UNAVAILABLE, "the gate of slot \"" + name + "\" stayed closed"));
    });
  }
  slot->waiting.push_back(waiting);
  return waiting;
}

uint64_t SlotTable::epoch(const std::string& name) const {
  std::lock_guard lock(mutex_);
  const Slot* slot = const_cast<SlotTable*>(this)->find(name);
  return slot && slot->holder ? slot->epoch : 0;
}

bool SlotTable::held(const std::string& name) const {
  std::lock_guard lock(mutex_);
  const Slot* slot = const_cast<SlotTable*>(this)->find(name);
  return slot && (slot->holder || slot->swapping);
}

std::vector<std::string> SlotTable::held_below(const std::string& prefix) const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [name, slot] : slots_)
    if ((slot.holder || slot.swapping) && (name == prefix || name.rfind(prefix + ".", 0) == 0)) out.push_back(name);
  return out;
}

std::vector<SlotInfo> SlotTable::list() const {
  std::lock_guard lock(mutex_);
  std::vector<SlotInfo> out;
  for (const auto& [name, s] : slots_)
    out.push_back({name, s.provider, s.epoch, s.swapping ? "Swapping" : s.holder ? "Held" : "Vacant", s.waiting.size(), s.swaps});
  return out;
}

SlotInfo SlotTable::info(const std::string& name) const {
  std::lock_guard lock(mutex_);
  const auto at = slots_.find(name);
  if (at == slots_.end()) return {name, "", 0, "Vacant", 0, 0};
  const Slot& s = at->second;
  return {name, s.provider, s.epoch, s.swapping ? "Swapping" : s.holder ? "Held" : "Vacant", s.waiting.size(), s.swaps};
}

void SlotTable::persist(const std::vector<std::string>& names, std::function<void(Result<void>)> done) {
  Transaction txn;
  {
    std::lock_guard lock(mutex_);
    for (const auto& name : names) {
      const uint64_t next = std::max(slots_[name].epoch, store_.epoch(name)) + 1;
      txn.epochs.push_back({name, next});
    }
  }
  auto epochs = txn.epochs;
  store_.commit(std::move(txn), [self = shared_from_this(), epochs = std::move(epochs), done = std::move(done)](Result<Committed> r) {
    if (!r) return done(r.error());
    {
      std::lock_guard lock(self->mutex_);
      for (const auto& e : epochs) self->slots_[e.slot].epoch = e.epoch;
    }
    done({});
  });
}

void SlotTable::take_over(std::vector<std::string> names, std::string provider, std::shared_ptr<Instance> newcomer,
                          std::function<void(Result<void>)> done) {
  auto change = std::make_shared<Change>();
  change->names = std::move(names);
  change->provider = std::move(provider);
  change->newcomer = std::move(newcomer);
  change->done = std::move(done);
  {
    std::lock_guard lock(mutex_);
    for (const auto& name : change->names) {
      Slot& slot = slots_[name];
      change->before[name] = {slot.provider, slot.holder};
      slot.open = false;
      slot.swapping = true;
    }
  }
  persist(change->names, [self = shared_from_this(), change](Result<void> r) {
    if (r) return self->activate_next(change);
    // Nothing has happened: the old holders go on.
    for (const auto& [name, old] : change->before) self->settle({name}, old.first, old.second);
    change->done(Error(r.error().code, "the new epoch could not be stored: " + r.error().text));
  });
}

void SlotTable::activate_next(std::shared_ptr<Change> change) {
  // Beside its real slots the instance holds the implicit one; it is told of that only when it has no other.
  bool has_real = false;
  for (const auto& n : change->names) has_real |= !is_plugin_slot(n);
  while (change->next < change->names.size() && has_real && is_plugin_slot(change->names[change->next])) {
    const std::string& name = change->names[change->next++];
    change->newcomer->options().backend->hold(name, epoch_of(name));
  }
  if (change->next == change->names.size()) {
    settle(change->names, change->provider, change->newcomer);
    change->done({});
    return;
  }
  const std::string name = change->names[change->next++];
  change->newcomer->activate(name, epoch_of(name), [self = shared_from_this(), change, name](Result<void> r) {
    if (r) return self->activate_next(change);
    self->give_back(change, Error(r.error().code, "activate(\"" + name + "\"): " + r.error().text));
  });
}

uint64_t SlotTable::epoch_of(const std::string& name) const {
  std::lock_guard lock(mutex_);
  const auto at = slots_.find(name);
  return at == slots_.end() ? 0 : at->second.epoch;
}

void SlotTable::give_back(std::shared_ptr<Change> change, Error why) {
  // Some of the slots may already be active on the newcomer: one more epoch fences it off.
  persist(change->names, [self = shared_from_this(), change, why](Result<void> r) {
    auto todo = std::make_shared<std::vector<std::string>>(change->names);
    auto step = std::make_shared<std::function<void()>>();
    *step = [self, change, why, todo, r, weak = std::weak_ptr<std::function<void()>>(step)] {
      if (todo->empty()) return change->done(why);
      const std::string name = todo->back();
      todo->pop_back();
      auto& [provider, holder] = change->before[name];
      auto again = weak.lock();
      if (!holder || !r) {
        self->settle({name}, holder ? provider : "", holder);
        return (*again)();
      }
      holder->activate(name, self->epoch_of(name), [self, name, p = provider, h = holder, again](Result<void> back) {
        if (back) self->settle({name}, p, h);
        else self->settle({name}, "", nullptr);
        (*again)();
      });
    };
    (*step)();
  });
}

void SlotTable::settle(const std::vector<std::string>& names, const std::string& provider, std::shared_ptr<Instance> holder) {
  std::vector<std::shared_ptr<Waiting>> lost;
  {
    std::lock_guard lock(mutex_);
    for (const auto& name : names) {
      Slot& slot = slots_[name];
      if (slot.holder != holder && holder) ++slot.swaps;
      slot.provider = provider;
      slot.holder = holder;
      slot.swapping = false;
      slot.open = holder != nullptr;
      // In order, and before any call that comes after the opening.
      for (auto& w : slot.waiting) {
        if (holder) w->send(*holder);
        else lost.push_back(w);
      }
      slot.waiting.clear();
    }
  }
  for (auto& w : lost) w->fail(Error(PINTLE_UNAVAILABLE, "nobody holds the slot any more"));
}

void SlotTable::vacate(std::vector<std::string> names, std::function<void(Result<void>)> done) {
  {
    std::lock_guard lock(mutex_);
    for (const auto& name : names) {
      Slot& slot = slots_[name];
      slot.open = false;
      slot.swapping = true;
    }
  }
  persist(names, [self = shared_from_this(), names, done = std::move(done)](Result<void> r) {
    self->settle(names, "", nullptr);
    done(std::move(r));
  });
}

void SlotTable::close_gates_of(const std::shared_ptr<Instance>& instance) {
  std::lock_guard lock(mutex_);
  for (auto& [name, slot] : slots_) {
    if (slot.holder != instance) continue;
    slot.open = false;
    slot.swapping = true;
    slot.holder = nullptr;
  }
}

}  // namespace pintle::kernel

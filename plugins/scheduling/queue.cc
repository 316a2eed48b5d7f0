#include "queue.h"

#include <algorithm>

namespace pintle::scheduling_plugin {

uint32_t helped_by(const std::string& filter) {
  static constexpr std::pair<const char*, uint32_t> kTable[] = {
      {"NodeUnschedulable", kNodeAdded | kNodeTaints},
      {"NodeName", kNodeAdded},
      {"TaintToleration", kNodeAdded | kNodeTaints},
      {"NodeAffinity", kNodeAdded | kNodeLabels},
      {"NodePorts", kNodeAdded | kPodGone},
      {"NodeResourcesFit", kNodeAdded | kNodeAllocatable | kPodGone},
      {"InterPodAffinity", kNodeAdded | kNodeLabels | kPodGone | kPodAssigned | kNamespaceLabels},
      {"PodTopologySpread", kNodeAdded | kNodeLabels | kNodeTaints | kPodGone | kPodAssigned},
      {"Nodes", kNodeAdded},
      {"Slot", kSlotHolder},
      {"Volumes", kSlotHolder},
  };
  for (const auto& [name, helped] : kTable)
    if (filter == name) return helped | kSlotHolder;
  return kEverything;
}

uint64_t PendingQueue::backoff(const Entry& e) const {
  uint64_t wait = options_.backoff_ns;
  for (uint32_t i = 1; i < e.attempts && wait < options_.max_backoff_ns; ++i) wait *= 2;
  return std::min(wait, options_.max_backoff_ns);
}

void PendingQueue::unplace(const std::string& uid, Entry& e) {
  if (e.where == Where::kReady) {
    auto& set = ready_[e.scheduler];
    set.erase({e.priority, e.order, uid});
    if (set.empty()) ready_.erase(e.scheduler);
  } else if (e.where == Where::kCooling || e.where == Where::kParked) {
    times_.erase({e.until, uid});
    parked_.erase(uid);
  } else {
    working_.erase(uid);
  }
}

void PendingQueue::place(const std::string& uid, Entry& e, Where where, uint64_t until) {
  e.where = where;
  e.until = until;
  if (where == Where::kReady) ready_[e.scheduler].insert({e.priority, e.order, uid});
  if (where == Where::kCooling || where == Where::kParked) times_.insert({until, uid});
  if (where == Where::kParked) parked_.insert(uid);
  if (where == Where::kWorking) working_.insert(uid);
}

void PendingQueue::add(const std::string& uid, const std::string& scheduler, int64_t priority) {
  auto [it, fresh] = pods_.try_emplace(uid);
  Entry& e = it->second;
  if (fresh) {
    e.order = ++arrivals_;
    e.scheduler = scheduler;
    e.priority = priority;
    place(uid, e, Where::kReady, 0);
    return;
  }
  if (e.where == Where::kWorking) {
    e.again = true;
    return;
  }
  unplace(uid, e);
  e.scheduler = scheduler;
  e.priority = priority;
  place(uid, e, Where::kReady, 0);
}

void PendingQueue::remove(const std::string& uid) {
  const auto it = pods_.find(uid);
  if (it == pods_.end()) return;
  unplace(uid, it->second);
  pods_.erase(it);
}

std::vector<std::string> PendingQueue::take(const std::string& scheduler, size_t most) {
  std::vector<std::string> out;
  const auto set = ready_.find(scheduler);
  if (set == ready_.end()) return out;
  for (const Rank& r : set->second) {
    if (out.size() >= most) break;
    out.push_back(r.uid);
  }
  for (const auto& uid : out) {
    Entry& e = pods_.at(uid);
    unplace(uid, e);
    e.seen = 0;
    e.again = false;
    ++e.attempts;
    place(uid, e, Where::kWorking, 0);
  }
  return out;
}

void PendingQueue::park(const std::string& uid, uint32_t helped, uint64_t now) {
  const auto it = pods_.find(uid);
  if (it == pods_.end() || it->second.where != Where::kWorking) return;
  Entry& e = it->second;
  unplace(uid, e);
  e.helped = helped;
  e.cool_until = now + backoff(e);
  if (e.again) place(uid, e, Where::kReady, 0);
  else if (e.seen & helped) place(uid, e, Where::kCooling, e.cool_until);
  else place(uid, e, Where::kParked, now + kFlushAfter);
}

void PendingQueue::retry_later(const std::string& uid, uint64_t now) {
  const auto it = pods_.find(uid);
  if (it == pods_.end() || it->second.where != Where::kWorking) return;
  unplace(uid, it->second);
  place(uid, it->second, Where::kCooling, now + backoff(it->second));
}

void PendingQueue::retry_now(const std::string& uid) {
  const auto it = pods_.find(uid);
  if (it == pods_.end() || it->second.where != Where::kWorking) return;
  unplace(uid, it->second);
  place(uid, it->second, Where::kReady, 0);
}

void PendingQueue::happened(uint32_t what, uint64_t now) {
  std::vector<std::string> helped;
  for (const auto& uid : parked_)
    if (pods_.at(uid).helped & what) helped.push_back(uid);
  for (const auto& uid : helped) {
    Entry& e = pods_.at(uid);
    unplace(uid, e);
    if (e.cool_until <= now) place(uid, e, Where::kReady, 0);
    else place(uid, e, Where::kCooling, e.cool_until);
  }
  // Pods in work were judged by what was known before.
  for (const auto& uid : working_) pods_.at(uid).seen |= what;
}

uint64_t PendingQueue::tick(uint64_t now) {
  while (!times_.empty() && times_.begin()->first <= now) {
    const std::string uid = times_.begin()->second;
    Entry& e = pods_.at(uid);
    unplace(uid, e);
    place(uid, e, Where::kReady, 0);
  }
  return times_.empty() ? 0 : times_.begin()->first;
}

std::set<std::string> PendingQueue::schedulers_with_ready() const {
  std::set<std::string> out;
  for (const auto& [name, set] : ready_) out.insert(name);
  return out;
}

size_t PendingQueue::ready() const {
  size_t n = 0;
  for (const auto& [name, set] : ready_) n += set.size();
  return n;
}

size_t PendingQueue::parked() const { return parked_.size(); }

}  // namespace pintle::scheduling_plugin

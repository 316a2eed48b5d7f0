#include "plugins/namespace/contents.h"

#include <algorithm>

namespace pintle::ns {
namespace {
constexpr uint64_t kAgain = 200000000;  // ns
}

Contents::Contents(Host host) : host_(host), ns_path_(host.path("metadata.namespace")), name_path_(host.path("metadata.name")) {}

void Contents::start() { watch(); }

void Contents::stop() {
  Watch watch;
  Timer again;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    watch = std::move(watch_);
    again = std::move(again_);
  }
}

void Contents::watch() {
  {
    std::lock_guard lock(mutex_);
    synced_ = false;
    objects_.clear();
  }
  auto opened = host_.watch({.kind = "*"}, [this](const Event& e) { apply(e); });
  Watch old;
  std::lock_guard lock(mutex_);
  if (stopped_) {
    if (opened) old = std::move(*opened);
    return;
  }
  if (opened) {
    old = std::move(watch_);
    watch_ = std::move(*opened);
  } else {
    host_.warn("cannot watch all kinds: " + opened.error().text);
    again_ = host_.after(kAgain, [this] { watch(); });
  }
}

void Contents::apply(const Event& e) {
  std::lock_guard lock(mutex_);
  if (e.type == PINTLE_EVENT_CLOSED) {
    synced_ = false;
    if (!stopped_) again_ = host_.after(kAgain, [this] { watch(); });
    return;
  }
  revision_ = std::max(revision_, e.revision);
  if (e.type == PINTLE_EVENT_SYNCED) {
    synced_ = true;
    return;
  }
  const std::string ns(e.object.text(ns_path_)), kind(e.object.kind()), name(e.object.text(name_path_));
  if (ns.empty()) return;
  if (e.type != PINTLE_EVENT_DELETED) {
    objects_[ns][kind].insert(name);
    return;
  }
  const auto at = objects_.find(ns);
  if (at == objects_.end()) return;
  const auto names = at->second.find(kind);
  if (names == at->second.end()) return;
  names->second.erase(name);
  if (names->second.empty()) at->second.erase(names);
  if (at->second.empty()) objects_.erase(at);
}

bool Contents::seen(uint64_t revision) const {
  std::lock_guard lock(mutex_);
  return synced_ && revision_ >= revision;
}

std::map<std::string, size_t> Contents::of(const std::string& ns) const {
  std::map<std::string, size_t> out;
  std::lock_guard lock(mutex_);
  if (const auto at = objects_.find(ns); at != objects_.end())
    for (const auto& [kind, names] : at->second) out[kind] = names.size();
  return out;
}

}  // namespace pintle::ns

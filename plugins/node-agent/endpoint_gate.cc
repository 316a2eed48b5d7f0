#include "endpoint_gate.h"

#include <algorithm>

namespace pintle::node_agent {

bool lists_as_ready(const json::Value& slice, std::string_view uid) {
  for (const auto& e : slice["endpoints"].items())
    if (e["targetRef"]["uid"].as_string() == uid && e["conditions"]["ready"].as_bool(true)) return true;
  return false;
}

void EndpointGate::wait(uint64_t limit_ns, std::function<void(bool)> open) {
  until_ = context_.host.now() + limit_ns;
  open_ = std::move(open);
  look();
}

bool EndpointGate::clear() const {
  const auto proxies = context_.host.list({.kind = "serviceproxies.pintle.dev"});
  if (!proxies || proxies->objects.empty()) return true;
  const auto slices = context_.host.list({.kind = "endpointslices.discovery.k8s.io", .ns = ns_});
  if (!slices) return true;
  uint64_t needed = 0;
  for (const auto& s : slices->objects) {
    // Most slices have nothing to do with the pod: looked at without parsing them.
    if (s.raw().find(uid_) != std::string_view::npos && lists_as_ready(s.json(), uid_)) return false;
    needed = std::max(needed, s.revision());
  }
  for (const auto& p : proxies->objects) {
    const int64_t synced = p.json().at("status.syncedRevision").as_int(0);
    if (synced < 0 || static_cast<uint64_t>(synced) < needed) return false;
  }
  return true;
}

void EndpointGate::look() {
  const bool fine = clear();
  if (fine || context_.host.now() >= until_) {
    if (auto fn = std::exchange(open_, nullptr)) fn(fine);
    return;
  }
  timer_ = context_.host.after(pause_, strand_.wrap([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->look();
  }));
  pause_ = std::min<uint64_t>(pause_ * 2, 200'000'000);
}

}  // namespace pintle::node_agent

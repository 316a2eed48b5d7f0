// Kinds whose objects expire (Events): what has not changed for `expiresAfter` goes away.
//
// An object's revision is its clock: every half minute the store's revision is noted, and objects that are not newer than a
// note of `expiresAfter` ago are old enough. After a restart the notes begin anew: objects live longer, never shorter.
#include <algorithm>

#include "kernel/api/pipeline_impl.h"

namespace pintle::kernel {
namespace {
constexpr uint64_t kEvery = 30ull * 1000000000;
constexpr size_t kAtOnce = 200;
}  // namespace

void ApiPipeline::expire_later() {
  executor_.after(kEvery, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    spawn<bool>(self->expire(), [self](bool) { self->expire_later(); });
  });
}

Async<bool> ApiPipeline::expire() {
  const auto snap = registry_.snapshot();
  const uint64_t now = executor_.now();
  uint64_t longest = 0;
  for (const auto& kind : snap->kinds) longest = std::max(longest, kind->expires_after_ns);
  if (!longest || store_.read_only()) co_return false;
  ages_.emplace_back(now, store_.revision());
  while (ages_.size() > 1 && now - ages_[1].first >= longest) ages_.erase(ages_.begin());
  for (const auto& kind : snap->kinds) {
    if (!kind->expires_after_ns || !kind->same_storage_as.empty()) continue;
    Revision old = 0;
    for (const auto& [at, revision] : ages_) {
      if (now - at >= kind->expires_after_ns) old = revision;
    }
    if (!old) continue;
    while (true) {
      ListQuery query;
      query.kind = kind->name();
      query.limit = kAtOnce;
      query.filter = [old](const StoredObject& o) { return o.revision() <= old; };
      Result<ListPage> page = store_.list(query);
      if (!page || page->objects.empty()) break;
      Transaction txn;
      for (const ObjectRef& o : page->objects) {
        txn.compares.push_back({o->key(), o->revision(), false});
        txn.deletes.push_back(o->key());
      }
      Result<Committed> gone = co_await commit(std::move(txn));
      if (!gone) break;  // somebody wrote one of them meanwhile: next time
    }
  }
  co_return true;
}

}  // namespace pintle::kernel

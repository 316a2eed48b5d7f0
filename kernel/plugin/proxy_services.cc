#include "kernel/plugin/proxy_services.h"

#include <algorithm>

#include "kernel/plugin/metrics.h"

namespace pintle::kernel {
namespace {

constexpr size_t kBatch = 1u << 20;         // bytes of objects in one frame, about
constexpr size_t kMaxListed = 192u << 20;   // bytes of objects in one list without a limit
constexpr size_t kMaxWatches = 4096;
constexpr size_t kMaxCommits = 65536;       // open at once
constexpr size_t kMaxMetrics = 10000;

size_t size_of(const ObjectRef& o) { return o ? o->json().size() + 256 : 1; }

}  // namespace

void RemoteServices::answer(uint64_t id, const Error& error) {
  Writer w;
  put(w, error);
  channel_->send(FrameType::kAnswer, id, std::move(w));
}

bool RemoteServices::on_frame(const Frame& frame) {
  if (ended_) return true;
  Reader r(frame.payload);
  switch (frame.type) {
    case FrameType::kLog: {
      const uint8_t level = r.u8();
      const std::string_view text = r.text(), fields = r.text();
      if (!r.at_end()) return false;
      log_->log(std::clamp<int>(level, PINTLE_LOG_DEBUG, PINTLE_LOG_ERROR), text, fields);
      return true;
    }
    case FrameType::kReport: {
      const uint8_t health = r.u8();
      const std::string_view message = r.text();
      if (!r.at_end() || health > PINTLE_HEALTH_DEGRADED) return false;
      backend_->report(health, message);
      return true;
    }
    case FrameType::kGet: {
      const Key key{r.string(), r.string(), r.string()};
      if (!r.at_end()) return false;
      Result<ObjectRef> object = backend_->get(key);
      Error error;
      error.code = PINTLE_OK;
      Writer w;
      put(w, object ? error : object.error());
      if (object) put(w, *object);
      channel_->send(FrameType::kAnswer, frame.id, std::move(w));
      return true;
    }
    case FrameType::kEpoch: {
      const std::string slot = r.string();
      if (!r.at_end()) return false;
      Writer w;
      w.u32(PINTLE_OK);
      w.u64(backend_->epoch(slot));
      channel_->send(FrameType::kAnswer, frame.id, std::move(w));
      return true;
    }
    case FrameType::kList: return list(frame);
    case FrameType::kWatch: return watch(frame);
    case FrameType::kWatchCredit: {
      const uint32_t n = r.u32();
      if (!r.at_end()) return false;
      const auto at = watches_.find(frame.id);
      if (at == watches_.end()) return true;
      if (n > kWatchWindow - at->second.credit) return false;
      at->second.credit += n;
      pump(frame.id);
      return true;
    }
    case FrameType::kUnwatch:
      watches_.erase(frame.id);
      watch_count_ = watches_.size();
      return frame.payload.empty();
    case FrameType::kCommit: return commit(frame);
    case FrameType::kMetrics: return metrics(frame);
    default: return false;
  }
}

bool RemoteServices::list(const Frame& frame) {
  Reader r(frame.payload);
  const StoreQuery query = get_query(r);
  if (!r.at_end()) return false;
  Result<Listed> listed = backend_->list(query);
  if (!listed) {
    answer(frame.id, listed.error());
    return true;
  }
  size_t total = 0;
  for (const auto& o : listed->objects) total += size_of(o);
  if (total > kMaxListed) {
    answer(frame.id, Error(PINTLE_TOO_LARGE, "the list of " + query.kind + " is too large for a plugin in its own process; set a limit and continue"));
    return true;
  }
  for (size_t i = 0; i < listed->objects.size();) {
    const size_t first = i;
    for (size_t bytes = 0; i < listed->objects.size() && bytes < kBatch; ++i) bytes += size_of(listed->objects[i]);
    Writer w;
    w.u32(static_cast<uint32_t>(i - first));
    for (size_t n = first; n < i; ++n) put(w, listed->objects[n]);
    channel_->send(FrameType::kListPart, frame.id, std::move(w));
  }
  Writer w;
  w.u32(PINTLE_OK);
  w.u64(listed->revision);
  w.text(listed->continue_token);
  channel_->send(FrameType::kAnswer, frame.id, std::move(w));
  return true;
}

bool RemoteServices::watch(const Frame& frame) {
  Reader r(frame.payload);
  const StoreQuery query = get_query(r);
  if (!r.at_end() || watches_.count(frame.id)) return false;
  if (watches_.size() >= kMaxWatches) {
    answer(frame.id, Error(PINTLE_TOO_MANY_REQUESTS, "more than " + std::to_string(kMaxWatches) + " watches by one plugin"));
    return true;
  }
  RemoteWatch w;
  const uint64_t id = frame.id;
  auto feed = backend_->watch(query, [weak = weak_from_this(), strand = std::weak_ptr<Strand>(strand_), woken = w.woken, id] {
    if (woken->exchange(true)) return;
    if (auto s = strand.lock())
      s->post([weak, woken, id] {
        *woken = false;
        if (auto self = weak.lock()) self->pump(id);
      });
  });
  if (!feed) {
    answer(id, feed.error());
    return true;
  }
  w.feed = std::move(*feed);
  watches_.emplace(id, std::move(w));
  watch_count_ = watches_.size();
  Error ok;
  ok.code = PINTLE_OK;
  answer(id, ok);
  pump(id);
  return true;
}

void RemoteServices::pump(uint64_t id) {
  const auto at = watches_.find(id);
  if (at == watches_.end()) return;
  RemoteWatch& w = at->second;
  while (w.credit > 0) {
    std::vector<WatchEvent> events = w.feed->take(w.credit);
    if (events.empty()) return;
    bool closed = false;
    for (size_t i = 0; i < events.size();) {
      const size_t first = i;
      for (size_t bytes = 0; i < events.size() && bytes < kBatch; ++i) bytes += size_of(events[i].object) + size_of(events[i].previous);
      Writer out;
      out.u32(static_cast<uint32_t>(i - first));
      for (size_t n = first; n < i; ++n) {
        put(out, events[n]);
        closed |= events[n].type == PINTLE_EVENT_CLOSED;
      }
      channel_->send(FrameType::kEvents, id, std::move(out));
    }
    w.credit -= std::min<uint32_t>(w.credit, static_cast<uint32_t>(events.size()));
    if (closed) {
      watches_.erase(at);
      watch_count_ = watches_.size();
      return;
    }
  }
}

bool RemoteServices::commit(const Frame& frame) {
  Reader r(frame.payload);
  std::vector<StoreOp> ops;
  for (uint32_t n = r.count(33); n > 0 && r.ok(); --n) ops.push_back(get_op(r));
  std::vector<FenceCheck> fences;
  for (uint32_t n = r.count(12); n > 0 && r.ok(); --n) {
    FenceCheck f;
    f.slot = r.string();
    f.epoch = r.u64();
    fences.push_back(std::move(f));
  }
  const uint32_t flags = r.u32();
  if (!r.at_end() || commits_ >= kMaxCommits) return false;
  ++commits_;
  backend_->commit(std::move(ops), std::move(fences), flags, [self = shared_from_this(), id = frame.id](pintle_code code, std::vector<StoreOpResult> results) {
    --self->commits_;
    size_t bytes = 0;
    for (const auto& one : results) bytes += size_of(one.object);
    Writer w;
    w.u32(PINTLE_OK);
    w.u32(static_cast<uint32_t>(code));
    w.u32(static_cast<uint32_t>(results.size()));
    for (auto& one : results) {
      put(w, one.error);
      // What was done is done: an answer that is too large goes without the objects.
      put(w, bytes < kMaxPayload / 2 ? one.object : nullptr);
    }
    self->channel_->send(FrameType::kAnswer, id, std::move(w));
  });
  return true;
}

bool RemoteServices::metrics(const Frame& frame) {
  Reader r(frame.payload);
  for (uint32_t n = r.count(17); n > 0 && r.ok(); --n) {
    const uint64_t id = r.u64();
    const bool fresh = r.u8() != 0;
    if (fresh) {
      const uint8_t type = r.u8();
      const std::string_view name = r.text(), help = r.text(), labels = r.text();
      if (!r.ok() || type < PINTLE_COUNTER || type > PINTLE_HISTOGRAM || metrics_.size() >= kMaxMetrics) return false;
      metrics_[id] = metric_cell(type, name, help, labels);
    }
    const auto at = metrics_.find(id);
    if (at == metrics_.end()) return false;
    pintle_metric* cell = at->second;
    const double value = r.f64();
    const uint32_t buckets = r.count(8);
    if (buckets > cell->buckets.size()) return false;
    if (buckets == 0) {
      if (cell->type == PINTLE_GAUGE) metric_set(cell, value);
      else if (cell->type == PINTLE_COUNTER) metric_add(cell, value);
      continue;
    }
    if (cell->type != PINTLE_HISTOGRAM) return false;
    double sum = cell->value.load();
    while (!cell->value.compare_exchange_weak(sum, sum + value)) {
    }
    for (uint32_t b = 0; b < buckets; ++b) {
      const uint64_t more = r.u64();
      cell->buckets[b] += more;
      cell->count += more;
    }
  }
  return r.at_end();
}

void RemoteServices::end() {
  ended_ = true;
  watches_.clear();
  watch_count_ = 0;
}

}  // namespace pintle::kernel

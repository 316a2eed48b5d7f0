// Stands in for kernel/plugin/metrics.cc in this program: the same functions behind pintle.metrics/1, but what they collect is
// sent on instead of being written out.
#include "kernel/plugin/metrics.h"

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "kernel/host/metrics.h"

namespace pintle::kernel {
namespace {

struct Cell : pintle_metric {
  uint64_t id = 0;
  std::string name, help, label_json;
  bool told = false;
  double last = 0;
  std::array<uint64_t, pintle_metric::kBounds.size() + 1> last_buckets{};
};
struct Cells {
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<Cell>> by_key;
};
Cells& cells() {
  static auto* c = new Cells;
  return *c;
}

}  // namespace

pintle_metric* metric_cell(int type, std::string_view name, std::string_view help, std::string_view label_json) {
  Cells& all = cells();
  std::string key(name);
  key += '\0';
  key += label_json;
  std::lock_guard lock(all.mutex);
  auto& cell = all.by_key[key];
  if (!cell) {
    cell = std::make_unique<Cell>();
    cell->type = type;
    cell->id = all.by_key.size();
    cell->name = name;
    cell->help = help;
    cell->label_json = label_json;
  }
  return cell.get();
}

void metric_add(pintle_metric* m, double value) {
  if (!m) return;
  double old = m->value.load(std::memory_order_relaxed);
  while (!m->value.compare_exchange_weak(old, old + value, std::memory_order_relaxed)) {
  }
  if (m->type != PINTLE_HISTOGRAM) return;
  size_t i = 0;
  while (i < pintle_metric::kBounds.size() && value > pintle_metric::kBounds[i]) ++i;
  ++m->buckets[i];
}

void metric_set(pintle_metric* m, double value) {
  if (m) m->value.store(value, std::memory_order_relaxed);
}

bool write_metric_changes(Writer& w) {
  Cells& all = cells();
  std::lock_guard lock(all.mutex);
  std::vector<Cell*> changed;
  for (auto& [key, cell] : all.by_key)
    if (!cell->told || cell->value.load() != cell->last) changed.push_back(cell.get());
  if (changed.empty()) return false;
  w.u32(static_cast<uint32_t>(changed.size()));
  for (Cell* c : changed) {
    w.u64(c->id);
    w.u8(!c->told);
    if (!std::exchange(c->told, true)) {
      w.u8(static_cast<uint8_t>(c->type));
      w.text(c->name);
      w.text(c->help);
      w.text(c->label_json);
    }
    const double now = c->value.load();
    w.f64(c->type == PINTLE_GAUGE ? now : now - c->last);
    c->last = now;
    if (c->type != PINTLE_HISTOGRAM) {
      w.u32(0);
      continue;
    }
    w.u32(static_cast<uint32_t>(c->buckets.size()));
    for (size_t i = 0; i < c->buckets.size(); ++i) {
      const uint64_t n = c->buckets[i];
      w.u64(n - std::exchange(c->last_buckets[i], n));
    }
  }
  return true;
}

}  // namespace pintle::kernel

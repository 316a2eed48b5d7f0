#include "kernel/plugin/metrics.h"

#include <map>
#include <memory>
#include <mutex>

#include "pintle/json.h"

namespace pintle::kernel {
namespace {

struct Family {
  int type;
  std::string help;
  std::map<std::string, std::unique_ptr<pintle_metric>> cells;  // by labels
};
struct Table {
  std::mutex mutex;
  std::map<std::string, Family> families;
};
Table& table() {
  static auto* t = new Table;
  return *t;
}

std::string clean(std::string_view name) {
  std::string out;
  for (const char c : name) out += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':' ? c : '_';
  return out;
}

std::string label_text(std::string_view json) {
  const json::Value v = json.empty() ? json::Value() : json::parse_or_null(json);
  std::string out;
  for (const auto& m : v.members()) {
    out += (out.empty() ? "" : ",") + clean(m.key) + "=\"";
    for (const char c : m.value.is_string() ? std::string(m.value.as_string()) : m.value.dump()) {
      if (c == '"' || c == '\\') out += '\\';
      if (c == '\n') out += "\\n";
      else out += c;
    }
    out += '"';
  }
  return out;
}

std::string number(double d) {
  std::string out;
  json::append_number(d, out);
  return out;
}

std::string braces(const std::string& labels, const std::string& more = {}) {
  if (labels.empty() && more.empty()) return {};
  return "{" + labels + (labels.empty() || more.empty() ? "" : ",") + more + "}";
}

void add_to(std::atomic<double>& cell, double value) {
  double old = cell.load(std::memory_order_relaxed);
  while (!cell.compare_exchange_weak(old, old + value, std::memory_order_relaxed)) {
  }
}

}  // namespace

pintle_metric* metric_cell(int type, std::string_view name, std::string_view help, std::string_view labels) {
  Table& t = table();
  std::lock_guard lock(t.mutex);
  Family& family = t.families[clean(name)];
  if (family.cells.empty()) {
    family.type = type;
    family.help = help;
  }
  std::string text = label_text(labels);
  auto& cell = family.cells[text];
  if (!cell) {
    cell = std::make_unique<pintle_metric>();
    cell->type = family.type;
    cell->labels = std::move(text);
  }
  return cell.get();
}

void metric_add(pintle_metric* m, double value) {
  if (!m) return;
  add_to(m->value, value);
  if (m->type != PINTLE_HISTOGRAM) return;
  size_t i = 0;
  while (i < pintle_metric::kBounds.size() && value > pintle_metric::kBounds[i]) ++i;
  ++m->buckets[i];
  ++m->count;
}

void metric_set(pintle_metric* m, double value) {
  if (m) m->value.store(value, std::memory_order_relaxed);
}

std::string metrics_text() {
  Table& t = table();
  std::lock_guard lock(t.mutex);
  std::string out;
  for (const auto& [name, family] : t.families) {
    const char* type = family.type == PINTLE_GAUGE ? "gauge" : family.type == PINTLE_HISTOGRAM ? "histogram" : "counter";
    if (!family.help.empty()) out += "# HELP " + name + " " + family.help + "\n";
    out += "# TYPE " + name + " " + std::string(type) + "\n";
    for (const auto& [labels, cell] : family.cells) {
      if (family.type != PINTLE_HISTOGRAM) {
        out += name + braces(labels) + " " + number(cell->value) + "\n";
        continue;
      }
      uint64_t sum = 0;
      for (size_t i = 0; i <= pintle_metric::kBounds.size(); ++i) {
        sum += cell->buckets[i];
        const std::string bound = i < pintle_metric::kBounds.size() ? number(pintle_metric::kBounds[i]) : "+Inf";
        out += name + "_bucket" + braces(labels, "le=\"" + bound + "\"") + " " + std::to_string(sum) + "\n";
      }
      out += name + "_sum" + braces(labels) + " " + number(cell->value) + "\n";
      out += name + "_count" + braces(labels) + " " + std::to_string(cell->count) + "\n";
    }
  }
  return out;
}

}  // namespace pintle::kernel

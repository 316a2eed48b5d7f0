// The process' metric cells, and their text for GET /metrics.
//
// Threads: any. Cells live as long as the process: a plugin's later generation goes on counting where the earlier one stopped.
#pragma once
#include <array>
#include <atomic>
#include <string>
#include <string_view>

#include "pintle/abi.h"

struct pintle_metric {
  static constexpr std::array<double, 14> kBounds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};  // s
  int type = PINTLE_COUNTER;
  std::string labels;  // `{a="b"}` or ""
  std::atomic<double> value{0};
  std::array<std::atomic<uint64_t>, kBounds.size() + 1> buckets{};
  std::atomic<uint64_t> count{0};
};

namespace pintle::kernel {

// Same name and labels (a JSON object of strings, or "") = same cell. Characters a metric name cannot have become "_".
pintle_metric* metric_cell(int type, std::string_view name, std::string_view help, std::string_view labels);
void metric_add(pintle_metric* metric, double value);  // counter, gauge: adds; histogram: observes
void metric_set(pintle_metric* metric, double value);  // gauge
std::string metrics_text();                            // Prometheus text format

}  // namespace pintle::kernel

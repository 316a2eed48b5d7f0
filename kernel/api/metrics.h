// Counters of the API itself, in Prometheus' text form.
// Threads: any.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "pintle/json.h"

namespace pintle::kernel {

class RequestMetrics {
 public:
  void started() ;
  // `resource` "" for paths that are none. Duration in ns; streams (watch, connect) count with their start only.
  void finished(const std::string& verb, const std::string& resource, int code, uint64_t duration_ns, bool stream);
  void watch_opened(const std::string& resource, int change);
  void render(std::string& out) const;

 private:
  static constexpr std::array<double, 12> kBuckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30};
  struct Histogram {
    std::array<uint64_t, kBuckets.size()> counts{};
    uint64_t count = 0;
    double sum = 0;
  };
  mutable std::mutex mutex_;
  std::map<std::tuple<std::string, std::string, int>, uint64_t> requests_;
  std::map<std::pair<std::string, std::string>, Histogram> durations_;
  std::map<std::string, int64_t> watches_;
  int64_t inflight_ = 0;
};

// {"objects":3,...} as gauges "pintle_<prefix>_<snake name>"; numbers only.
void render_gauges(const std::string& prefix, const json::Value& values, std::string& out);
// Resident memory, descriptors, start time of this process.
void render_process(std::string& out);

}  // namespace pintle::kernel

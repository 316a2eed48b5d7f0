#include "kernel/api/metrics.h"

#include <dirent.h>
#include <unistd.h>

#include <cctype>
#include <cstdio>

namespace pintle::kernel {
namespace {

std::string number(double d) {
  std::string s;
  json::append_number(d, s);
  return s;
}

void type_line(const std::string& name, const char* type, std::string& out) { out += "# TYPE " + name + " " + type + "\n"; }

}  // namespace

void RequestMetrics::started() {
  const std::lock_guard lock(mutex_);
  ++inflight_;
}

void RequestMetrics::finished(const std::string& verb, const std::string& resource, int code, uint64_t duration_ns, bool stream) {
  const std::lock_guard lock(mutex_);
  --inflight_;
  ++requests_[{verb, resource, code}];
  if (stream) return;
  Histogram& h = durations_[{verb, resource}];
  const double seconds = static_cast<double>(duration_ns) / 1e9;
  for (size_t i = 0; i < kBuckets.size(); ++i) {
    if (seconds <= kBuckets[i]) ++h.counts[i];
  }
  ++h.count;
  h.sum += seconds;
}

void RequestMetrics::watch_opened(const std::string& resource, int change) {
  const std::lock_guard lock(mutex_);
  watches_[resource] += change;
}

void RequestMetrics::render(std::string& out) const {
  const std::lock_guard lock(mutex_);
  type_line("apiserver_request_total", "counter", out);
  for (const auto& [key, n] : requests_) {
    const auto& [verb, resource, code] = key;
    out += "apiserver_request_total{verb=\"" + verb + "\",resource=\"" + resource + "\",code=\"" + std::to_string(code) + "\"} " +
           std::to_string(n) + "\n";
  }
  const std::string name = "apiserver_request_duration_seconds";
  type_line(name, "histogram", out);
  for (const auto& [key, h] : durations_) {
    const std::string labels = "verb=\"" + key.first + "\",resource=\"" + key.second + "\"";
    for (size_t i = 0; i < kBuckets.size(); ++i) {
      out += name + "_bucket{" + labels + ",le=\"" + number(kBuckets[i]) + "\"} " + std::to_string(h.counts[i]) + "\n";
    }
    out += name + "_bucket{" + labels + ",le=\"+Inf\"} " + std::to_string(h.count) + "\n";
    out += name + "_sum{" + labels + "} " + number(h.sum) + "\n";
    out += name + "_count{" + labels + "} " + std::to_string(h.count) + "\n";
  }
  type_line("apiserver_longrunning_requests", "gauge", out);
  for (const auto& [resource, n] : watches_) {
    out += "apiserver_longrunning_requests{verb=\"watch\",resource=\"" + resource + "\"} " + std::to_string(n) + "\n";
  }
  type_line("apiserver_current_inflight_requests", "gauge", out);
  out += "apiserver_current_inflight_requests " + std::to_string(inflight_) + "\n";
}

void render_gauges(const std::string& prefix, const json::Value& values, std::string& out) {
  for (const json::Member& m : values.members()) {
    if (!m.value.is_number()) continue;
    std::string name = "pintle_" + prefix + "_";
    for (const char c : m.key) {
      if (std::isupper(static_cast<unsigned char>(c))) name += '_';
      name += std::isalnum(static_cast<unsigned char>(c)) ? static_cast<char>(std::tolower(static_cast<unsigned char>(c))) : '_';
    }
    type_line(name, "gauge", out);
    out += name + " " + m.value.dump() + "\n";
  }
}

void render_process(std::string& out) {
  long pages = 0, resident = 0;
  if (FILE* f = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(f, "%ld %ld", &pages, &resident) != 2) resident = 0;
    std::fclose(f);
  }
  int64_t fds = 0;
  if (DIR* d = opendir("/proc/self/fd")) {
    while (readdir(d)) ++fds;
    closedir(d);
    fds -= 3;  // ".", ".." and the directory itself
  }
  type_line("process_resident_memory_bytes", "gauge", out);
  out += "process_resident_memory_bytes " + std::to_string(resident * sysconf(_SC_PAGESIZE)) + "\n";
  type_line("process_open_fds", "gauge", out);
  out += "process_open_fds " + std::to_string(fds) + "\n";
}

}  // namespace pintle::kernel

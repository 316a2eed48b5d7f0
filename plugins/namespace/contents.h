// What lies in which namespace, of all kinds, also of those that are not served now: from one watch on everything.
//
// Threads: any.
#pragma once
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "pintle/host.h"

namespace pintle::ns {

class Contents {
 public:
  explicit Contents(Host host);
  // Watches until stop(); after a broken watch it starts anew.
  void start();
  void stop();

  // Kind -> number of objects; false while not everything up to `revision` has been seen.
  bool seen(uint64_t revision) const;
  std::map<std::string, size_t> of(const std::string& ns) const;

 private:
  void watch();
  void apply(const Event& e);

  const Host host_;
  const uint32_t ns_path_, name_path_;
  mutable std::mutex mutex_;
  bool synced_ = false, stopped_ = false;                                       // guarded by mutex_
  uint64_t revision_ = 0;                                                       // guarded by mutex_
  std::map<std::string, std::map<std::string, std::set<std::string>>> objects_;  // guarded by mutex_: namespace, kind, names
  Watch watch_;                                                                 // guarded by mutex_
  Timer again_;                                                                 // guarded by mutex_
};

}  // namespace pintle::ns

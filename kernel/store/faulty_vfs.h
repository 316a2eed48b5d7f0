// Puts disk faults under SQLite: while one exists, new databases are opened through a layer that fails on demand.
#pragma once
#include <sqlite3.h>

#include <atomic>

namespace pintle::kernel::testing_store {

class FaultyVfs {
 public:
  FaultyVfs();
  ~FaultyVfs();
  FaultyVfs(const FaultyVfs&) = delete;
  FaultyVfs& operator=(const FaultyVfs&) = delete;

  static std::atomic<bool> fail_sync;   // every fsync: input/output error
  static std::atomic<bool> disk_full;   // every write
  static std::atomic<int> syncs;        // that succeeded

 private:
  sqlite3_vfs vfs_;
  sqlite3_vfs* real_;
};

}  // namespace pintle::kernel::testing_store

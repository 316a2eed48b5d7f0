// The store's folder: taken by one process, with the key that seals objects.
//
//   pintle.lock   who has the folder
//   seal.key      32 bytes, mode 0600; made with the folder, never replaced
//   store.db      the database (and SQLite's store.db-wal, store.db-shm)
#pragma once
#include <string>

#include "kernel/base/file.h"
#include "pintle/result.h"

namespace pintle::kernel {

class DataDir {
 public:
  // CONFLICT: another process has it. FORBIDDEN: permissions, also of a key file that others may read. INVALID: there
  // is a database but no key, or something that is no key.
  static Result<DataDir> open(const std::string& path);
  const std::string& database() const { return database_; }
  const std::string& key() const { return key_; }
  // The database is still to be made (absent or empty).
  bool fresh() const { return fresh_; }

 private:
  LockFile lock_;
  std::string database_, key_;
  bool fresh_ = false;
};

}  // namespace pintle::kernel

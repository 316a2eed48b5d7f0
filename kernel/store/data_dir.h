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
  // Makes the folder and an empty database file when they are absent. CONFLICT: another process has it. FORBIDDEN: permissions.
  static Result<DataDir> open(const std::string& path);
  const std::string& database() const { return database_; }
  // `may_create`: the database is new, so a missing key is made. FORBIDDEN: others may read the file. INVALID: it is
  // missing, or holds something else.
  Result<std::string> load_key(bool may_create) const;

 private:
  LockFile lock_;
  std::string database_, key_file_;
};

}  // namespace pintle::kernel

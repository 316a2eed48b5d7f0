#include "kernel/store/faulty_vfs.h"

#include <array>
#include <mutex>

namespace pintle::kernel::testing_store {

std::atomic<bool> FaultyVfs::fail_sync = false;
std::atomic<bool> FaultyVfs::disk_full = false;
std::atomic<int> FaultyVfs::syncs = 0;

namespace {

sqlite3_vfs* real_vfs = nullptr;

// SQLite's Unix layer has a few method tables; each gets a copy with two functions replaced. A file finds its way back
// by the position of the table that it points to.
struct Patched {
  const sqlite3_io_methods* real = nullptr;
  sqlite3_io_methods methods{};
};
std::array<Patched, 8> tables;
std::mutex tables_mu;

const sqlite3_io_methods& real_of(sqlite3_file* file) {
  for (const Patched& table : tables) {
    if (file->pMethods == &table.methods) return *table.real;
  }
  return *file->pMethods;
}

int sync_file(sqlite3_file* file, int flags) {
  if (FaultyVfs::fail_sync) return SQLITE_IOERR_FSYNC;
  const int code = real_of(file).xSync(file, flags);
  if (code == SQLITE_OK) ++FaultyVfs::syncs;
  return code;
}

int write_file(sqlite3_file* file, const void* data, int size, sqlite3_int64 at) {
  if (FaultyVfs::disk_full) return SQLITE_FULL;
  return real_of(file).xWrite(file, data, size, at);
}

int open_file(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  const int code = real_vfs->xOpen(real_vfs, name, file, flags, out_flags);
  if (code != SQLITE_OK || !file->pMethods) return code;
  const std::lock_guard lock(tables_mu);
  for (Patched& table : tables) {
    if (table.real == nullptr) {
      table.real = file->pMethods;
      table.methods = *file->pMethods;
      table.methods.xSync = sync_file;
      table.methods.xWrite = write_file;
    }
    if (table.real == file->pMethods) {
      file->pMethods = &table.methods;
      return code;
    }
  }
  return code;
}

}  // namespace

FaultyVfs::FaultyVfs() : real_(sqlite3_vfs_find(nullptr)) {
  real_vfs = real_;
  vfs_ = *real_;
  vfs_.zName = "faulty";
  vfs_.pNext = nullptr;
  vfs_.xOpen = open_file;
  fail_sync = false;
  disk_full = false;
  syncs = 0;
  sqlite3_vfs_register(&vfs_, 1);
}

FaultyVfs::~FaultyVfs() {
  sqlite3_vfs_unregister(&vfs_);
  sqlite3_vfs_register(real_, 1);
}

}  // namespace pintle::kernel::testing_store

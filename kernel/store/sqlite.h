// A thin layer over SQLite's C interface: one connection, prepared statements, errors in our words.
//
// Threads: a connection and its statements are used by one thread at a time; the owner sees to it.
#pragma once
#include <sqlite3.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "pintle/result.h"

namespace pintle::kernel {

class Statement {
 public:
  Statement() = default;
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Parameters count from 1. Text and blobs are not copied: they must live until run() or step() returned.
  void bind(int at, uint64_t value) { sqlite3_bind_int64(statement_, at, static_cast<sqlite3_int64>(value)); }
  void bind_text(int at, std::string_view value) {
    sqlite3_bind_text64(statement_, at, value.data() ? value.data() : "", value.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  void bind_blob(int at, std::string_view value) {
    sqlite3_bind_blob64(statement_, at, value.data() ? value.data() : "", value.size(), SQLITE_STATIC);
  }
  // SQLITE_ROW, SQLITE_DONE or an error.
  int step() { return sqlite3_step(statement_); }
  void clear() {
    sqlite3_finalize(statement_);
    statement_ = nullptr;
  }
  // One step, then reset; SQLITE_OK or an error.
  int run();
  // Columns count from 0; views are valid until the next step.
  uint64_t integer(int at) { return static_cast<uint64_t>(sqlite3_column_int64(statement_, at)); }
  std::string_view bytes(int at);

 private:
  friend class SqliteConnection;
  sqlite3_stmt* statement_ = nullptr;
};

class SqliteConnection {
 public:
  SqliteConnection() = default;
  ~SqliteConnection() { close(); }
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  Result<void> open(const std::string& path);
  Result<void> execute(const std::string& sql);
  Result<void> prepare(const char* sql, Statement& out);
  // First column of the first row.
  Result<uint64_t> number(const char* sql);
  // What went wrong last, as an Error: NO_SPACE for a full disk or quota, FORBIDDEN for permissions, INVALID for damage or a
  // file that is no database, UNAVAILABLE otherwise.
  Error error(int code) const;
  bool in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }
  sqlite3* raw() { return db_; }
  void close();

 private:
  sqlite3* db_ = nullptr;
  std::string path_;
};

}  // namespace pintle::kernel

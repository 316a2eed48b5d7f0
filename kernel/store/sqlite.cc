#include "kernel/store/sqlite.h"

#include <cerrno>

namespace pintle::kernel {

int Statement::run() {
  int code = sqlite3_step(statement_);
  while (code == SQLITE_ROW) code = sqlite3_step(statement_);
  const int reset = sqlite3_reset(statement_);
  return code == SQLITE_DONE ? SQLITE_OK : (reset != SQLITE_OK ? reset : code);
}

std::string_view Statement::bytes(int at) {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, at));
  return {data ? data : "", static_cast<size_t>(sqlite3_column_bytes(statement_, at))};
}

Result<void> SqliteConnection::open(const std::string& path) {
  path_ = path;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path.c_str(), &db_, flags, nullptr);
  if (code != SQLITE_OK) return error(code);
  sqlite3_busy_timeout(db_, 30'000);
  // Whoever closes decides: after a failed fsync nothing may be moved from the WAL into the database.
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  return {};
}

Result<void> SqliteConnection::execute(const std::string& sql) {
  const int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error(code);
  return {};
}

Result<void> SqliteConnection::prepare(const char* sql, Statement& out) {
  const int code = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &out.statement_, nullptr);
  if (code != SQLITE_OK) return error(code);
  return {};
}

Result<uint64_t> SqliteConnection::number(const char* sql) {
  Statement statement;
  const Result<void> prepared = prepare(sql, statement);
  if (!prepared) return prepared.error();
  const int code = statement.step();
  if (code == SQLITE_ROW) return statement.integer(0);
  if (code == SQLITE_DONE) return Error(PINTLE_INVALID, path_ + " is damaged: a row is missing");
  return error(code);
}

Error SqliteConnection::error(int code) const {
  const int system_errno = db_ ? sqlite3_system_errno(db_) : 0;
  const std::string detail = db_ ? sqlite3_errmsg(db_) : sqlite3_errstr(code);
  const int kind = code & 0xff;
  // A failed fsync is never "no space", whatever errno says: afterwards nobody knows what is on disk.
  const bool full = kind == SQLITE_FULL || (kind == SQLITE_IOERR && code != SQLITE_IOERR_FSYNC &&
                                            code != SQLITE_IOERR_DIR_FSYNC &&
                                            (system_errno == ENOSPC || system_errno == EDQUOT));
  if (full) return Error(PINTLE_NO_SPACE, "no space left for " + path_ + ": " + detail);
  if (kind == SQLITE_NOTADB || kind == SQLITE_CORRUPT) return Error(PINTLE_INVALID, path_ + " is damaged or foreign: " + detail);
  if (kind == SQLITE_PERM || kind == SQLITE_READONLY || kind == SQLITE_AUTH) {
    return Error(PINTLE_FORBIDDEN, "cannot write " + path_ + ": " + detail);
  }
  if (kind == SQLITE_BUSY) return Error(PINTLE_TIMEOUT, path_ + " is locked by another program");
  return Error(PINTLE_UNAVAILABLE, path_ + ": " + detail + " (SQLite error " + std::to_string(code) + ")");
}

void SqliteConnection::close() {
  if (db_) sqlite3_close_v2(db_);
  db_ = nullptr;
}

}  // namespace pintle::kernel

#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "kernel/store/backend.h"
#include "kernel/store/data_dir.h"
#include "kernel/store/seal.h"
#include "kernel/store/sqlite.h"

namespace pintle::kernel {
namespace {

constexpr uint64_t kApplicationId = 0x504e544c;  // "PNTL"
constexpr uint64_t kFormat = 1;
constexpr uint64_t kCheckpointBytes = 4u << 20;  // of WAL since the last checkpoint
constexpr uint64_t kTruncateBytes = 64u << 20;   // a WAL longer than this is cut
constexpr const char* kSealCheck = "pintle seal check";

constexpr const char* kSchema = R"(
  CREATE TABLE object(row INTEGER PRIMARY KEY, kind TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL,
                      revision INTEGER NOT NULL, revision_at INTEGER NOT NULL, sealed INTEGER NOT NULL, body BLOB NOT NULL);
  CREATE TABLE epoch(slot TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE meta(name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
  INSERT INTO meta VALUES('revision', 0);
)";

std::string bound_to(const Key& key, Revision revision) {
  std::string out = key.kind;
  out += '\0';
  out += key.ns;
  out += '\0';
  out += key.name;
  out += '\0';
  out += std::to_string(revision);
  return out;
}

// One connection writes, in the thread that calls append(); a second one checkpoints, in the blocking pool.
class SqliteBackend final : public Backend {
 public:
  SqliteBackend(Executor& executor, DataDir dir)
      : executor_(executor),
        database_(dir.database()),
        dir_(std::move(dir)),
        checkpoints_(std::make_shared<Checkpoints>()) {}
  ~SqliteBackend() override { close(); }

  Result<void> open();
  bool blocking() const override { return true; }
  Result<LoadedState> load(const std::function<void(StoredRow)>& each) override;
  Result<void> append(const Group& group) override;
  void close() override;
  json::Value metrics() const override;

 private:
  // Shared with the checkpoint that may be running; also carries its failure back to the writer.
  struct Checkpoints {
    std::mutex mu;
    std::condition_variable changed;
    bool queued = false;
    bool running = false;
    bool cutting = false;  // the WAL is being cut: the writer waits
    bool closed = false;
    std::optional<Error> failure;
    SqliteConnection connection;
    std::mutex writer;  // held by append() and while the WAL is cut
    std::atomic<uint64_t> done = 0;
  };
  static void checkpoint(Checkpoints& state, const std::string& wal);

  Result<void> identify();
  Result<void> create();
  Result<void> load_seal();
  Result<void> check_seal();
  Result<void> prepare();
  Result<void> write(const Group& group);
  std::string wal() const { return database_ + "-wal"; }

  Executor& executor_;
  const std::string database_;
  DataDir dir_;
  std::unique_ptr<Seal> seal_;
  SqliteConnection db_;
  Statement begin_, commit_, rollback_, put_, delete_, revision_, epoch_;
  std::shared_ptr<Checkpoints> checkpoints_;
  bool empty_ = false;              // no tables yet
  bool failed_ = false;             // nobody knows what is on disk: nothing more is written
  uint64_t since_checkpoint_ = 0;   // bytes appended
  std::atomic<bool> closed_ = false;
};

uint64_t file_size(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

Result<void> SqliteBackend::open() {
  Result<void> step = db_.open(database_);
  if (step) step = identify();
  if (step) step = load_seal();
  // The last frame of every commit is synced before it is answered; checkpoints never happen inside a commit.
  if (step) {
    step = db_.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
                       "PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY;");
  }
  if (step && empty_) step = create();
  if (step) step = check_seal();
  if (step) step = checkpoints_->connection.open(database_);
  if (step) step = checkpoints_->connection.execute("PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;");
  if (step) step = prepare();
  since_checkpoint_ = file_size(wal());  // left behind by a process that was killed
  return step;
}

Result<void> SqliteBackend::prepare() {
  Result<void> step = db_.prepare("BEGIN IMMEDIATE", begin_);
  if (step) step = db_.prepare("COMMIT", commit_);
  if (step) step = db_.prepare("ROLLBACK", rollback_);
  if (step) step = db_.prepare("INSERT OR REPLACE INTO object VALUES(?,?,?,?,?,?,?,?)", put_);
  if (step) step = db_.prepare("DELETE FROM object WHERE row=?", delete_);
  if (step) step = db_.prepare("UPDATE meta SET value=? WHERE name='revision'", revision_);
  if (step) step = db_.prepare("INSERT OR REPLACE INTO epoch VALUES(?,?)", epoch_);
  return step;
}

// Looks before anything is written: a foreign database stays as it is.
Result<void> SqliteBackend::identify() {
  const Result<uint64_t> application = db_.number("PRAGMA application_id");
  if (!application) return application.error();
  const Result<uint64_t> format = db_.number("PRAGMA user_version");
  if (!format) return format.error();
  const Result<uint64_t> tables = db_.number("SELECT count(*) FROM sqlite_master");
  if (!tables) return tables.error();
  // New, or its creation was interrupted before the transaction that makes the tables.
  empty_ = *application == 0 && *tables == 0 && *format == 0;
  if (empty_) return {};
  if (*application != kApplicationId) {
    return Error(PINTLE_INVALID, database_ + " is a database of another program; choose another data directory");
  }
  if (*format > kFormat) {
    return Error(PINTLE_INVALID, database_ + " was written by a newer Pintle (format " + std::to_string(*format) +
                                     ", this one knows up to " + std::to_string(kFormat) + "); install that version");
  }
  if (*format == 0) return Error(PINTLE_INVALID, database_ + " is damaged: it has no format version");
  return {};
}

Result<void> SqliteBackend::load_seal() {
  const Result<std::string> key = dir_.load_key(empty_);
  if (!key) return key.error();
  seal_ = std::make_unique<Seal>(*key);
  return {};
}

Result<void> SqliteBackend::create() {
  const Result<std::string> check = seal_->close(kSealCheck, "meta");
  if (!check) return check.error();
  Result<void> step = db_.execute("BEGIN IMMEDIATE; PRAGMA application_id=" + std::to_string(kApplicationId) +
                                  "; PRAGMA user_version=" + std::to_string(kFormat) + ";" + kSchema);
  if (!step) return step;
  Statement insert;
  step = db_.prepare("INSERT INTO meta VALUES('seal', ?)", insert);
  if (!step) return step;
  insert.bind_blob(1, *check);
  const int code = insert.run();
  if (code != SQLITE_OK) return db_.error(code);
  step = db_.execute("COMMIT");
  if (!step) return step;
  const size_t slash = database_.rfind('/');
  return sync_directory(database_.substr(0, slash));
}

// Another key would show only when the first sealed object is read, or never: so it is tried at once.
Result<void> SqliteBackend::check_seal() {
  Statement select;
  const Result<void> prepared = db_.prepare("SELECT value FROM meta WHERE name='seal'", select);
  if (!prepared) return prepared;
  if (select.step() != SQLITE_ROW) return Error(PINTLE_INVALID, database_ + " is damaged: the seal is missing");
  const Result<std::string> opened = seal_->open(select.bytes(0), "meta");
  if (!opened || *opened != kSealCheck) {
    return Error(PINTLE_INVALID, "seal.key beside " + database_ + " is not the key this database was made with");
  }
  return {};
}

Result<LoadedState> SqliteBackend::load(const std::function<void(StoredRow)>& each) {
  LoadedState state;
  const Result<uint64_t> revision = db_.number("SELECT value FROM meta WHERE name='revision'");
  if (!revision) return revision.error();
  state.revision = *revision;
  Statement epochs;
  Result<void> prepared = db_.prepare("SELECT slot, epoch FROM epoch", epochs);
  if (!prepared) return prepared.error();
  int code = SQLITE_OK;
  while ((code = epochs.step()) == SQLITE_ROW) state.epochs.push_back({std::string(epochs.bytes(0)), epochs.integer(1)});
  if (code != SQLITE_DONE) return db_.error(code);

  Statement rows;
  prepared = db_.prepare("SELECT row, kind, ns, name, revision, revision_at, sealed, body FROM object", rows);
  if (!prepared) return prepared.error();
  while ((code = rows.step()) == SQLITE_ROW) {
    StoredRow row;
    row.row = rows.integer(0);
    row.key = Key{std::string(rows.bytes(1)), std::string(rows.bytes(2)), std::string(rows.bytes(3))};
    row.revision = rows.integer(4);
    row.revision_at = rows.integer(5);
    row.sealed = rows.integer(6) != 0;
    const std::string name = "\"" + row.key.ns + "/" + row.key.name + "\" of " + row.key.kind;
    if (row.sealed) {
      Result<std::string> opened = seal_->open(rows.bytes(7), bound_to(row.key, row.revision));
      if (!opened) return Error(PINTLE_INVALID, database_ + " is damaged: " + name + " does not unseal");
      row.json = std::move(*opened);
    } else {
      row.json = std::string(rows.bytes(7));
    }
    const std::string digits = std::to_string(row.revision);
    if (row.revision > state.revision || row.revision_at > row.json.size() ||
        row.json.compare(row.revision_at, digits.size(), digits) != 0) {
      return Error(PINTLE_INVALID, database_ + " is damaged: " + name + " has a wrong revision");
    }
    each(std::move(row));
  }
  if (code != SQLITE_DONE) return db_.error(code);
  rows.clear();
  sqlite3_db_release_memory(db_.raw());  // pages that nobody reads again: the objects are in memory
  return state;
}

Result<void> SqliteBackend::write(const Group& group) {
  int code = begin_.run();
  std::string sealed;
  for (size_t i = 0; code == SQLITE_OK && i < group.writes.size(); ++i) {
    const RowWrite& write = group.writes[i];
    if (!write.object) {
      delete_.bind(1, write.row);
      code = delete_.run();
      continue;
    }
    const Key& key = write.object->key();
    std::string_view body = write.object->json();
    if (write.sealed) {
      Result<std::string> closed = seal_->close(body, bound_to(key, write.object->revision()));
      if (!closed) return closed.error();
      sealed = std::move(*closed);
      body = sealed;
    }
    put_.bind(1, write.row);
    put_.bind_text(2, key.kind);
    put_.bind_text(3, key.ns);
    put_.bind_text(4, key.name);
    put_.bind(5, write.object->revision());
    put_.bind(6, write.revision_at);
    put_.bind(7, write.sealed ? 1 : 0);
    put_.bind_blob(8, body);
    code = put_.run();
    since_checkpoint_ += body.size() + 64;
  }
  for (size_t i = 0; code == SQLITE_OK && i < group.epochs.size(); ++i) {
    epoch_.bind_text(1, group.epochs[i].slot);
    epoch_.bind(2, group.epochs[i].epoch);
    code = epoch_.run();
  }
  if (code == SQLITE_OK) {
    revision_.bind(1, group.revision);
    code = revision_.run();
  }
  if (code == SQLITE_OK) code = commit_.run();
  if (code != SQLITE_OK) return db_.error(code);
  return {};
}

Result<void> SqliteBackend::append(const Group& group) {
  {
    std::unique_lock lock(checkpoints_->mu);
    checkpoints_->changed.wait(lock, [&] { return !checkpoints_->cutting; });
    if (checkpoints_->failure) return *checkpoints_->failure;
  }
  {
    const std::lock_guard writer(checkpoints_->writer);
    Result<void> written = write(group);
    if (!written) {
      if (db_.in_transaction()) rollback_.run();
      const pintle_code code = written.error().code;
      failed_ = db_.in_transaction() || (code != PINTLE_NO_SPACE && code != PINTLE_TIMEOUT);
      if (db_.in_transaction()) return Error(PINTLE_UNAVAILABLE, "cannot roll back after: " + written.error().text);
      return written;
    }
  }
  if (since_checkpoint_ < kCheckpointBytes) return {};
  {
    const std::lock_guard lock(checkpoints_->mu);
    if (checkpoints_->queued) return {};
    checkpoints_->queued = true;
  }
  since_checkpoint_ = 0;
  executor_.post_blocking([state = checkpoints_, path = wal()] { checkpoint(*state, path); });
  return {};
}

void SqliteBackend::checkpoint(Checkpoints& state, const std::string& wal) {
  {
    const std::lock_guard lock(state.mu);
    state.queued = false;
    if (state.closed) return;
    state.running = true;
  }
  // Commits go on meanwhile and add to the WAL; each round has less to do than the one before.
  int code = SQLITE_OK;
  for (int round = 0; round < 4; ++round) {
    int frames = 0, moved = 0;
    code = sqlite3_wal_checkpoint_v2(state.connection.raw(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &frames, &moved);
    if (code != SQLITE_OK || frames - moved < 256) break;
  }
  if (code == SQLITE_OK && file_size(wal) > kTruncateBytes) {
    {
      const std::lock_guard lock(state.mu);
      state.cutting = true;
    }
    const std::lock_guard writer(state.writer);
    code = sqlite3_wal_checkpoint_v2(state.connection.raw(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  }
  ++state.done;
  const std::lock_guard lock(state.mu);
  state.cutting = false;
  state.running = false;
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) {
    // A full disk only delays the checkpoint: the WAL keeps everything. Other errors may be a lost fsync.
    const Error error = state.connection.error(code);
    if (error.code != PINTLE_NO_SPACE) state.failure = Error(error.code, "checkpoint: " + error.text);
  }
  state.changed.notify_all();
}

void SqliteBackend::close() {
  if (closed_.exchange(true)) return;
  {
    std::unique_lock lock(checkpoints_->mu);
    checkpoints_->closed = true;
    checkpoints_->changed.wait(lock, [&] { return !checkpoints_->running; });
    const bool healthy = !checkpoints_->failure && !failed_;
    if (healthy && checkpoints_->connection.raw()) {
      sqlite3_wal_checkpoint_v2(checkpoints_->connection.raw(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
    }
    checkpoints_->connection.close();
  }
  for (Statement* statement : {&begin_, &commit_, &rollback_, &put_, &delete_, &revision_, &epoch_}) statement->clear();
  db_.close();
  dir_ = DataDir();
}

json::Value SqliteBackend::metrics() const {
  json::Value out = json::Value::object();
  if (closed_) return out;
  out.set("walBytes", file_size(wal()));
  out.set("checkpoints", checkpoints_->done.load());
  return out;
}

}  // namespace

Result<std::unique_ptr<Backend>> open_sqlite_backend(Executor& executor, const std::string& path) {
  Result<DataDir> dir = DataDir::open(path);
  if (!dir) return dir.error();
  auto backend = std::make_unique<SqliteBackend>(executor, std::move(*dir));
  const Result<void> opened = backend->open();
  if (!opened) return opened.error();
  return std::unique_ptr<Backend>(std::move(backend));
}

}  // namespace pintle::kernel

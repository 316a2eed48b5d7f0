#include "kernel/store/data_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "kernel/store/seal.h"

namespace pintle::kernel {
Result<DataDir> DataDir::open(const std::string& path) {
  const Result<void> made = make_directory(path);
  if (!made) return made.error();
  struct stat folder {};
  if (stat(path.c_str(), &folder) == 0 && (folder.st_mode & 022) != 0)
    return Error(PINTLE_FORBIDDEN, "the data directory " + path + " may be written by others, who could replace what is in it; run: chmod go-w " + path);
  DataDir out;
  Result<LockFile> lock = LockFile::take(path + "/pintle.lock");
  if (!lock) {
    if (lock.error().code != PINTLE_CONFLICT) return lock.error();
    return Error(PINTLE_CONFLICT, "the data directory " + path + " is in use: " + lock.error().text);
  }
  out.lock_ = std::move(*lock);
  out.database_ = path + "/store.db";
  out.key_file_ = path + "/seal.key";
  struct stat info {};
  if (stat(out.database_.c_str(), &info) == 0) {
    if (!S_ISREG(info.st_mode)) return Error(PINTLE_INVALID, out.database_ + " is not a file");
    if (access(out.database_.c_str(), R_OK | W_OK) != 0) return file_error("cannot open", out.database_, errno);
    return out;
  }
  if (errno != ENOENT) return file_error("cannot open", out.database_, errno);
  // Made here and not by SQLite, for the mode; the files beside it inherit it.
  const int fd = ::open(out.database_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return file_error("cannot create", out.database_, errno);
  ::close(fd);
  return out;
}

Result<std::string> DataDir::load_key(bool may_create) const {
  const std::string& path = key_file_;
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    if (errno != ENOENT) return file_error("cannot open", path, errno);
    if (!may_create) {
      return Error(PINTLE_INVALID, path + " is missing, and sealed objects cannot be read without it; restore it from a backup");
    }
    Result<std::string> key = Seal::new_key();
    if (!key) return key;
    const Result<void> written = write_file(path, *key, 0600);
    if (!written) return written.error();
    return key;
  }
  if (const std::string mode = mode_for_others(path); !mode.empty())
    return Error(PINTLE_FORBIDDEN, path + " has mode " + mode + ", so others may read it; run: chmod 600 " + path);
  Result<std::string> key = read_file(path);
  if (key && key->size() != Seal::kKeyBytes) {
    return Error(PINTLE_INVALID, path + " holds " + std::to_string(key->size()) + " bytes and not a key of " +
                                     std::to_string(Seal::kKeyBytes) + "; restore it from a backup");
  }
  return key;
}

}  // namespace pintle::kernel

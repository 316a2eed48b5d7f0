#include "kernel/base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

namespace pintle::kernel {
namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

Result<void> write_all(int fd, std::string_view data, const std::string& path) {
  while (!data.empty()) {
    const ssize_t n = write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return file_error("cannot write", path, errno);
    data.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

std::string parent_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

Error file_error(std::string_view what, const std::string& path, int system_errno) {
  pintle_code code = PINTLE_UNAVAILABLE;
  if (system_errno == EACCES || system_errno == EPERM || system_errno == EROFS) code = PINTLE_FORBIDDEN;
  if (system_errno == ENOENT) code = PINTLE_NOT_FOUND;
  if (system_errno == ENOSPC || system_errno == EDQUOT) code = PINTLE_NO_SPACE;
  return Error(code, std::string(what) + " " + path + ": " + std::generic_category().message(system_errno));
}

Result<std::string> read_file(const std::string& path) {
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return file_error("cannot open", path, errno);
  std::string out;
  char buffer[64 * 1024];
  for (;;) {
    const ssize_t n = read(file.fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return file_error("cannot read", path, errno);
    if (n == 0) return out;
    out.append(buffer, static_cast<size_t>(n));
  }
}

Result<void> write_file(const std::string& path, std::string_view data, int mode) {
  std::string temporary = path + ".XXXXXX";
  const Descriptor file{mkostemp(temporary.data(), O_CLOEXEC)};
  if (file.fd < 0) return file_error("cannot create", path, errno);
  Result<void> written = write_all(file.fd, data, path);
  if (written && (fchmod(file.fd, static_cast<mode_t>(mode)) != 0 || fsync(file.fd) != 0)) {
    written = file_error("cannot write", path, errno);
  }
  if (written && rename(temporary.c_str(), path.c_str()) != 0) written = file_error("cannot create", path, errno);
  if (!written) {
    unlink(temporary.c_str());
    return written;
  }
  return sync_directory(parent_of(path));
}

std::string mode_for_others(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0 || (info.st_mode & 077) == 0) return "";
  char mode[8] = "";
  std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(info.st_mode & 07777));
  return mode;
}

Result<void> make_directory(const std::string& path) {
  struct stat existing {};
  if (stat(path.c_str(), &existing) == 0) {
    if (S_ISDIR(existing.st_mode)) return {};
    return file_error("cannot use as a folder", path, ENOTDIR);
  }
  const std::string parent = parent_of(path);
  if (parent != path) {
    Result<void> made = make_directory(parent);
    if (!made) return made;
  }
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return file_error("cannot create", path, errno);
  return sync_directory(parent);
}

Result<void> sync_directory(const std::string& path) {
  const Descriptor folder{open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.fd < 0) return file_error("cannot open", path, errno);
  if (fsync(folder.fd) != 0) return file_error("cannot sync", path, errno);
  return {};
}

Result<LockFile> LockFile::take(const std::string& path) {
  LockFile lock;
  lock.fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock.fd_ < 0) return file_error("cannot open", path, errno);
  if (flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return file_error("cannot lock", path, errno);
    char pid[32] = "";
    const ssize_t n = pread(lock.fd_, pid, sizeof pid - 1, 0);
    std::string who(pid, n > 0 ? static_cast<size_t>(n) : 0);
    while (!who.empty() && who.back() == '\n') who.pop_back();
    return Error(PINTLE_CONFLICT, path + " is held by " + (who.empty() ? "another process" : "process " + who));
  }
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(lock.fd_, 0) != 0 || pwrite(lock.fd_, pid.data(), pid.size(), 0) < 0) {
    return file_error("cannot write", path, errno);
  }
  return lock;
}

LockFile::~LockFile() {
  if (fd_ >= 0) close(fd_);
}
LockFile::LockFile(LockFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
LockFile& LockFile::operator=(LockFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

}  // namespace pintle::kernel

#include "kernel/api/certs/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pintle::kernel {
namespace {

Error failure(const char* what, const std::string& path, int why) {
  return Error(PINTLE_INTERNAL, "cannot " + std::string(what) + " \"" + path + "\": " + strerror(why));
}

}  // namespace

Result<std::string> read_small_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return Error(PINTLE_NOT_FOUND, "the file \"" + path + "\" does not exist");
    return failure("read", path, errno);
  }
  std::string out;
  char piece[4096];
  for (;;) {
    const ssize_t n = read(fd, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 || out.size() > (1 << 20)) {
      const int why = n < 0 ? errno : EFBIG;
      close(fd);
      return failure("read", path, why);
    }
    if (n == 0) break;
    out.append(piece, static_cast<size_t>(n));
  }
  close(fd);
  return out;
}

Result<void> replace_file(const std::string& path, const std::string& content, unsigned mode) {
  const std::string temporary = path + ".new";
  unlink(temporary.c_str());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return failure("create", temporary, errno);
  int why = 0;
  size_t done = 0;
  while (done < content.size() && why == 0) {
    const ssize_t n = write(fd, content.data() + done, content.size() - done);
    if (n < 0 && errno != EINTR) why = errno;
    if (n > 0) done += static_cast<size_t>(n);
  }
  if (why == 0 && (fchmod(fd, mode) != 0 || fsync(fd) != 0)) why = errno;
  close(fd);
  if (why == 0 && rename(temporary.c_str(), path.c_str()) != 0) why = errno;
  if (why != 0) {
    unlink(temporary.c_str());
    return failure("write", path, why);
  }
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  const int dir = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir >= 0) {
    if (fsync(dir) != 0) why = errno;
    close(dir);
  }
  if (why != 0) return failure("write", path, why);
  return {};
}

}  // namespace pintle::kernel

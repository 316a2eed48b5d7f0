#include "atomic_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace pintle::node_agent {

namespace fs = std::filesystem;

namespace {

Error io(const std::string& what) { return Error(errno == ENOSPC ? PINTLE_NO_SPACE : PINTLE_INTERNAL, what + ": " + std::strerror(errno)); }

// What the directory's present set holds, to see whether anything changed.
bool same(const fs::path& data, const Payload& payload) {
  std::error_code e;
  size_t files = 0;
  for (fs::recursive_directory_iterator it(data, e), end; !e && it != end; it.increment(e)) {
    if (it->is_directory(e)) continue;
    ++files;
    const auto found = payload.find(fs::relative(it->path(), data, e).string());
    if (found == payload.end()) return false;
    struct stat st {};
    if (::lstat(it->path().c_str(), &st) != 0 || (st.st_mode & 07777) != found->second.mode || static_cast<size_t>(st.st_size) != found->second.content.size()) return false;
    std::ifstream in(it->path(), std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    if (text.str() != found->second.content) return false;
  }
  return !e && files == payload.size();
}

Result<void> write_file(const fs::path& path, const PayloadFile& f, int64_t group) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return io("create " + path.string());
  size_t at = 0;
  while (at < f.content.size()) {
    const ssize_t n = ::write(fd, f.content.data() + at, f.content.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      Error e = io("write " + path.string());
      ::close(fd);
      return e;
    }
    at += static_cast<size_t>(n);
  }
  if (group >= 0 && ::fchown(fd, static_cast<uid_t>(-1), static_cast<gid_t>(group)) != 0) {
    Error e = io("chown " + path.string());
    ::close(fd);
    return e;
  }
  // fchmod, because the process's umask has no say.
  if (::fchmod(fd, f.mode & 07777) != 0) {
    Error e = io("chmod " + path.string());
    ::close(fd);
    return e;
  }
  ::close(fd);
  return {};
}

}  // namespace

Result<void> check_payload_path(const std::string& path) {
  const Error bad(PINTLE_INVALID, "path \"" + path + "\" must be relative and must not hold \"..\"");
  if (path.empty() || path[0] == '/' || path.find('\0') != std::string::npos) return bad;
  size_t at = 0;
  while (at <= path.size()) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, slash - at);
    if (part.empty() || part == "." || part == ".." || (at == 0 && part.starts_with(".."))) return bad;
    at = slash + 1;
  }
  return {};
}

Result<void> write_payload(const std::string& directory, const Payload& payload, const std::string& stamp, int64_t group) {
  for (const auto& [path, file] : payload)
    if (auto ok = check_payload_path(path); !ok) return ok;
  const fs::path dir(directory), data = dir / "..data";
  std::error_code e;
  const std::string old = fs::is_symlink(fs::symlink_status(data, e)) ? fs::read_symlink(data, e).string() : "";
  if (!old.empty() && same(dir / old, payload)) return {};

  const std::string fresh = ".." + stamp;
  const fs::path set = dir / fresh;
  if (::mkdir(set.c_str(), 0755) != 0) return io("create " + set.string());
  ::chmod(set.c_str(), 0755);
  if (group >= 0 && ::chown(set.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(group)) != 0) return io("chown " + set.string());
  std::set<std::string> top;
  for (const auto& [path, file] : payload) {
    const fs::path full = set / path;
    fs::create_directories(full.parent_path(), e);
    if (e) return Error(PINTLE_INTERNAL, "create " + full.parent_path().string() + ": " + e.message());
    if (auto ok = write_file(full, file, group); !ok) {
      fs::remove_all(set, e);
      return ok;
    }
    top.insert(path.substr(0, path.find('/')));
  }
  const fs::path next = dir / "..data_tmp";
  ::unlink(next.c_str());
  if (::symlink(fresh.c_str(), next.c_str()) != 0) return io("link " + next.string());
  if (::rename(next.c_str(), data.c_str()) != 0) return io("switch " + data.string());
  for (const std::string& name : top) {
    const fs::path link = dir / name;
    if (::symlink(("..data/" + name).c_str(), link.c_str()) != 0 && errno != EEXIST) return io("link " + link.string());
  }
  // Names that are no longer there, then the old set.
  for (fs::directory_iterator it(dir, e), end; !e && it != end; it.increment(e)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with("..") || top.count(name)) continue;
    std::error_code ignored;
    fs::remove(it->path(), ignored);
  }
  if (!old.empty() && old.starts_with("..") && old.find('/') == std::string::npos && old != fresh) fs::remove_all(dir / old, e);
  return {};
}

}  // namespace pintle::node_agent

// Files that must survive a crash or stay private. Errors name the path and say what the system said.
//
// Threads: every function from any thread. Codes: FORBIDDEN (permissions), NOT_FOUND, NO_SPACE, UNAVAILABLE (other I/O errors).
#pragma once
#include <string>
#include <string_view>

#include "pintle/result.h"

namespace pintle::kernel {

// An Error with the code that fits errno: `what` "cannot open" gives "cannot open /a/b: Permission denied".
Error file_error(std::string_view what, const std::string& path, int system_errno);

Result<std::string> read_file(const std::string& path);
// Appears whole or not at all, also after a power failure: a new file (mode as given), fsync, rename, fsync of the folder.
Result<void> write_file(const std::string& path, std::string_view data, int mode = 0600);
// "0644" when others than the owner may do something with the file; "" when nobody else may, or it is not there. Whoever keeps a secret in it refuses
// it rather than repairs it: it may have leaked already.
std::string mode_for_others(const std::string& path);
// With all parents; 0700 for the ones it makes. An existing folder is left as it is.
Result<void> make_directory(const std::string& path);
Result<void> sync_directory(const std::string& path);

// Keeps other processes out: an advisory lock on a file that names the process which has it.
// Freed by the destructor and by the end of the process, however it ends. The file stays.
class LockFile {
 public:
  LockFile() = default;
  // CONFLICT: another process has it; the text names its pid.
  static Result<LockFile> take(const std::string& path);
  ~LockFile();
  LockFile(LockFile&& other) noexcept;
  LockFile& operator=(LockFile&& other) noexcept;

 private:
  int fd_ = -1;
};

}  // namespace pintle::kernel

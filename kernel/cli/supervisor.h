// Keeps a pintled running behind a terminal's back: restarts it when it crashes, collects what it says.
//
//   start -> ready?  no -> the reason to the terminal, end
//             | yes -> the URL to the terminal, which goes away
//             v
//           running -- ended with 0, 2 or 3, or we were told to stop --> end
//             ^ |
//             | v crashed: after 100 ms, doubling up to 30 s; a minute of life makes it 100 ms again
//           waiting
#pragma once
#include <string>
#include <vector>

#include "pintle/result.h"

namespace pintle::cli {

// The exit code of a pintled whose data directory another one holds.
inline constexpr int kInUse = 3;

struct Supervised {
  std::string data;                    // its supervisor.lock and log/ lie there; it exists
  std::vector<std::string> command;    // program and arguments, without --print-ready-fd
  bool keep_address = false;           // port 0 was asked for: the address of the first start is used again later
};

// The URL, as soon as the API is served and the plugins run. The supervisor lives on in a session of its own.
// UNAVAILABLE: pintled ended before, the text is its own; TIMEOUT: it goes on trying but was not ready within `timeout_ms`;
// CONFLICT: the directory has a supervisor already.
Result<std::string> start_supervised(const Supervised& what, int timeout_ms);

// pintled as a child with a descriptor for its ready line. `errors`: where its standard error goes, -1 = stays as it is.
struct Child {
  int pid = -1;
  int ready = -1;  // to read from; the caller closes it
};
Child start_child(const std::vector<std::string>& command, int errors, bool ends_with_parent);

// Appends to <directory>/pintled.log; at 10 MiB it becomes pintled.log.1, and so on up to .4.
class RotatedLog {
 public:
  explicit RotatedLog(std::string directory, size_t limit = size_t{10} << 20);
  ~RotatedLog();
  RotatedLog(const RotatedLog&) = delete;
  RotatedLog& operator=(const RotatedLog&) = delete;
  void write(const std::string& bytes);
  std::string file() const { return directory_ + "/pintled.log"; }

 private:
  void reopen();
  std::string directory_;
  size_t limit_, size_ = 0;
  int fd_ = -1;
};

}  // namespace pintle::cli

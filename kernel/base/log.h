// The kernel's log: one line per event, text or JSON, to stderr or a rotated file.
//
// Wraps spdlog, which stays inside log.cc: plugins write through pintle.log/1 and never see it. Never log a secret.
// Threads: any. Before open() lines go to stderr at level info.
#pragma once
#include <string>
#include <string_view>

namespace pintle::kernel::log {

enum Level : int { kDebug = 1, kInfo = 2, kWarn = 3, kError = 4, kOff = 5 };

struct Options {
  int level = kInfo;
  bool json = false;
  std::string file;                    // "" = stderr; else rotated: 5 files of 10 MiB
};
// False: the file cannot be written (errno tells); the old target stays.
bool open(const Options& options);
void set_level(int level);
int level();
// "debug", "info", "warn", "error"; 0 when the text is none of them.
int parse_level(std::string_view text);

// `source`: the room or plugin that speaks. `fields`: "" or a JSON object with further keys. write() does not look at
// level(): plugins have levels of their own; debug() to error() do.
void write(int level, std::string_view source, std::string_view text, std::string_view fields = {});
inline void debug(std::string_view source, std::string_view text) {
  if (level() <= kDebug) write(kDebug, source, text);
}
inline void info(std::string_view source, std::string_view text) {
  if (level() <= kInfo) write(kInfo, source, text);
}
inline void warn(std::string_view source, std::string_view text) {
  if (level() <= kWarn) write(kWarn, source, text);
}
inline void error(std::string_view source, std::string_view text) {
  if (level() <= kError) write(kError, source, text);
}
// Everything written so far has left the process.
void flush();

}  // namespace pintle::kernel::log

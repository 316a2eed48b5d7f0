// Whole small files, replaced atomically. Private to this room.
#pragma once
#include <string>

#include "pintle/result.h"

namespace pintle::kernel {

// NOT_FOUND when the file is absent.
Result<std::string> read_small_file(const std::string& path);
// Temporary file beside `path`, fsync, rename, fsync of the directory: after a crash the old or the new content is there.
Result<void> replace_file(const std::string& path, const std::string& content, unsigned mode);

}  // namespace pintle::kernel

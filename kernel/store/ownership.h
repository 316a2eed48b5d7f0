// Whose a data directory is: shared by pintled and the command line, so it stands on nothing.
#pragma once
#include <string>

namespace pintle::kernel {

// A database beside the key that seals it, or the record of a start, is in it: names that together nobody else uses. What `pintle down --purge`
// deletes is decided by this.
bool is_data_directory(const std::string& path);
// Absent, empty, or ours (also one in which pintled did not get beyond its lock, or where only a node agent keeps its pods). False also for what is no directory.
bool may_be_data_directory(const std::string& path);

}  // namespace pintle::kernel

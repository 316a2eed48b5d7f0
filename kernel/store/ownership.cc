#include "kernel/store/ownership.h"

#include <filesystem>

namespace pintle::kernel {
namespace {

namespace fs = std::filesystem;

bool holds(const std::string& directory, const char* name) {
  std::error_code code;
  return fs::exists(directory + "/" + name, code);
}

}  // namespace

bool is_data_directory(const std::string& path) { return holds(path, "up.json") || (holds(path, "store.db") && holds(path, "seal.key")); }

bool may_be_data_directory(const std::string& path) {
  std::error_code code;
  if (!fs::exists(path, code)) return true;
  if (!fs::is_directory(path, code)) return false;
  // What cannot be looked into is refused by whoever opens it, with the system's own reason.
  return is_data_directory(path) || holds(path, "node/pods") || holds(path, "pintled.lock") || holds(path, "pintle.lock") || fs::is_empty(path, code) || code;
}

}  // namespace pintle::kernel

// Writes the files of a volume so that a reader sees either the old set or the new one, never a mixture.
//
//   volume/..2026_01_02_15_04_05.123456789/key   the files
//   volume/..data -> ..2026_01_02_...            switched by rename
//   volume/key -> ..data/key                     what the container opens
//
// Threads: one at a time per directory. Blocks on the file system.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "pintle/result.h"

namespace pintle::node_agent {

struct PayloadFile {
  std::string content;
  uint32_t mode = 0644;
};
using Payload = std::map<std::string, PayloadFile>;  // by relative path ("a", "dir/b")

// INVALID: absolute, empty, or with a part that is ".." or begins with it.
Result<void> check_payload_path(const std::string& path);

// `directory` must exist. Nothing is written when it holds the payload already. `stamp`: makes the name of the new set unique.
// `group` >= 0: owner group of files and directories.
Result<void> write_payload(const std::string& directory, const Payload& payload, const std::string& stamp, int64_t group = -1);

}  // namespace pintle::node_agent

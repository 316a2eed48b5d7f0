// Volumes of a pod: what has to be on the disk (a pure plan), putting it there, and mounting it into containers.
//
//   <root>/pods/<uid>/                         0700: nobody else on the machine reads it
//   <root>/pods/<uid>/volumes/<name>           emptyDir, configMap, secret, projected, downwardAPI
//   <root>/pods/<uid>/containers/<name>/<n>    termination message of attempt n
//
// Threads: any, one at a time per pod. plan_volumes is pure but for `sources`; the rest blocks on the file system.
#pragma once
#include <string>
#include <vector>

#include "atomic_writer.h"
#include "pintle/json.h"
#include "pintle/result.h"
#include "pod_env.h"

namespace pintle::node_agent {

struct VolumePlan {
  enum class Kind : uint8_t { kEmptyDir, kMemory, kHostPath, kFiles } kind = Kind::kEmptyDir;
  std::string name, path;          // path on the machine
  std::string host_path_type;      // kHostPath: "", Directory, DirectoryOrCreate, File, ...
  int64_t size_limit = 0;          // kMemory: bytes, 0 = none
  int64_t fs_group = -1;
  Payload payload;                 // kFiles
};

// Errors: the sentence of FailedMount. Nothing is left out: optional sources that are absent give no files.
Result<std::vector<VolumePlan>> plan_volumes(const json::Value& pod, const std::string& root, const Sources& sources);
// Names of the configMaps ("c/name") and secrets ("s/name") that the pod's volumes show.
std::vector<std::string> volume_sources(const json::Value& pod);

Result<void> put_volumes(const std::string& root, const std::string& uid, const std::vector<VolumePlan>& plan, const std::string& stamp);
// Unmounts and removes everything of the pod.
void remove_pod_files(const std::string& root, const std::string& uid);

// The container's mounts, in the runtime's form. Makes directories for subPaths; refuses one that leaves its volume.
Result<std::vector<json::Value>> container_mounts(const json::Value& container, const std::vector<VolumePlan>& plan, const Env& env);

std::string pod_directory(const std::string& root, const std::string& uid);
// The (empty) file that the container writes its last words to; made when absent.
Result<std::string> termination_file(const std::string& root, const std::string& uid, const std::string& container, int64_t attempt);
// What is no UTF-8 would be refused by the API: replaced.
std::string as_text(std::string bytes);
// At most 4096 bytes; "" when there are none.
std::string read_termination_file(const std::string& root, const std::string& uid, const std::string& container, int64_t attempt);

}  // namespace pintle::node_agent

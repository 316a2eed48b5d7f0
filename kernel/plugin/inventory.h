// Which plugin files there are: the plugin directories, watched for changes.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel/plugin/manifest.h"
#include "kernel/run/executor.h"

namespace pintle::kernel {

struct PluginFile {
  std::string path, digest;
  std::shared_ptr<const Manifest> manifest;  // null: `error` tells why
  Error error;
};

// The Plugin object that stands for a file that was refused: the file's name, as far as it can be one; "" when it cannot.
std::string object_name(const PluginFile& refused);

// Reads one file's note. Always answers a PluginFile.
PluginFile inspect_file(const std::string& path);

// Threads: any.
class Inventory {
 public:
  Inventory(Executor& executor, std::vector<std::string> directories);
  ~Inventory();
  // `changed` runs on the executor after a directory changed (a moment later: copying takes time), also when it only now came to
  // be. Not in simulation. Once, before the first scan.
  void on_change(std::function<void()> changed);
  // Reads the directories again. Earlier directories win over later ones for the same name.
  void scan();
  std::map<std::string, PluginFile> by_name() const;  // by the manifest's name
  std::vector<PluginFile> refused() const;            // files without a usable manifest

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace pintle::kernel

// One loaded generation of a plugin's file, and the list of those that could not be unloaded.
//
// Every generation is opened from a copy of its own, because dlopen gives the old code for an inode it knows: a file
// "<digest>.<n>.so" in `directory`, or an anonymous one in memory when there is no directory.
#pragma once
#include <memory>
#include <string>

#include "pintle/abi.h"
#include "pintle/result.h"

namespace pintle::kernel {

// Threads: one at a time per module; parked_modules() from any.
class Module {
 public:
  // FORBIDDEN / INVALID / NOT_FOUND as read_note(); CONFLICT: the file changed since its digest was taken; INVALID with the
  // linker's text when it cannot be loaded; INVALID when its entry is missing or of another ABI.
  static Result<std::unique_ptr<Module>> open(const std::string& file, const std::string& digest, const std::string& directory);

  const pintle_entry& entry() const;

  // Unmaps the code. True when dl_iterate_phdr confirms that it is gone; otherwise the module is parked.
  bool close();
  // Keeps the code mapped for the rest of the process. Said of code that may still run.
  void park();

  ~Module();  // parks what was not closed
  Module(const Module&) = delete;

 private:
  struct State;
  explicit Module(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Keeps `what` until the process ends: code that may still run uses it. Thread-safe.
void keep_for_ever(std::shared_ptr<void> what);
size_t parked_modules();
// Removes copies that an earlier process left in `directory`.
void clear_module_copies(const std::string& directory);

}  // namespace pintle::kernel

// A process of ours: started with a socket, watched until it has ended.
#pragma once
#include <sys/types.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pintle/result.h"

namespace pintle::kernel {

struct ProcessOptions {
  std::string binary;
  std::vector<std::string> arguments;
  int channel = -1;  // becomes descriptor 3; stays the caller's
  // Both on the thread that waits on descriptors; must only schedule.
  std::function<void(std::string)> on_line;  // a line (at most 4 KiB) of its stdout and stderr
  std::function<void(std::string)> on_exit;  // once, when it has ended: "exited with 0", "was killed by SIGSEGV"
};

// Threads: any.
class Process : public std::enable_shared_from_this<Process> {
 public:
  // Its own session, descriptors 0 to 3 only, default signals, and an environment of PATH, HOME, TZ, LANG, TMPDIR and the sanitizers'
  // options. Call it on a thread that lives as long as the executor: Linux ties the parent-death signal to the thread.
  static Result<std::shared_ptr<Process>> start(ProcessOptions options);
  ~Process();
  pid_t pid() const { return pid_; }
  void kill();  // SIGKILL; nothing when it has ended
  // Neither on_line nor on_exit is called after this; one that runs is waited for. Not to be called by them.
  void forget();

 private:
  Process() = default;
  void watch();
  void ended();
  void output();
  void tell_line();
  ProcessOptions options_;
  std::mutex mutex_;
  std::mutex telling_mutex_;  // held while on_line or on_exit runs, and to take them away
  pid_t pid_ = 0;
  int pidfd_ = -1, pipe_ = -1;
  uint64_t exit_id_ = 0, output_id_ = 0;
  bool over_ = false;
  std::string line_;
};

// pintle-host: beside the running program. NOT_FOUND when it is not there.
Result<std::string> find_host_program();

}  // namespace pintle::kernel

// Processes that belong to a data directory, and starting short commands.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "pintle/result.h"

namespace pintle::cli {

// The process that holds the lock file and has this program's name, or 0. Never a process that merely got the same number.
pid_t lock_holder(const std::string& lock_file, const std::string& program);
inline pid_t daemon_of(const std::string& data) { return lock_holder(data + "/pintled.lock", "pintled"); }
inline pid_t supervisor_of(const std::string& data) { return lock_holder(data + "/supervisor.lock", "pintle"); }

// SIGTERM to the holder of the lock, wait; SIGKILL when it does not end in time. False: nobody held it.
Result<bool> end_holder(const std::string& lock_file, const std::string& program, int grace_ms, bool& killed);

struct Finished {
  int code = -1;  // exit code; 128 + signal; -1: it could not be started
  std::string output, errors;
};
// Runs a program from PATH and gives it `timeout_ms`.
Finished run_program(const std::vector<std::string>& argv, int timeout_ms = 10000);

int64_t monotonic_ms();
void pause_ms(int ms);

}  // namespace pintle::cli

#include "kernel/cli/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <ctime>

// The header of glibc 2.36 does not say that these are C functions.
extern "C" {
#include <sys/pidfd.h>
}

#include "kernel/base/file.h"

namespace pintle::cli {
namespace {

struct Fd {
  int at = -1;
  explicit Fd(int fd) : at(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (at >= 0) close(at);
  }
};

// The program a process runs, without its directory. A program that was replaced by an upgrade keeps its name.
std::string program_of(pid_t pid) {
  char path[PATH_MAX];
  const ssize_t n = readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), path, sizeof path);
  std::string name(path, n > 0 ? static_cast<size_t>(n) : 0);
  static constexpr char kDeleted[] = " (deleted)";
  if (name.size() > sizeof kDeleted && name.compare(name.size() - (sizeof kDeleted - 1), std::string::npos, kDeleted) == 0)
    name.resize(name.size() - (sizeof kDeleted - 1));
  return name.substr(name.rfind('/') + 1);
}

}  // namespace

pid_t lock_holder(const std::string& lock_file, const std::string& program) {
  const Fd fd(open(lock_file.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.at < 0) return 0;
  char text[32] = "";
  if (pread(fd.at, text, sizeof text - 1, 0) <= 0) return 0;
  const auto pid = static_cast<pid_t>(std::atol(text));
  if (pid <= 1 || program_of(pid) != program) return 0;
  // Tried last: a program that starts just now would find the lock taken, by us.
  return flock(fd.at, LOCK_SH | LOCK_NB) == 0 ? 0 : pid;
}

Result<bool> end_holder(const std::string& lock_file, const std::string& program, int grace_ms, bool& killed) {
  killed = false;
  const pid_t pid = lock_holder(lock_file, program);
  if (pid == 0) return false;
  const Fd fd(pidfd_open(pid, 0));
  if (fd.at < 0) {
    if (errno == ESRCH) return false;
    return Error(PINTLE_INTERNAL, "cannot reach process " + std::to_string(pid) + ": " + std::strerror(errno));
  }
  // The descriptor names one process for ever; only now the number is known to have been its own.
  if (lock_holder(lock_file, program) != pid) return false;
  if (pidfd_send_signal(fd.at, SIGTERM, nullptr, 0) != 0 && errno != ESRCH)
    return Error(PINTLE_FORBIDDEN, "cannot stop process " + std::to_string(pid) + " (" + program + "): " + std::strerror(errno) + "; use sudo");
  pollfd wait{fd.at, POLLIN, 0};
  if (poll(&wait, 1, grace_ms) == 1) return true;
  killed = true;
  pidfd_send_signal(fd.at, SIGKILL, nullptr, 0);
  if (poll(&wait, 1, 5000) != 1) return Error(PINTLE_TIMEOUT, "process " + std::to_string(pid) + " (" + program + ") does not end, even when killed");
  return true;
}

Finished run_program(const std::vector<std::string>& argv, int timeout_ms) {
  Finished out;
  int outputs[2], errors[2];
  if (pipe2(outputs, O_CLOEXEC) != 0) return out;
  if (pipe2(errors, O_CLOEXEC) != 0) {
    close(outputs[0]);
    close(outputs[1]);
    return out;
  }
  std::vector<char*> raw;
  for (const auto& a : argv) raw.push_back(const_cast<char*>(a.c_str()));
  raw.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    const int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(outputs[1], 1);
    dup2(errors[1], 2);
    execvp(raw[0], raw.data());
    _exit(127);
  }
  close(outputs[1]);
  close(errors[1]);
  pollfd waits[2] = {{outputs[0], POLLIN, 0}, {errors[0], POLLIN, 0}};
  std::string* into[2] = {&out.output, &out.errors};
  const int64_t deadline = monotonic_ms() + timeout_ms;
  int open_ends = pid > 0 ? 2 : 0;
  while (open_ends > 0) {
    const int64_t left = deadline - monotonic_ms();
    if (left <= 0 || poll(waits, 2, static_cast<int>(left)) <= 0) break;
    for (int i = 0; i < 2; ++i) {
      if (!waits[i].revents) continue;
      char buffer[4096];
      const ssize_t n = read(waits[i].fd, buffer, sizeof buffer);
      if (n > 0) into[i]->append(buffer, static_cast<size_t>(n));
      else {
        waits[i].fd = -1;
        --open_ends;
      }
    }
  }
  close(outputs[0]);
  close(errors[0]);
  if (pid <= 0) return out;
  if (open_ends > 0) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (out.code == 127 && out.output.empty() && out.errors.empty()) out.code = -1;
  return out;
}

int64_t monotonic_ms() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1000 + t.tv_nsec / 1000000;
}

void pause_ms(int ms) {
  const timespec t{ms / 1000, ms % 1000 * 1000000L};
  nanosleep(&t, nullptr);
}

}  // namespace pintle::cli

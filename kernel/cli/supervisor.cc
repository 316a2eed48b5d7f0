#include "kernel/cli/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

#include "kernel/base/file.h"
#include "kernel/cli/process.h"
#include "pintle/json.h"

namespace pintle::cli {
namespace {

constexpr int kFirstPauseMs = 100, kLongestPauseMs = 30000, kHealthyMs = 60000, kStopMs = 30000;
constexpr int kUsage = 2;  // pintled's exit codes that a restart does not mend

void say(int fd, const std::string& text) {
  if (fd >= 0) (void)!write(fd, text.data(), text.size());
}

// What pintled said last: without the time, level and source of a line of its log.
std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  text.erase(0, text.rfind('\n') + 1);
  if (const json::Value line = json::parse_or_null(text); line.is_object()) return std::string(line["message"].as_string());
  static constexpr std::string_view kSource = " pintled: ";
  const size_t at = text.find(kSource);
  return at == std::string::npos || at > 48 ? text : text.substr(at + kSource.size());
}

std::string how(int status) {
  if (WIFSIGNALED(status)) return std::string("signal ") + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) + ")";
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

class Supervisor {
 public:
  Supervisor(Supervised what, int terminal) : what_(std::move(what)), terminal_(terminal), log_(what_.data + "/log") {
    sigset_t set;
    sigemptyset(&set);
    for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, s);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }

  void run() {
    int pause = kFirstPauseMs;
    for (;;) {
      const int64_t started = monotonic_ms();
      int pipe_ends[2];
      if (pipe2(pipe_ends, O_CLOEXEC) != 0) return;
      child_ = start_child(what_.command, pipe_ends[1], false);
      close(pipe_ends[1]);
      errors_ = pipe_ends[0];
      if (child_.pid < 0) {
        note("cannot start " + what_.command[0]);
        return;
      }
      const std::optional<int> status = watch();
      close(errors_);
      if (child_.ready >= 0) close(child_.ready);
      if (!status) return;
      const bool final = stopping_ || (WIFEXITED(*status) && (WEXITSTATUS(*status) == 0 || WEXITSTATUS(*status) == kUsage || WEXITSTATUS(*status) == kInUse));
      // Before it was ever ready the terminal waits: it gets the reason, and nothing stays behind.
      if (terminal_ >= 0) {
        say(terminal_, "failed " + (last_words_.empty() ? "pintled ended with " + how(*status) : last_line(last_words_)) + "\n");
        return;
      }
      if (final) {
        note("pintled ended with " + how(*status));
        return;
      }
      if (monotonic_ms() - started > kHealthyMs) pause = kFirstPauseMs;
      note("pintled ended with " + how(*status) + "; starting it again in " + std::to_string(pause) + " ms");
      if (!sleep_for(pause)) return;
      pause = std::min(pause * 2, kLongestPauseMs);
    }
  }

 private:
  void note(const std::string& text) { log_.write("supervisor: " + text + "\n"); }

  // Until the child has ended: its status. Reads everything it says on the way.
  std::optional<int> watch() {
    std::string ready_line;
    int64_t kill_at = 0;
    for (;;) {
      pollfd waits[3] = {{signals_, POLLIN, 0}, {errors_, POLLIN, 0}, {child_.ready, POLLIN, 0}};
      int wait = -1;
      if (kill_at) wait = static_cast<int>(std::max<int64_t>(0, kill_at - monotonic_ms()));
      if (poll(waits, 3, wait) == 0 && kill_at) {
        kill(child_.pid, SIGKILL);
        kill_at = 0;
      }
      if (waits[1].revents) collect();
      if (waits[2].revents) ready(ready_line);
      if (!waits[0].revents) continue;
      signalfd_siginfo info{};
      while (read(signals_, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
          stopping_ = true;
          kill(child_.pid, SIGTERM);
          kill_at = monotonic_ms() + kStopMs;
        }
      }
      int status = 0;
      if (waitpid(child_.pid, &status, WNOHANG) == child_.pid) {
        fcntl(errors_, F_SETFL, O_NONBLOCK);
        while (collect()) {
        }
        return status;
      }
    }
  }

  bool collect() {
    char buffer[16384];
    const ssize_t n = read(errors_, buffer, sizeof buffer);
    if (n <= 0) {
      // A closed end would be readable for ever; poll() skips negative descriptors.
      if (n == 0) {
        close(errors_);
        errors_ = -1;
      }
      return false;
    }
    const std::string text(buffer, static_cast<size_t>(n));
    log_.write(text);
    last_words_ += text;
    if (last_words_.size() > 8192) last_words_.erase(0, last_words_.size() - 4096);
    return true;
  }

  void ready(std::string& line) {
    char buffer[512];
    const ssize_t n = read(child_.ready, buffer, sizeof buffer);
    if (n > 0) line.append(buffer, static_cast<size_t>(n));
    if (n > 0 && line.find('\n') == std::string::npos) return;
    close(child_.ready);
    child_.ready = -1;
    if (line.rfind("ready ", 0) != 0) return;
    if (what_.keep_address && line.rfind("ready https://", 0) == 0) {
      const std::string address = line.substr(14, line.find('\n') - 14);
      for (size_t i = 0; i + 1 < what_.command.size(); ++i)
        if (what_.command[i] == "--listen") what_.command[i + 1] = address;
      what_.keep_address = false;
    }
    if (terminal_ < 0) return;
    say(terminal_, line);
    close(terminal_);
    terminal_ = -1;
  }

  // False: told to stop.
  bool sleep_for(int ms) {
    const int64_t until = monotonic_ms() + ms;
    for (;;) {
      const int64_t left = until - monotonic_ms();
      if (left <= 0) return true;
      pollfd wait{signals_, POLLIN, 0};
      if (poll(&wait, 1, static_cast<int>(left)) != 1) continue;
      signalfd_siginfo info{};
      while (read(signals_, &info, sizeof info) == sizeof info)
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) return false;
    }
  }

  Supervised what_;
  int terminal_, signals_ = -1, errors_ = -1;
  bool stopping_ = false;
  Child child_;
  std::string last_words_;
  RotatedLog log_;
};

// The supervisor's own process: a session of its own, nothing inherited but its lock and the way back to the terminal.
[[noreturn]] void live(const Supervised& what, int terminal) {
  setsid();
  auto lock = kernel::LockFile::take(what.data + "/supervisor.lock");
  if (!lock) {
    say(terminal, "conflict " + lock.error().text + "\n");
    _exit(kInUse);
  }
  signal(SIGPIPE, SIG_IGN);  // the terminal may have gone
  (void)!chdir("/");
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {0, 1, 2}) dup2(null, fd);
  Supervisor(what, terminal).run();
  _exit(0);
}

}  // namespace

Child start_child(const std::vector<std::string>& command, int errors, bool ends_with_parent) {
  Child child;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return child;
  const int ready_end = fcntl(ends[1], F_DUPFD_CLOEXEC, 10);  // a number that the standard ones cannot take
  close(ends[1]);
  std::vector<std::string> words = command;
  words.insert(words.end(), {"--print-ready-fd", std::to_string(ready_end)});
  std::vector<char*> raw;
  for (auto& w : words) raw.push_back(w.data());
  raw.push_back(nullptr);
  const pid_t parent = getpid();
  child.pid = fork();
  if (child.pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    signal(SIGPIPE, SIG_DFL);
    if (ends_with_parent) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (getppid() != parent) _exit(1);
    }
    if (errors >= 0) {
      dup2(errors, 2);
      dup2(errors, 1);
    }
    fcntl(ready_end, F_SETFD, 0);
    execv(raw[0], raw.data());
    std::fprintf(stderr, "cannot run %s: %s\n", raw[0], std::strerror(errno));
    _exit(127);
  }
  close(ready_end);
  child.ready = ends[0];
  return child;
}

Result<std::string> start_supervised(const Supervised& what, int timeout_ms) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Error(PINTLE_INTERNAL, std::strerror(errno));
  const pid_t pid = fork();
  if (pid < 0) return Error(PINTLE_INTERNAL, std::string("cannot start a process: ") + std::strerror(errno));
  if (pid == 0) {
    close(ends[0]);
    live(what, ends[1]);
  }
  close(ends[1]);
  std::string line;
  const int64_t deadline = monotonic_ms() + timeout_ms;
  while (line.find('\n') == std::string::npos) {
    pollfd wait{ends[0], POLLIN, 0};
    const int64_t left = deadline - monotonic_ms();
    if (left <= 0 || poll(&wait, 1, static_cast<int>(left)) == 0) {
      close(ends[0]);
      return Error(PINTLE_TIMEOUT, "pintled is not ready after " + std::to_string(timeout_ms / 1000) + " s and goes on trying; see " + what.data + "/log/pintled.log");
    }
    char buffer[1024];
    const ssize_t n = read(ends[0], buffer, sizeof buffer);
    if (n <= 0) break;
    line.append(buffer, static_cast<size_t>(n));
  }
  close(ends[0]);
  if (!line.empty()) line.resize(std::min(line.find('\n'), line.size()));
  if (line.rfind("ready ", 0) == 0) return line.substr(6);
  int status = 0;
  waitpid(pid, &status, 0);
  if (line.rfind("conflict ", 0) == 0) return Error(PINTLE_CONFLICT, line.substr(9));
  if (line.rfind("failed ", 0) == 0) return Error(PINTLE_UNAVAILABLE, line.substr(7));
  return Error(PINTLE_UNAVAILABLE, "the supervisor ended; see " + what.data + "/log/pintled.log");
}

RotatedLog::RotatedLog(std::string directory, size_t limit) : directory_(std::move(directory)), limit_(limit) {
  mkdir(directory_.c_str(), 0700);
  reopen();
}
RotatedLog::~RotatedLog() {
  if (fd_ >= 0) close(fd_);
}

void RotatedLog::reopen() {
  if (fd_ >= 0) close(fd_);
  fd_ = open(file().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  struct stat info {};
  size_ = fd_ >= 0 && fstat(fd_, &info) == 0 ? static_cast<size_t>(info.st_size) : 0;
}

void RotatedLog::write(const std::string& bytes) {
  if (size_ > 0 && size_ + bytes.size() > limit_) {
    for (int n = 4; n > 0; --n) {
      const std::string from = n == 1 ? file() : file() + "." + std::to_string(n - 1);
      rename(from.c_str(), (file() + "." + std::to_string(n)).c_str());
    }
    reopen();
  }
  if (fd_ >= 0 && ::write(fd_, bytes.data(), bytes.size()) > 0) size_ += bytes.size();
}

}  // namespace pintle::cli

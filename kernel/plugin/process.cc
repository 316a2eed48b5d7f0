#include "kernel/plugin/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

#include "kernel/plugin/fd_loop.h"

namespace pintle::kernel {
namespace {

constexpr size_t kLine = 4096;

std::vector<std::string> clean_environment() {
  std::vector<std::string> out;
  for (const char* name : {"PATH", "HOME", "TZ", "LANG", "TMPDIR", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"})
    if (const char* value = std::getenv(name)) out.push_back(std::string(name) + "=" + value);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& t : texts) out.push_back(t.data());
  out.push_back(nullptr);
  return out;
}

std::string how_it_ended(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return "exited with " + std::to_string(info.si_status);
  const char* name = sigabbrev_np(info.si_status);
  return "was killed by " + (name ? std::string("SIG") + name : "signal " + std::to_string(info.si_status));
}

}  // namespace

Result<std::shared_ptr<Process>> Process::start(ProcessOptions options) {
  std::shared_ptr<Process> p(new Process);
  p->options_ = std::move(options);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error(PINTLE_UNAVAILABLE, std::string("no pipe for the output: ") + std::strerror(errno));
  p->pipe_ = ends[0];
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  // The target may be the number of the source: then dup2 would leave it close-on-exec. Numbers above 3 are safe.
  const int out = ::fcntl(ends[1], F_DUPFD_CLOEXEC, 10), channel = ::fcntl(p->options_.channel, F_DUPFD_CLOEXEC, 10);
  ::close(ends[1]);
  posix_spawn_file_actions_adddup2(&files, out, 1);
  posix_spawn_file_actions_adddup2(&files, out, 2);
  posix_spawn_file_actions_adddup2(&files, channel, 3);
  posix_spawn_file_actions_addclosefrom_np(&files, 4);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  std::vector<std::string> words = p->options_.arguments, environment = clean_environment();
  words.insert(words.begin(), p->options_.binary);
  auto argv = pointers(words), envp = pointers(environment);
  const int wrong = out < 0 || channel < 0 ? EMFILE : posix_spawn(&p->pid_, p->options_.binary.c_str(), &files, &attributes, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (out >= 0) ::close(out);
  if (channel >= 0) ::close(channel);
  if (wrong != 0) {
    p->over_ = true;
    return Error(wrong == ENOENT ? PINTLE_NOT_FOUND : PINTLE_UNAVAILABLE, "\"" + p->options_.binary + "\" cannot be started: " + std::strerror(wrong));
  }
  // Ours and not waited for yet: the number cannot belong to somebody else.
  p->pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, p->pid_, 0));
  if (p->pidfd_ < 0) {
    const int error = errno;
    ::kill(p->pid_, SIGKILL);
    ::waitpid(p->pid_, nullptr, 0);
    p->over_ = true;
    return Error(PINTLE_UNAVAILABLE, std::string("no descriptor for the process: ") + std::strerror(error));
  }
  p->watch();
  return p;
}

void Process::watch() {
  auto self = shared_from_this();  // kept until it has ended
  {
    std::lock_guard lock(mutex_);
    exit_id_ = FdLoop::shared().add(pidfd_, [self](uint32_t) { self->ended(); });
    output_id_ = FdLoop::shared().add(pipe_, [self](uint32_t) { self->output(); });
  }
  FdLoop::shared().arm(output_id_, EPOLLIN);
  FdLoop::shared().arm(exit_id_, EPOLLIN);
}

Process::~Process() {
  if (!over_) kill();
  if (pidfd_ >= 0) ::close(pidfd_);
  if (pipe_ >= 0) ::close(pipe_);
}

void Process::kill() {
  std::lock_guard lock(mutex_);
  if (!over_ && pidfd_ >= 0) ::syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0);
}

void Process::forget() {
  std::lock_guard lock(telling_mutex_);
  options_.on_line = nullptr;
  options_.on_exit = nullptr;
}

void Process::tell_line() {
  std::string line = std::exchange(line_, {});
  std::lock_guard lock(telling_mutex_);
  if (!line.empty() && options_.on_line) options_.on_line(std::move(line));
}

void Process::ended() {
  std::string how = "ended";
  {
    std::lock_guard lock(mutex_);
    siginfo_t info{};
    if (::waitid(P_PIDFD, static_cast<id_t>(pidfd_), &info, WEXITED) == 0) how = how_it_ended(info);
    over_ = true;
  }
  output();  // its last words
  tell_line();
  FdLoop::shared().remove(output_id_);
  FdLoop::shared().remove(exit_id_);
  std::lock_guard lock(telling_mutex_);
  if (options_.on_exit) options_.on_exit(std::move(how));
  options_.on_exit = nullptr;
}

void Process::output() {
  char buffer[16 << 10];
  const ssize_t n = ::read(pipe_, buffer, sizeof buffer);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return;
  for (ssize_t i = 0; i < n; ++i) {
    if (buffer[i] != '\n') line_ += buffer[i];
    if (buffer[i] == '\n' || line_.size() >= kLine) tell_line();
  }
  if (!over_) FdLoop::shared().arm(output_id_, EPOLLIN);
}

Result<std::string> find_host_program() {
  char path[4096];
  const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path - 1);
  if (n <= 0) return Error(PINTLE_NOT_FOUND, std::string("/proc/self/exe: ") + std::strerror(errno));
  std::string file(path, static_cast<size_t>(n));
  file.resize(file.rfind('/') + 1);
  file += "pintle-host";
  if (::access(file.c_str(), X_OK) != 0) return Error(PINTLE_NOT_FOUND, "\"" + file + "\" is needed to run a plugin in its own process: " + std::strerror(errno));
  return file;
}

}  // namespace pintle::kernel

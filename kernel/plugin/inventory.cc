#include "kernel/plugin/inventory.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <mutex>

#include "kernel/base/log.h"
#include "kernel/plugin/config_schema.h"
#include "kernel/plugin/fd_loop.h"
#include "kernel/plugin/note.h"

namespace pintle::kernel {
namespace fs = std::filesystem;

PluginFile inspect_file(const std::string& path) {
  PluginFile file;
  file.path = path;
  file.error.code = PINTLE_OK;
  Result<Note> note = read_note(path);
  if (!note) {
    file.error = note.error();
    return file;
  }
  file.digest = note->digest;
  auto manifest = Manifest::parse(note->manifest);
  if (!manifest) {
    file.error = manifest.error();
    return file;
  }
  if (auto ok = check_schema((*manifest)->config_schema); !ok) {
    file.error = Error(PINTLE_INVALID, "manifest of \"" + (*manifest)->name + "\": " + ok.error().text);
    return file;
  }
  file.manifest = std::move(*manifest);
  return file;
}

std::string object_name(const PluginFile& refused) {
  std::string name = fs::path(refused.path).stem().string();
  std::replace(name.begin(), name.end(), '_', '-');
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const bool good = !name.empty() && name.size() <= 63 && plain(name.front()) && plain(name.back()) &&
                    std::all_of(name.begin(), name.end(), [&](char c) { return plain(c) || c == '-'; });
  return good ? name : std::string();
}

struct Inventory::State : std::enable_shared_from_this<Inventory::State> {
  State(Executor& e, std::vector<std::string> d) : executor(e), directories(std::move(d)) {}
  Executor& executor;
  const std::vector<std::string> directories;
  mutable std::mutex mutex;
  std::function<void()> changed;
  std::map<std::string, PluginFile> files;
  std::vector<PluginFile> bad;
  struct Seen {
    int64_t size, time_ns;
    PluginFile file;
  };
  std::map<std::string, Seen> seen;  // unchanged files are not read again
  int inotify = -1;
  uint64_t watch = 0;
  TimerId timer = 0;

  void notice() {
    char buffer[4096];
    while (::read(inotify, buffer, sizeof buffer) > 0) {
    }
    std::lock_guard lock(mutex);
    if (timer == 0) {
      timer = executor.after(200'000'000, [weak = weak_from_this()] {
        auto self = weak.lock();
        if (!self) return;
        std::function<void()> fn;
        {
          std::lock_guard inner(self->mutex);
          self->timer = 0;
          fn = self->changed;
        }
        if (fn) fn();
      });
    }
    FdLoop::shared().arm(watch, EPOLLIN);
  }

  // Before each look into the directories, so that nothing falls in between. A directory that is not there yet: its nearest
  // ancestor tells when that changes.
  void watch_directories() const {
    if (inotify < 0) return;
    for (const auto& d : directories) {
      fs::path at = d;
      std::error_code code;
      if (inotify_add_watch(inotify, at.c_str(), IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_MASK_ADD) >= 0) continue;
      while (at.has_relative_path() && !fs::is_directory(at, code)) at = at.parent_path();
      inotify_add_watch(inotify, at.c_str(), IN_CREATE | IN_MOVED_TO | IN_ONLYDIR | IN_MASK_ADD);
    }
  }
};

Inventory::Inventory(Executor& executor, std::vector<std::string> directories) : state_(std::make_shared<State>(executor, std::move(directories))) {}

void Inventory::on_change(std::function<void()> changed) {
  State& s = *state_;
  if (s.executor.simulated()) return;
  s.inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (s.inotify < 0) return;
  s.changed = std::move(changed);
  s.watch = FdLoop::shared().add(s.inotify, [weak = std::weak_ptr<State>(state_)](uint32_t) {
    if (auto self = weak.lock()) self->notice();
  });
  FdLoop::shared().arm(s.watch, EPOLLIN);
}

Inventory::~Inventory() {
  {
    std::lock_guard lock(state_->mutex);
    state_->changed = nullptr;
  }
  if (state_->watch) FdLoop::shared().remove(state_->watch);
  if (state_->inotify >= 0) ::close(state_->inotify);
}

void Inventory::scan() {
  state_->watch_directories();
  std::map<std::string, PluginFile> files;
  std::vector<PluginFile> bad;
  for (const auto& directory : state_->directories) {
    std::error_code code;
    std::vector<std::string> paths;
    for (const auto& item : fs::directory_iterator(directory, code))
      if (item.path().extension() == ".so") paths.push_back(item.path().string());
    std::sort(paths.begin(), paths.end());
    for (const auto& path : paths) {
      struct stat st {};
      if (::stat(path.c_str(), &st) != 0) continue;
      const int64_t time_ns = int64_t{st.st_ctim.tv_sec} * 1000000000 + st.st_ctim.tv_nsec;
      PluginFile file;
      bool fresh = true;
      {
        std::lock_guard lock(state_->mutex);
        const auto at = state_->seen.find(path);
        if (at != state_->seen.end() && at->second.size == st.st_size && at->second.time_ns == time_ns) {
          file = at->second.file;
          fresh = false;
        }
      }
      if (fresh) {
        file = inspect_file(path);
        if (!file.manifest) log::warn("plugin", file.error.text);
        std::lock_guard lock(state_->mutex);
        state_->seen[path] = {st.st_size, time_ns, file};
      }
      if (!file.manifest) bad.push_back(std::move(file));
      else files.emplace(file.manifest->name, std::move(file));
    }
  }
  std::lock_guard lock(state_->mutex);
  state_->files = std::move(files);
  state_->bad = std::move(bad);
}

std::map<std::string, PluginFile> Inventory::by_name() const {
  std::lock_guard lock(state_->mutex);
  return state_->files;
}

std::vector<PluginFile> Inventory::refused() const {
  std::lock_guard lock(state_->mutex);
  return state_->bad;
}

}  // namespace pintle::kernel

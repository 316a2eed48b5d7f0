#include "kernel/plugin/module.h"

#define BOOST_DLL_USE_STD_FS
#include <boost/dll/shared_library.hpp>

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <vector>

namespace pintle::kernel {
namespace {

// One module's memory is the next one's. The loader has a lock of its own, which ThreadSanitizer does not see: without this the destructors of the one and the
// constructors of the other are a data race to it. Recursive, as that lock is.
std::recursive_mutex& loader_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

std::atomic<size_t> g_parked{0};
std::atomic<uint64_t> g_generation{0};

struct Fd {
  int fd = -1;
  ~Fd() {
    if (fd >= 0) ::close(fd);
  }
};

// Copies and hashes in one pass, so that what is loaded is what was inspected.
Result<std::string> copy(int from, int to) {
  EVP_MD_CTX* sum = EVP_MD_CTX_new();
  EVP_DigestInit_ex(sum, EVP_sha256(), nullptr);
  char buffer[1 << 16];
  std::string failed;
  for (;;) {
    const ssize_t n = ::read(from, buffer, sizeof buffer);
    if (n == 0) break;
    if (n < 0) {
      if (errno == EINTR) continue;
      failed = std::strerror(errno);
      break;
    }
    EVP_DigestUpdate(sum, buffer, static_cast<size_t>(n));
    for (ssize_t done = 0; done < n;) {
      const ssize_t w = ::write(to, buffer + done, static_cast<size_t>(n - done));
      if (w < 0 && errno == EINTR) continue;
      if (w <= 0) {
        failed = std::strerror(errno);
        break;
      }
      done += w;
    }
    if (!failed.empty()) break;
  }
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(sum, bytes, &length);
  EVP_MD_CTX_free(sum);
  if (!failed.empty()) return Error(PINTLE_INTERNAL, "copying the module failed: " + failed);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (unsigned i = 0; i < length; ++i) {
    hex += kDigits[bytes[i] >> 4];
    hex += kDigits[bytes[i] & 15];
  }
  return hex;
}

struct Search {
  uintptr_t inside;
  bool found;
};

// Is `address` inside any loaded object?
bool mapped(const void* address) {
  Search search{reinterpret_cast<uintptr_t>(address), false};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* p) {
        auto* s = static_cast<Search*>(p);
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& segment = info->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD) continue;
          const uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
          if (s->inside >= begin && s->inside < begin + segment.p_memsz) s->found = true;
        }
        return s->found ? 1 : 0;
      },
      &search);
  return search.found;
}

}  // namespace

struct Module::State {
  boost::dll::shared_library library;
  const pintle_entry* entry = nullptr;
  std::string copy_path;  // "" = in memory
  Fd memory;
  bool closed = false;
};

Module::Module(std::unique_ptr<State> state) : state_(std::move(state)) {}
Module::~Module() {
  if (state_ && !state_->closed) park();
}

const pintle_entry& Module::entry() const { return *state_->entry; }

Result<std::unique_ptr<Module>> Module::open(const std::string& file, const std::string& digest, const std::string& directory) {
  Fd from{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  if (from.fd < 0) return Error(errno == ENOENT ? PINTLE_NOT_FOUND : PINTLE_FORBIDDEN, "\"" + file + "\": " + std::strerror(errno));
  struct stat st {};
  if (fstat(from.fd, &st) != 0 || !S_ISREG(st.st_mode)) return Error(PINTLE_INVALID, "\"" + file + "\" is not a regular file");
  if (st.st_mode & (S_IWGRP | S_IWOTH))
    return Error(PINTLE_FORBIDDEN, "\"" + file + "\" may be written by others than its owner: chmod go-w it");

  auto state = std::make_unique<State>();
  const uint64_t generation = ++g_generation;
  Fd to;
  std::string path;
  if (directory.empty()) {
    state->memory.fd = memfd_create(("pintle-" + digest.substr(0, 12)).c_str(), MFD_CLOEXEC);
    if (state->memory.fd < 0) return Error(PINTLE_INTERNAL, std::string("memfd_create: ") + std::strerror(errno));
    path = "/proc/self/fd/" + std::to_string(state->memory.fd);
  } else {
    path = directory + "/" + digest + "." + std::to_string(generation) + ".so";
    to.fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0500);
    if (to.fd < 0) return Error(PINTLE_INTERNAL, "\"" + path + "\": " + std::strerror(errno));
    state->copy_path = path;
  }
  const auto undo = [&](Error error) -> Result<std::unique_ptr<Module>> {
    if (!state->copy_path.empty()) ::unlink(state->copy_path.c_str());
    return error;
  };
  Result<std::string> copied = copy(from.fd, directory.empty() ? state->memory.fd : to.fd);
  if (!copied) return undo(copied.error());
  if (!digest.empty() && *copied != digest) return undo(Error(PINTLE_CONFLICT, "\"" + file + "\" changed while it was loaded"));

  boost::dll::fs::error_code code;
  try {
    const std::lock_guard loader(loader_mutex());
    state->library.load(path, code, boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local);
  } catch (const std::exception& e) {
    return undo(Error(PINTLE_INVALID, "\"" + file + "\" cannot be loaded: " + e.what()));
  }
  if (code) {
    // Boost keeps only a number; the linker's own words say which symbol or library is missing.
    void* again = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    const char* text = again ? nullptr : dlerror();
    if (again) dlclose(again);
    return undo(Error(PINTLE_INVALID, "\"" + file + "\" cannot be loaded: " + (text ? text : code.message())));
  }
  if (!state->library.has("pintle_plugin_entry"))
    return undo(Error(PINTLE_INVALID, "\"" + file + "\" does not export pintle_plugin_entry"));
  state->entry = &state->library.get<const pintle_entry>("pintle_plugin_entry");
  if (state->entry->size < offsetof(pintle_entry, create) + sizeof(state->entry->create) || state->entry->create == nullptr)
    return undo(Error(PINTLE_INVALID, "\"" + file + "\" has a damaged entry"));
  if (state->entry->abi_major != PINTLE_ABI_MAJOR)
    return undo(Error(PINTLE_INVALID, "\"" + file + "\" is built for ABI " + std::to_string(state->entry->abi_major) + "." +
                                          std::to_string(state->entry->abi_minor) + ", this kernel speaks ABI " +
                                          std::to_string(PINTLE_ABI_MAJOR) + "." + std::to_string(PINTLE_ABI_MINOR)));
  return std::unique_ptr<Module>(new Module(std::move(state)));
}

bool Module::close() {
  if (!state_ || state_->closed) return true;
  const void* inside = state_->entry;
  {
    const std::lock_guard loader(loader_mutex());
    state_->library.unload();
  }
  state_->closed = true;
  if (!state_->copy_path.empty()) ::unlink(state_->copy_path.c_str());
  if (mapped(inside)) {
    ++g_parked;
    return false;
  }
  return true;
}

void Module::park() {
  if (!state_ || state_->closed) return;
  ++g_parked;
  state_->closed = true;
  if (!state_->copy_path.empty()) ::unlink(state_->copy_path.c_str());
  // Nothing may unmap this code any more.
  keep_for_ever(std::make_shared<boost::dll::shared_library>(std::move(state_->library)));
}

void keep_for_ever(std::shared_ptr<void> what) {
  static std::mutex mutex;
  static auto* const kept = new std::vector<std::shared_ptr<void>>;  // never destroyed: threads may run on when the program ends
  std::lock_guard lock(mutex);
  kept->push_back(std::move(what));
}

size_t parked_modules() { return g_parked; }

void clear_module_copies(const std::string& directory) {
  std::error_code code;
  for (const auto& item : std::filesystem::directory_iterator(directory, code))
    if (item.path().extension() == ".so") std::filesystem::remove(item.path(), code);
}

}  // namespace pintle::kernel

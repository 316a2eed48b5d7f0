#include "kernel/plugin/note.h"

#include <elf.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "pintle/abi.h"

namespace pintle::kernel {
namespace {

#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
constexpr const char* kMachineName = "x86-64";
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
constexpr const char* kMachineName = "aarch64";
#else
#error "unknown machine"
#endif

// A T at `offset`, copied because foreign bytes need not be aligned. False when it is out of bounds.
template <class T>
bool read_at(std::string_view bytes, uint64_t offset, T& out) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return false;
  std::memcpy(&out, bytes.data() + offset, sizeof(T));
  return true;
}

std::string hex(const unsigned char* bytes, size_t n) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < n; ++i) {
    out += kDigits[bytes[i] >> 4];
    out += kDigits[bytes[i] & 15];
  }
  return out;
}

struct Notes {
  std::string_view manifest;
  bool found = false, damaged = false;
};

void scan(std::string_view segment, Notes& notes) {
  uint64_t at = 0;
  while (at < segment.size()) {
    Elf64_Nhdr header;
    if (!read_at(segment, at, header)) break;
    const uint64_t name_at = at + sizeof header;
    const uint64_t desc_at = name_at + ((uint64_t{header.n_namesz} + 3) & ~uint64_t{3});
    const uint64_t end = desc_at + header.n_descsz;
    if (end > segment.size()) {
      notes.damaged = true;
      return;
    }
    const std::string_view name = segment.substr(name_at, header.n_namesz);
    if (header.n_type == PINTLE_NOTE_TYPE && name == std::string_view(PINTLE_NOTE_NAME, sizeof PINTLE_NOTE_NAME)) {
      notes.manifest = segment.substr(desc_at, header.n_descsz);
      notes.found = true;
      return;
    }
    at = (end + 3) & ~uint64_t{3};
  }
}

struct Mapping {
  void* at = MAP_FAILED;
  size_t size = 0;
  int fd = -1;
  ~Mapping() {
    if (at != MAP_FAILED) munmap(at, size);
    if (fd >= 0) close(fd);
  }
};

}  // namespace

Result<std::string> note_in(std::string_view elf, const std::string& name) {
  const auto bad = [&](const std::string& why) { return Error(PINTLE_INVALID, "\"" + name + "\" " + why); };
  Elf64_Ehdr header;
  if (!read_at(elf, 0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return bad("is not an ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB)
    return bad("is not a 64-bit little-endian ELF file");
  if (header.e_type != ET_DYN) return bad("is not a shared object");
  if (header.e_machine != kMachine)
    return bad("is built for another machine (ELF machine " + std::to_string(header.e_machine) + ", this is " + kMachineName + ")");
  if (header.e_phentsize != sizeof(Elf64_Phdr)) return bad("has damaged program headers");
  Notes notes;
  for (unsigned i = 0; i < header.e_phnum && !notes.found; ++i) {
    Elf64_Phdr segment;
    if (!read_at(elf, header.e_phoff + uint64_t{i} * sizeof segment, segment)) return bad("is cut off in its program headers");
    if (segment.p_type != PT_NOTE) continue;
    if (segment.p_offset > elf.size() || segment.p_filesz > elf.size() - segment.p_offset) return bad("is cut off in a note");
    scan(elf.substr(segment.p_offset, segment.p_filesz), notes);
  }
  if (!notes.found)
    return bad(notes.damaged ? "has a damaged note" : "has no Pintle note: it is not a plugin, or was not built with pintle_add_plugin()");
  return std::string(notes.manifest);
}

Result<Note> read_note(const std::string& file) {
  Mapping map;
  map.fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (map.fd < 0)
    return Error(errno == ENOENT ? PINTLE_NOT_FOUND : PINTLE_FORBIDDEN, "\"" + file + "\": " + std::strerror(errno));
  struct stat st {};
  if (fstat(map.fd, &st) != 0 || !S_ISREG(st.st_mode)) return Error(PINTLE_INVALID, "\"" + file + "\" is not a regular file");
  if (st.st_mode & (S_IWGRP | S_IWOTH))
    return Error(PINTLE_FORBIDDEN, "\"" + file + "\" may be written by others than its owner: chmod go-w it");
  if (st.st_uid != 0 && st.st_uid != geteuid())
    return Error(PINTLE_FORBIDDEN, "\"" + file + "\" belongs to another user (uid " + std::to_string(st.st_uid) + ")");
  if (st.st_size == 0) return Error(PINTLE_INVALID, "\"" + file + "\" is empty");
  map.size = static_cast<size_t>(st.st_size);
  map.at = mmap(nullptr, map.size, PROT_READ, MAP_PRIVATE, map.fd, 0);
  if (map.at == MAP_FAILED) return Error(PINTLE_INTERNAL, "\"" + file + "\" cannot be mapped: " + std::strerror(errno));
  const std::string_view bytes(static_cast<const char*>(map.at), map.size);
  Result<std::string> manifest = note_in(bytes, file);
  if (!manifest) return manifest.error();
  unsigned char sum[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), sum);
  return Note{std::move(*manifest), hex(sum, sizeof sum)};
}

}  // namespace pintle::kernel

// Reads the manifest out of a plugin's file without running anything of it: mmap, bounds-checked ELF parsing.
#pragma once
#include <string>

#include "pintle/result.h"

namespace pintle::kernel {

struct Note {
  std::string manifest;  // JSON text
  std::string digest;    // sha256 of the whole file, lower-case hex
};

// INVALID with a text that names the file and the reason: not an ELF shared object, another machine, no Pintle note, damaged note.
// FORBIDDEN: others than its owner may write it. NOT_FOUND: no such file.
Result<Note> read_note(const std::string& file);

// The same on bytes in memory (fuzzing). `name` stands in for the file in messages.
Result<std::string> note_in(std::string_view elf, const std::string& name);

}  // namespace pintle::kernel

#include "pause_image.h"

#include <cstdio>
#include <cstring>

extern "C" {
extern const char pintle_pause_begin[];
extern const char pintle_pause_end[];
}
__asm__(
    ".section .rodata\n.globl pintle_pause_begin\n.globl pintle_pause_end\npintle_pause_begin:\n.incbin \"" PINTLE_PAUSE_PROGRAM
    "\"\npintle_pause_end:\n.byte 0\n.previous\n");

namespace pintle::runtime_docker {

std::string_view pause_program() { return {pintle_pause_begin, static_cast<size_t>(pintle_pause_end - pintle_pause_begin)}; }

std::string tar_with_program(std::string_view name, std::string_view program) {
  char header[512] = {};
  name.copy(header, 100);
  std::memcpy(header + 100, "0000755", 8);
  std::memcpy(header + 108, "0000000", 8);
  std::memcpy(header + 116, "0000000", 8);
  std::snprintf(header + 124, 12, "%011zo", program.size());
  std::memcpy(header + 136, "00000000000", 12);
  header[156] = '0';
  std::memcpy(header + 257, "ustar", 6);
  std::memcpy(header + 263, "00", 2);
  std::memset(header + 148, ' ', 8);
  unsigned sum = 0;
  for (char c : header) sum += static_cast<unsigned char>(c);
  std::snprintf(header + 148, 8, "%06o", sum);
  std::string out(header, sizeof header);
  out.append(program);
  out.append((512 - program.size() % 512) % 512 + 1024, '\0');
  return out;
}

}  // namespace pintle::runtime_docker

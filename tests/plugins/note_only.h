/* A file that is only a manifest: what must be refused by what it says, before any of its code runs. MANIFEST comes from the file that includes this. */
#include <stdint.h>
__attribute__((section(".note.pintle"), aligned(4), used)) static const struct {
  uint32_t name, desc, type;
  char owner[8];
  char text[(sizeof MANIFEST + 3) / 4 * 4];
} note = {7, sizeof MANIFEST - 1, 1, "Pintle", MANIFEST};

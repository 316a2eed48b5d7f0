/* A plugin of another ABI, told by its note. */
#include <stdint.h>
#define MANIFEST "{\"name\":\"bad-abi\",\"version\":\"1\",\"abi\":\"9.0\",\"draft\":\"pintle.draft.\"}"
__attribute__((section(".note.pintle"), aligned(4), used)) static const struct {
  uint32_t name, desc, type;
  char owner[8];
  char text[(sizeof MANIFEST + 3) / 4 * 4];
} note = {7, sizeof MANIFEST - 1, 1, "Pintle", MANIFEST};

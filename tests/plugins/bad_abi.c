/* A plugin of another ABI. */
#define MANIFEST "{\"name\":\"bad-abi\",\"version\":\"1\",\"abi\":\"9.0\",\"draft\":\"pintle.draft.\"}"
#include "note_only.h"

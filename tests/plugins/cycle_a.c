/* Two plugins that need each other. */
#define MANIFEST "{\"name\":\"cycle-a\",\"version\":\"1\",\"abi\":\"0.1\",\"draft\":\"pintle.draft.\",\"needs\":[\"cycle-b\"]}"
#include "note_only.h"

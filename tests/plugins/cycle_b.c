/* Two plugins that need each other. */
#define MANIFEST "{\"name\":\"cycle-b\",\"version\":\"1\",\"abi\":\"0.1\",\"draft\":\"pintle.draft.\",\"needs\":[\"cycle-a\"]}"
#include "note_only.h"

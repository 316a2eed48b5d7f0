/* A plugin that needs one that is not there. */
#define MANIFEST "{\"name\":\"lonely\",\"version\":\"1\",\"abi\":\"0.1\",\"draft\":\"pintle.draft.\",\"needs\":[\"nobody\"]}"
#include "note_only.h"

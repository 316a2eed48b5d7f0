/* A plugin of another draft. */
#define MANIFEST "{\"name\":\"bad-draft\",\"version\":\"1\",\"abi\":\"0.1\",\"draft\":\"pintle.older.\"}"
#include "note_only.h"

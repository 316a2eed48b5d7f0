/* A plugin whose manifest is no JSON. */
#define MANIFEST "name: not, JSON {"
#include "note_only.h"

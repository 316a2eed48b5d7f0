// jemalloc's options (http://jemalloc.net/jemalloc.3.html#tuning): it finds this string by its name. $MALLOC_CONF goes before it.
#include <jemalloc/jemalloc.h>

// A thread of its own gives back what has been free for a second: a peak (all objects read at the start, OpenAPI documents) does not stay.
const char* malloc_conf = "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";

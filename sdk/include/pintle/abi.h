/* The binary contract between Pintle's kernel and a plugin.
 *
 * Pure C11. No C++ type, exception, allocator or thread crosses this line.
 * A plugin author normally includes <pintle/sdk.h> and never sees this file.
 *
 * Rules (reasons: sdk/docs/abi.md)
 *  1. Structs start with `size`, grow only at the end, are never reordered.
 *     Read a field of a foreign struct only after PINTLE_HAS(ptr, field).
 *  2. An interface is named "<dotted.name>/<revision>". A breaking change is a new
 *     revision under a new name. Until declared stable, names start with
 *     "pintle.draft." and a plugin built for another draft is refused.
 *  3. `pintle_bytes` is borrowed: valid until the call it came with returns.
 *     `pintle_buf` is owned: the receiver calls `release` exactly once.
 *  4. Thread tags: [control] one thread at a time per instance, never inside another
 *     call of it; [worker] concurrent, on a host thread; [any] any thread, any time
 *     between `create` and the return of `destroy`.
 *  5. Text is UTF-8, documents are JSON. Durations and instants are nanoseconds;
 *     instants are CLOCK_BOOTTIME unless a field says `wall`. */
#ifndef PINTLE_ABI_H_
#define PINTLE_ABI_H_
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define PINTLE_ABI_MAJOR 0u
#define PINTLE_ABI_MINOR 1u
#define PINTLE_DRAFT "pintle.draft."
#define PINTLE_EXPORT __attribute__((visibility("default")))
#define PINTLE_HAS(p, f) \
  ((p)->size >= offsetof(__typeof__(*(p)), f) + sizeof((p)->f) && (p)->f)

typedef struct {
  const char* ptr;
  size_t len;
} pintle_bytes;

typedef struct {
  const char* ptr;
  size_t len;
  void (*release)(void* owner, const char* ptr, size_t len); /* may be 0: nothing to free */
  void* owner;
} pintle_buf;

/* Values name Kubernetes Status reasons, so that an error becomes an API answer as it is.
 * Append only. */
typedef enum {
  PINTLE_OK = 0,
  PINTLE_BAD_REQUEST = 1,        /* 400 BadRequest */
  PINTLE_UNAUTHORIZED = 2,       /* 401 Unauthorized */
  PINTLE_FORBIDDEN = 3,          /* 403 Forbidden */
  PINTLE_NOT_FOUND = 4,          /* 404 NotFound */
  PINTLE_METHOD_NOT_ALLOWED = 5, /* 405 MethodNotAllowed */
  PINTLE_ALREADY_EXISTS = 6,     /* 409 AlreadyExists */
  PINTLE_CONFLICT = 7,           /* 409 Conflict */
  PINTLE_EXPIRED = 8,            /* 410 Expired */
  PINTLE_TOO_LARGE = 9,          /* 413 RequestEntityTooLarge */
  PINTLE_UNSUPPORTED_MEDIA = 10, /* 415 UnsupportedMediaType */
  PINTLE_INVALID = 11,           /* 422 Invalid */
  PINTLE_TOO_MANY_REQUESTS = 12, /* 429 TooManyRequests */
  PINTLE_INTERNAL = 13,          /* 500 InternalError */
  PINTLE_UNAVAILABLE = 14,       /* 503 ServiceUnavailable */
  PINTLE_TIMEOUT = 15,           /* 504 Timeout */
  PINTLE_NO_SPACE = 16,          /* 507 InsufficientStorage */
  PINTLE_CANCELLED = 17,         /* the caller went away; never sent to a client */
  PINTLE_UNSUPPORTED = 18,       /* 501; the provider's manifest says it cannot do this */
  PINTLE_DEPOSED = 19,           /* the caller's slot epoch is over; stop acting */
  PINTLE_NOT_ACCEPTABLE = 20     /* 406 NotAcceptable */
} pintle_code;

/* Allocated by the caller (size set), filled by the callee. `status` is either "" or the
 * JSON of a Kubernetes Status with causes; it is dropped when it does not fit. */
typedef struct {
  uint32_t size;
  int32_t code; /* pintle_code */
  uint32_t retry_after_ms;
  char text[512];
  char status[2048];
} pintle_error;

typedef struct pintle_host pintle_host;

/* ------------------------------------------------------------------ calls ------------- */

/* One request in flight. The kernel counts open calls: an instance is not stopped, swapped
 * or unloaded while it owes one. Complete it exactly once, from any thread. */
typedef struct pintle_call pintle_call;

typedef void (*pintle_task_fn)(void* ctx);

/* THE method shape: every extension point is a struct of these. `request` is borrowed. */
typedef void (*pintle_method)(void* self, pintle_bytes request, pintle_call* call); /* [worker] */

#define PINTLE_CALL PINTLE_DRAFT "call/1"
typedef struct {
  uint32_t size; /* every function [any] */
  /* Ends the call. On PINTLE_OK `reply` is the answer; otherwise `error` (may be 0) tells why. */
  void (*complete)(pintle_call*, pintle_code, const pintle_error* error, pintle_buf reply);
  /* Sends a partial answer before completion. true = taken. false = WOULD_BLOCK: nothing was
   * taken (the caller still owns `part`), and the function given to on_ready runs once when
   * there is room again. */
  bool (*emit)(pintle_call*, pintle_buf part);
  void (*on_ready)(pintle_call*, pintle_task_fn fn, void* ctx);
  /* `fn` runs at most once, when the caller gives up or the deadline passes; never after
   * complete() has returned. If it already happened, it runs before on_cancel returns. */
  void (*on_cancel)(pintle_call*, pintle_task_fn fn, void* ctx);
  bool (*cancelled)(const pintle_call*);
  uint64_t (*deadline)(const pintle_call*); /* instant; 0 = none */
  /* Descriptors that came with the request; -1 if there is none at `index`. The taker closes it. */
  int (*take_fd)(pintle_call*, uint32_t index);
  /* Adds a descriptor to the answer; the host takes ownership. Before complete(). */
  void (*give_fd)(pintle_call*, int fd);
} pintle_call_api;

/* ---------------------------------------------------------------- host services ------- */

struct pintle_host {
  uint32_t size, abi_major, abi_minor;
  const char* version; /* "0.1.0" */
  /* Table of a host service, or 0. Constant for the life of the instance. [any] */
  const void* (*get)(const pintle_host*, const char* interface_id);
};

#define PINTLE_LOG PINTLE_DRAFT "log/1"
enum { PINTLE_LOG_DEBUG = 1, PINTLE_LOG_INFO = 2, PINTLE_LOG_WARN = 3, PINTLE_LOG_ERROR = 4 };
typedef struct {
  uint32_t size; /* [any] */
  /* `fields` is "" or a JSON object with further keys. Never put a secret in either. */
  void (*write)(const pintle_host*, int level, pintle_bytes text, pintle_bytes fields);
  int (*level)(const pintle_host*); /* the lowest level that is written; changes live */
} pintle_log_api;

/* Objects: immutable, reference-counted canonical JSON. */
typedef struct pintle_object pintle_object;
#define PINTLE_OBJECT PINTLE_DRAFT "object/1"
typedef struct {
  uint32_t size; /* [any] */
  void (*retain)(pintle_object*);
  void (*release)(pintle_object*);
  pintle_bytes (*raw)(const pintle_object*); /* 64 readable bytes follow */
  uint64_t (*revision)(const pintle_object*);
  /* Registers a dotted path ("metadata.name", "spec.nodeName"); keys with dots are written
   * in brackets: "metadata.annotations[a.b/c]". Call in `create` or `start`. */
  uint32_t (*path)(const pintle_host*, pintle_bytes dotted);
  /* JSON text of the field, or {0,0} when absent. Cached per object revision. */
  pintle_bytes (*field)(const pintle_object*, uint32_t path);
  /* The kind as the store names it: "pods", "deployments.apps". For watches on "*". */
  pintle_bytes (*kind)(const pintle_object*);
} pintle_object_api;

/* A kind is named "<plural>.<group>" ("pods", "deployments.apps"). */
typedef struct {
  pintle_bytes kind, ns, name; /* ns "" = cluster scope */
} pintle_key;

typedef enum {
  PINTLE_EVENT_ADDED = 1,
  PINTLE_EVENT_MODIFIED = 2,
  PINTLE_EVENT_DELETED = 3,
  PINTLE_EVENT_SYNCED = 4, /* the initial state is complete; object = 0 */
  PINTLE_EVENT_CLOSED = 5  /* last event; `code` says why (EXPIRED: list again) */
} pintle_event_type;

typedef struct {
  uint32_t size;
  int32_t type;            /* pintle_event_type */
  pintle_object* object;   /* borrowed; for DELETED the last state */
  pintle_object* previous; /* borrowed; 0 when unknown */
  uint64_t revision;
  int32_t code; /* CLOSED only */
} pintle_event;
typedef void (*pintle_event_fn)(void* ctx, const pintle_event* event); /* [worker], one at a time per watch, in order */

typedef struct {
  uint32_t size;
  pintle_bytes kind;
  pintle_bytes ns; /* "" = all */
  pintle_bytes label_selector, field_selector;
  uint32_t limit;                /* list: 0 = all */
  pintle_bytes continue_token;   /* list */
  uint64_t revision;             /* watch: 0 = initial state as ADDED, then SYNCED; else events after it */
} pintle_query;

typedef enum {
  PINTLE_CREATE = 1,
  PINTLE_UPDATE = 2,       /* full replacement; body carries metadata.resourceVersion or if_revision is set */
  PINTLE_MERGE_PATCH = 3,  /* RFC 7386 */
  PINTLE_JSON_PATCH = 4,   /* RFC 6902 */
  PINTLE_STRATEGIC_PATCH = 5,
  PINTLE_DELETE = 6        /* body: "" or DeleteOptions */
} pintle_verb;

typedef struct {
  uint32_t size;
  int32_t verb;             /* pintle_verb */
  pintle_key key;           /* CREATE: name may be "" with metadata.generateName in the body */
  pintle_bytes subresource; /* "", "status", "scale", or one that a plugin serves ("binding", "eviction") */
  pintle_bytes body;
  uint64_t if_revision; /* 0 = do not compare */
  pintle_bytes if_uid;  /* "" = do not compare */
} pintle_op;

/* The decision holds only while `slot` is at `epoch`. The kernel adds the fences of the calling
 * instance itself; these are further ones (e.g. the scheduler that decided). */
typedef struct {
  pintle_bytes slot;
  uint64_t epoch;
} pintle_fence;

typedef struct {
  uint32_t size;
  int32_t code;          /* pintle_code of this op */
  pintle_object* object; /* borrowed; the object after the op (DELETE: the last state); 0 on failure */
  pintle_bytes text;     /* message when code != OK */
  pintle_bytes status;   /* Status JSON when code != OK */
} pintle_result;
/* Runs exactly once. code = OK when every op succeeded (atomic) or was tried (independent). [worker] */
typedef void (*pintle_commit_fn)(void* ctx, pintle_code code, const pintle_result* results, size_t n);

enum {
  PINTLE_COMMIT_ATOMIC = 0,      /* all or nothing, one transaction */
  PINTLE_COMMIT_INDEPENDENT = 1, /* each op its own transaction, one group commit */
  PINTLE_COMMIT_DRY_RUN = 2
};

typedef struct pintle_watch pintle_watch;
/* `pintle.store` is the API in-process, with the plugin's identity: the same pipeline as REST. */
#define PINTLE_STORE PINTLE_DRAFT "store/1"
typedef struct {
  uint32_t size; /* every function [any] */
  /* OK: *object is retained for the caller. */
  pintle_code (*get)(const pintle_host*, const pintle_key*, pintle_object** object, pintle_error*);
  /* Calls `each` inline for every object, in key order, from one snapshot. *revision is the list's. */
  pintle_code (*list)(const pintle_host*, const pintle_query*, void (*each)(void* ctx, pintle_object*),
                      void* ctx, uint64_t* revision, pintle_buf* continue_token, pintle_error*);
  pintle_code (*watch)(const pintle_host*, const pintle_query*, pintle_event_fn, void* ctx,
                       pintle_watch** out, pintle_error*);
  /* Returns after the last event callback has returned (except when called from inside it). */
  void (*unwatch)(const pintle_host*, pintle_watch*);
  void (*commit)(const pintle_host*, const pintle_op* ops, size_t n_ops, const pintle_fence* fences,
                 size_t n_fences, uint32_t flags, pintle_commit_fn, void* ctx);
} pintle_store_api;

typedef struct pintle_timer pintle_timer;
typedef struct pintle_thread pintle_thread;
#define PINTLE_EXEC PINTLE_DRAFT "exec/1"
typedef struct {
  uint32_t size; /* [any] */
  /* Runs `fn` on a host thread. Every post runs unless the instance is destroyed first;
   * `stop` must therefore leave nothing behind that a late task would touch unguarded. */
  void (*post)(const pintle_host*, pintle_task_fn, void* ctx);
  /* For work that may block for long (files, subprocesses): another pool. In simulation: as post. */
  void (*post_blocking)(const pintle_host*, pintle_task_fn, void* ctx);
  pintle_timer* (*after)(const pintle_host*, uint64_t delay_ns, pintle_task_fn, void* ctx);
  /* true: `fn` will not run. false: it ran or is running; with wait=true returns after it has
   * returned. Frees the timer in every case; call it exactly once per after(). */
  bool (*cancel)(const pintle_host*, pintle_timer*, bool wait);
} pintle_exec_api;

#define PINTLE_CLOCK PINTLE_DRAFT "clock/1"
typedef struct {
  uint32_t size;                             /* [any] */
  uint64_t (*now)(const pintle_host*);       /* CLOCK_BOOTTIME */
  int64_t (*wall)(const pintle_host*);       /* ns since 1970 UTC; for people and timestamps only */
} pintle_clock_api;

#define PINTLE_RANDOM PINTLE_DRAFT "random/1"
typedef struct {
  uint32_t size;                                                  /* [any] */
  void (*fill)(const pintle_host*, void* out, size_t len);        /* seeded in simulation */
} pintle_random_api;

/* How the instance fares, beside running: the condition Ready of its Plugin object. An instance that never reports counts as ready. */
#define PINTLE_HEALTH PINTLE_DRAFT "health/1"
enum {
  PINTLE_HEALTH_READY = 0,
  PINTLE_HEALTH_STARTING = 1, /* it owes the cluster something before that can be used: /readyz waits. From start() or activate() */
  PINTLE_HEALTH_DEGRADED = 2  /* it runs and cannot do its work now; the cluster serves on */
};
typedef struct {
  uint32_t size; /* [any] */
  /* Replaces the report before. `message`: what is missing and what to do; for READY it may be empty. */
  void (*report)(const pintle_host*, int state, pintle_bytes message);
} pintle_health_api;

#define PINTLE_METRICS PINTLE_DRAFT "metrics/1"
typedef struct pintle_metric pintle_metric;
enum { PINTLE_COUNTER = 1, PINTLE_GAUGE = 2, PINTLE_HISTOGRAM = 3 };
typedef struct {
  uint32_t size; /* [any] */
  /* Same name and labels = same metric. `labels` is a JSON object. Histogram: seconds. */
  pintle_metric* (*metric)(const pintle_host*, int type, pintle_bytes name, pintle_bytes help,
                           pintle_bytes labels);
  void (*add)(pintle_metric*, double value);
  void (*set)(pintle_metric*, double value);
} pintle_metrics_api;

/* Reaching another plugin: by slot, never by pointer. */
typedef struct pintle_invocation pintle_invocation;
/* part: partial answers (may be called many times); done: exactly once. Both [worker], in order. */
typedef bool (*pintle_part_fn)(void* ctx, pintle_bytes part); /* false = not taken: it is offered again after resume() */
typedef void (*pintle_done_fn)(void* ctx, pintle_code, const pintle_error*, pintle_bytes reply,
                               const int* fds, size_t n_fds); /* fds now belong to the receiver */
#define PINTLE_PEER PINTLE_DRAFT "peer/1"
typedef struct {
  uint32_t size; /* [any] */
  /* `interface_id` and `method` (0-based index in the interface's struct, after `size`) of whoever
   * holds `slot` now. `fds` are taken over by the host. deadline = instant, 0 = host default (60 s),
   * UINT64_MAX = none. The caller's epoch travels along; a deposed caller gets DEPOSED. */
  pintle_invocation* (*invoke)(const pintle_host*, pintle_bytes slot, const char* interface_id,
                               uint32_t method, pintle_bytes request, const int* fds, size_t n_fds,
                               uint64_t deadline, pintle_part_fn, pintle_done_fn, void* ctx);
  void (*resume)(const pintle_host*, pintle_invocation*);
  void (*cancel)(const pintle_host*, pintle_invocation*); /* done still runs, with CANCELLED */
  /* Epoch of the slot's present holder; 0 = nobody holds it. */
  uint64_t (*epoch)(const pintle_host*, pintle_bytes slot);
} pintle_peer_api;

/* Descriptors on the host's event loop. Sockets are made by the host so that a simulation can
 * stand in for the network; reading and writing them is the plugin's own business. */
enum { PINTLE_READABLE = 1, PINTLE_WRITABLE = 2, PINTLE_HANGUP = 4 };
typedef struct pintle_fdwatch pintle_fdwatch;
typedef void (*pintle_fd_fn)(void* ctx, uint32_t events); /* [worker], one at a time per fdwatch */
#define PINTLE_NET PINTLE_DRAFT "net/1"
typedef struct {
  uint32_t size; /* [any] */
  /* "unix:/path", "tcp:1.2.3.4:80", "udp:1.2.3.4:53", "tcp:[::1]:80": a non-blocking, close-on-exec
   * socket (connecting: wait for WRITABLE, then read SO_ERROR). < 0 = failed, see error. */
  int (*connect)(const pintle_host*, pintle_bytes address, pintle_error*);
  int (*listen)(const pintle_host*, pintle_bytes address, pintle_error*);
  /* One shot: after each callback, arm again. */
  pintle_fdwatch* (*watch)(const pintle_host*, int fd, pintle_fd_fn, void* ctx);
  void (*arm)(pintle_fdwatch*, uint32_t events);
  /* Returns after the last callback (except from inside it). Does not close the descriptor. */
  void (*unwatch)(pintle_fdwatch*);
} pintle_net_api;

/* ---------------------------------------------------------------- what a plugin gives -- */

typedef struct {
  uint32_t size;
  void* self;
  /* Warms up: read, list, connect. No effect outside the process. [control] */
  pintle_code (*start)(void* self, pintle_error*);
  /* From here on the instance may act for `slot` (one call per slot it holds). [control] */
  pintle_code (*activate)(void* self, pintle_bytes slot, uint64_t epoch, pintle_error*);
  /* Refuse new work for all slots, finish or hand back what is in hand, then complete. [control] */
  void (*drain)(void* self, pintle_call*);
  /* On return: no timer, watch, fdwatch, invocation or thread of this instance is left. [control] */
  void (*stop)(void* self);
  void (*destroy)(void* self); /* [control] */
  /* Table of an extension point, or 0. Constant for the life of the instance. [any] */
  const void* (*get)(void* self, const char* interface_id);
  /* New configuration while running; 0 = the kernel replaces the instance instead. [control] */
  pintle_code (*reconfigure)(void* self, pintle_bytes config, pintle_error*);
} pintle_plugin;

typedef struct {
  uint32_t size, abi_major, abi_minor;
  const char* manifest; /* the JSON that is also in the ELF note */
  /* Pure: no host, no I/O. Beyond what the manifest's schema can say. May be 0. */
  pintle_code (*validate)(pintle_bytes config, pintle_error*);
  pintle_code (*create)(const pintle_host*, pintle_bytes config, const pintle_plugin** out, pintle_error*);
} pintle_entry;

/* The only symbol a plugin exports. */
extern PINTLE_EXPORT const pintle_entry pintle_plugin_entry;

/* ELF note: section ".note.pintle", name "Pintle", type 1, descriptor = the manifest's JSON. */
#define PINTLE_NOTE_NAME "Pintle"
#define PINTLE_NOTE_TYPE 1u

#ifdef __cplusplus
}
#endif
#endif

// What stands behind the host services of one plugin instance: the kernel itself, or a wire to it.
//
// host_services.cc turns these into the C tables of abi.h. In pintled the implementation is KernelBackend (pipeline, bus,
// slots); in pintle-host another one sends frames or REST requests. Everything that must be counted
// or fenced per instance is done by the layer above and by the kernel, never here twice.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/run/executor.h"
#include "kernel/store/store.h"
#include "pintle/abi.h"
#include "pintle/result.h"

namespace pintle::kernel {

struct Reply {
  std::string body;
  std::vector<int> fds;  // belong to the receiver
};

// One method call on an instance or on the holder of a slot.
struct Invoke {
  std::string interface_id;  // "pintle.draft.runtime/1"
  uint32_t method = 0;       // index in the interface's struct, after `size`
  std::string request;       // JSON
  std::vector<int> fds;      // taken over by the callee, also when the call fails
  uint64_t deadline = 0;     // instant (Executor::now); 0 = none
  // Partial answers, in order, before `done`, one at a time. false: not taken; it is
  // offered again after OpenCall::resume(). May be null.
  std::function<bool(std::string_view)> part;
  std::function<void(Result<Reply>)> done;  // exactly once, on the executor, after the last part
};

// A call in flight. Threads: any. Outliving the call is harmless; dropping it does not cancel.
class OpenCall {
 public:
  virtual ~OpenCall() = default;
  virtual void cancel() = 0;  // `done` runs with CANCELLED unless the answer is already on its way
  virtual void resume() = 0;  // after `part` said false
};

struct WatchEvent {
  pintle_event_type type = PINTLE_EVENT_ADDED;
  ObjectRef object, previous;
  Revision revision = 0;
  pintle_code code = PINTLE_OK;  // CLOSED
};

// Pull side of a watch: natural flow control on both sides of a wire. Destroying it ends the watch; `wake`
// is not called afterwards.
class WatchFeed {
 public:
  virtual ~WatchFeed() = default;
  virtual std::vector<WatchEvent> take(size_t max) = 0;  // empty: wait for wake
};

struct StoreQuery {
  std::string kind, ns, label_selector, field_selector, continue_token;
  uint32_t limit = 0;
  Revision revision = 0;
};

struct StoreOp {
  pintle_verb verb = PINTLE_CREATE;
  Key key;
  std::string subresource, body;
  Revision if_revision = 0;
  std::string if_uid;
};

struct StoreOpResult {
  Error error;  // code OK: done
  ObjectRef object;
  StoreOpResult() { error.code = PINTLE_OK; }
};

struct Listed {
  std::vector<ObjectRef> objects;
  Revision revision = 0;
  std::string continue_token;
};

// Threads: any. Functions without a callback may block only in pintle-host.
class HostBackend {
 public:
  virtual ~HostBackend() = default;
  virtual Executor& executor() = 0;

  virtual void log(int level, std::string_view text, std::string_view fields) = 0;
  virtual int log_level() const = 0;
  virtual void report(int health, std::string_view message) = 0;  // PINTLE_HEALTH_*

  virtual Result<ObjectRef> get(const Key& key) = 0;
  virtual Result<Listed> list(const StoreQuery& query) = 0;
  virtual Result<std::unique_ptr<WatchFeed>> watch(const StoreQuery& query, std::function<void()> wake) = 0;
  // `done` runs exactly once on the executor.
  virtual void commit(std::vector<StoreOp> ops, std::vector<FenceCheck> fences, uint32_t flags,
                      std::function<void(pintle_code, std::vector<StoreOpResult>)> done) = 0;

  virtual std::shared_ptr<OpenCall> invoke(const std::string& slot, Invoke call) = 0;
  virtual uint64_t epoch(const std::string& slot) = 0;

  // The instance got a slot (activate is about to be called): its commits and calls carry this fence from now on.
  virtual void hold(const std::string& slot, uint64_t epoch) = 0;
};

}  // namespace pintle::kernel

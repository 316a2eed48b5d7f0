// What the host gives to a plugin, in C++: objects, store, timers, sockets, peers, clock, log.
//
// A plugin never blocks, sleeps, reads a clock, draws randomness or makes a thread except through these.
// Threads: every member function may be called from any thread unless it says otherwise. Callbacks run on host threads.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pintle/result.h"

namespace pintle {

namespace internal {

// The request that a method of this thread is working on. When the method throws, its Call is left to the exception wall,
// which knows the reason, instead of being answered as dropped. A pointer only: no thread-local destructor.
struct CurrentCall {
  pintle_call* call;
  bool thrown_away = false;
};
inline thread_local CurrentCall* current_call = nullptr;

// Exceptions end here: a callback has nobody to throw to.
template <class F>
void contained(const pintle_host* host, F&& fn) noexcept {
  const char* what = nullptr;
  std::string text;
  try {
    fn();
    return;
  } catch (const Error& e) {
    try {
      text = e.text;
    } catch (...) {
    }
    what = text.c_str();
  } catch (const std::exception& e) {
    try {
      text = e.what();
    } catch (...) {
    }
    what = text.c_str();
  } catch (...) {
    what = "not derived from std::exception";
  }
  if (!host) return;
  const auto* log = static_cast<const pintle_log_api*>(host->get(host, PINTLE_LOG));
  if (!log) return;
  char line[600];
  const int n = std::snprintf(line, sizeof line, "a callback threw: %s", what);
  log->write(host, PINTLE_LOG_ERROR, {line, n < 0 ? 0 : std::min(sizeof line - 1, static_cast<size_t>(n))}, {"", 0});
}

// Functions that the host is to call later, by number. It forgets those of a call that has been completed without a word, and may be about to call
// one at that moment: so it gets a number, and what the number stands for is freed here. Threads: any.
class Pending {
 public:
  static void* add(std::function<void()> fn, const pintle_host* host) {
    Table& t = table();
    std::lock_guard lock(t.mutex);
    t.entries.emplace(++t.last, Entry{std::move(fn), host});
    return reinterpret_cast<void*>(t.last);  // NOLINT(performance-no-int-to-ptr): never followed
  }
  static void run(void* number) {
    Entry entry;
    if (take(number, entry)) contained(entry.host, entry.fn);
  }
  static void drop(void* number) {
    Entry entry;  // destroyed outside the lock: what it holds may come here again
    if (number) take(number, entry);
  }

 private:
  struct Entry {
    std::function<void()> fn;
    const pintle_host* host = nullptr;
  };
  struct Table {
    std::mutex mutex;
    std::unordered_map<uintptr_t, Entry> entries;
    uintptr_t last = 0;
  };
  static Table& table() {
    static Table t;
    return t;
  }
  static bool take(void* number, Entry& out) {
    Table& t = table();
    std::lock_guard lock(t.mutex);
    const auto at = t.entries.find(reinterpret_cast<uintptr_t>(number));
    if (at == t.entries.end()) return false;
    out = std::move(at->second);
    t.entries.erase(at);
    return true;
  }
};

}  // namespace internal

// One answer owed. Dropping it unanswered answers INTERNAL, so that no path can leak a request and block an unload.
// Move it to answer later. Threads: one at a time; answering from any thread.
class Call {
 public:
  Call() = default;
  Call(const pintle_call_api* api, pintle_call* raw, const pintle_host* host = nullptr) : api_(api), raw_(raw), host_(host) {}
  Call(Call&& o) noexcept
      : api_(o.api_), raw_(std::exchange(o.raw_, nullptr)), host_(o.host_), cancel_(std::exchange(o.cancel_, nullptr)), ready_(std::exchange(o.ready_, nullptr)) {}
  Call& operator=(Call&& o) noexcept {
    if (this != &o) {
      if (raw_) fail(PINTLE_INTERNAL, "the plugin dropped the request without an answer");
      api_ = o.api_;
      raw_ = std::exchange(o.raw_, nullptr);
      host_ = o.host_;
      cancel_ = std::exchange(o.cancel_, nullptr);
      ready_ = std::exchange(o.ready_, nullptr);
    }
    return *this;
  }
  Call(const Call&) = delete;
  ~Call() {
    if (!raw_) return;
    internal::CurrentCall* current = internal::current_call;
    if (current && current->call == raw_ && std::uncaught_exceptions() > 0) {
      current->thrown_away = true;
      internal::Pending::drop(cancel_);
      internal::Pending::drop(ready_);
      return;
    }
    fail(PINTLE_INTERNAL, "the plugin dropped the request without an answer");
  }
  explicit operator bool() const { return raw_ != nullptr; }  // an answer is still owed

  void reply(std::string json) {
    complete(PINTLE_OK, nullptr, owned(std::move(json)));
  }
  void reply(const json::Value& v) { reply(v.dump()); }
  void reply() { complete(PINTLE_OK, nullptr, pintle_buf{"{}", 2, nullptr, nullptr}); }
  void fail(pintle_code code, std::string_view text) { fail(Error(code, std::string(text))); }
  void fail(const Error& error) {
    pintle_error e{};
    e.size = sizeof e;
    error.to_c(&e);
    complete(error.code == PINTLE_OK ? PINTLE_INTERNAL : error.code, &e, {});
  }
  // Partial answer. false: no room; nothing was taken, on_ready's function runs once there is.
  bool emit(std::string& part) {
    auto* p = new std::string(std::move(part));
    if (api_->emit(raw_, {p->data(), p->size(), [](void* o, const char*, size_t) { delete static_cast<std::string*>(o); }, p}))
      return true;
    part = std::move(*p);
    delete p;
    return false;
  }
  void on_ready(std::function<void()> fn) {
    internal::Pending::drop(std::exchange(ready_, internal::Pending::add(std::move(fn), host_)));
    api_->on_ready(raw_, internal::Pending::run, ready_);  // may run at once and destroy this
  }
  // At most once, when the caller gives up; keep the Call until then or complete it first. The function
  // is freed when it ran or when the call is completed.
  void on_cancel(std::function<void()> fn) {
    internal::Pending::drop(std::exchange(cancel_, internal::Pending::add(std::move(fn), host_)));
    api_->on_cancel(raw_, internal::Pending::run, cancel_);  // may run at once and destroy this
  }
  bool cancelled() const { return api_->cancelled(raw_); }
  uint64_t deadline() const { return api_->deadline(raw_); }
  int take_fd(uint32_t index) { return api_->take_fd(raw_, index); }
  void give_fd(int fd) { api_->give_fd(raw_, fd); }

 private:
  // Afterwards nothing here may touch `this`: what waited may have held the last reference to it.
  void complete(pintle_code code, const pintle_error* error, pintle_buf body) {
    void* const cancel = std::exchange(cancel_, nullptr);
    void* const ready = std::exchange(ready_, nullptr);
    api_->complete(std::exchange(raw_, nullptr), code, error, body);
    internal::Pending::drop(cancel);
    internal::Pending::drop(ready);
  }
  const pintle_call_api* api_ = nullptr;
  pintle_call* raw_ = nullptr;
  const pintle_host* host_ = nullptr;
  void *cancel_ = nullptr, *ready_ = nullptr;  // numbers of Pending
};

// A stored object: immutable canonical JSON, shared by reference. Copying is cheap.
class Object {
 public:
  Object() = default;
  // Takes over one reference.
  Object(const pintle_object_api* api, pintle_object* raw) : api_(api), raw_(raw) {}
  static Object borrow(const pintle_object_api* api, pintle_object* raw) {
    if (raw) api->retain(raw);
    return Object(api, raw);
  }
  Object(const Object& o) : api_(o.api_), raw_(o.raw_) {
    if (raw_) api_->retain(raw_);
  }
  Object(Object&& o) noexcept : api_(o.api_), raw_(std::exchange(o.raw_, nullptr)) {}
  Object& operator=(Object o) noexcept {
    std::swap(api_, o.api_);
    std::swap(raw_, o.raw_);
    return *this;
  }
  ~Object() {
    if (raw_) api_->release(raw_);
  }
  explicit operator bool() const { return raw_ != nullptr; }
  std::string_view raw() const { return raw_ ? view(api_->raw(raw_)) : std::string_view(); }
  uint64_t revision() const { return raw_ ? api_->revision(raw_) : 0; }
  // "pods", "deployments.apps"; "" from a host that is too old to say.
  std::string_view kind() const {
    return raw_ && api_->size > offsetof(pintle_object_api, kind) ? view(api_->kind(raw_)) : std::string_view();
  }
  // JSON text of a field by a path id from Host::path, "" when absent. No parse of the whole object.
  std::string_view field(uint32_t path) const { return raw_ ? view(api_->field(raw_, path)) : std::string_view(); }
  // As field(), for strings without escapes (names, uids, phases): the text between the quotes.
  std::string_view text(uint32_t path) const {
    std::string_view f = field(path);
    return f.size() >= 2 && f.front() == '"' ? f.substr(1, f.size() - 2) : std::string_view();
  }
  json::Value json() const { return json::parse_or_null(raw()); }
  pintle_object* get() const { return raw_; }

 private:
  const pintle_object_api* api_ = nullptr;
  pintle_object* raw_ = nullptr;
};

struct Query {
  std::string kind = {};  // "pods", "deployments.apps"
  std::string ns = {};    // "" = all
  std::string label_selector = {}, field_selector = {};
  uint32_t limit = 0;
  std::string continue_token = {};
  uint64_t revision = 0;  // watch: 0 = initial state, then SYNCED
};

struct ListResult {
  std::vector<Object> objects;
  uint64_t revision = 0;
  std::string continue_token;
};

struct Event {
  pintle_event_type type;
  Object object;    // DELETED: the last state
  Object previous;  // may be empty
  uint64_t revision;
  pintle_code code;  // CLOSED only
};

struct Op {
  pintle_verb verb = PINTLE_CREATE;
  std::string kind = {}, ns = {}, name = {}, subresource = {};
  std::string body = {};  // JSON
  uint64_t if_revision = 0;
  std::string if_uid = {};

  static Op create(std::string kind, std::string ns, const json::Value& object) {
    return {PINTLE_CREATE, std::move(kind), std::move(ns), std::string(object.at("metadata.name").as_string()), {}, object.dump(), 0, {}};
  }
  static Op update(std::string kind, std::string ns, std::string name, const json::Value& object, std::string sub = {}) {
    return {PINTLE_UPDATE, std::move(kind), std::move(ns), std::move(name), std::move(sub), object.dump(), 0, {}};
  }
  static Op merge(std::string kind, std::string ns, std::string name, const json::Value& patch, std::string sub = {}) {
    return {PINTLE_MERGE_PATCH, std::move(kind), std::move(ns), std::move(name), std::move(sub), patch.dump(), 0, {}};
  }
  static Op remove(std::string kind, std::string ns, std::string name, std::string uid = {},
                   const json::Value& options = {}) {
    return {PINTLE_DELETE, std::move(kind), std::move(ns), std::move(name), {}, options.is_null() ? std::string() : options.dump(), 0, std::move(uid)};
  }
};

struct OpResult {
  pintle_code code;
  Object object;
  std::string text;
  json::Value status;
};

struct CommitResult {
  pintle_code code;  // of the transaction; independent: OK when all were tried
  std::vector<OpResult> ops;
  bool ok() const {
    if (code != PINTLE_OK) return false;
    for (const auto& o : ops)
      if (o.code != PINTLE_OK) return false;
    return true;
  }
  // The first op that failed, or nullptr.
  const OpResult* failed() const {
    for (const auto& o : ops)
      if (o.code != PINTLE_OK) return &o;
    return nullptr;
  }
};

struct Fence {
  std::string slot;
  uint64_t epoch;
};

class Host;

// Ends with the object (or by reset()); afterwards its callback does not run any more. Move-only.
class Watch {
 public:
  Watch() = default;
  Watch(Watch&&) noexcept = default;
  Watch& operator=(Watch&&) noexcept = default;
  void reset() { state_.reset(); }
  explicit operator bool() const { return state_ != nullptr; }

 private:
  friend class Host;
  struct State {
    const pintle_host* host;
    const pintle_store_api* api;
    const pintle_object_api* objects;
    pintle_watch* raw = nullptr;
    std::shared_ptr<std::function<void(const Event&)>> fn;  // shared: it may end its own watch
    ~State() {
      if (raw) api->unwatch(host, raw);
    }
  };
  std::unique_ptr<State> state_;
};

// Runs its function once after the delay unless cancelled or destroyed before. Move-only. Destroying it from its own
// function is allowed; destroying it elsewhere waits for a function that is running.
class Timer {
 public:
  Timer() = default;
  Timer(Timer&&) noexcept = default;
  Timer& operator=(Timer&&) noexcept = default;
  void reset() { state_.reset(); }
  explicit operator bool() const { return state_ && !state_->done->load(); }  // still to run

 private:
  friend class Host;
  struct State {
    const pintle_host* host;
    const pintle_exec_api* api;
    pintle_timer* raw = nullptr;
    std::shared_ptr<std::atomic<bool>> done = std::make_shared<std::atomic<bool>>(false);
    std::shared_ptr<std::function<void()>> fn;
    std::shared_ptr<std::function<void()>>* ctx = nullptr;  // owned by the pending task
    ~State() {
      if (raw && api->cancel(host, raw, true)) delete ctx;
    }
  };
  std::unique_ptr<State> state_;
};

// A descriptor on the host's loop. One shot: arm() again after each callback. Owns the descriptor when asked to.
class FdWatch {
 public:
  FdWatch() = default;
  FdWatch(FdWatch&&) noexcept = default;
  FdWatch& operator=(FdWatch&&) noexcept = default;
  void arm(uint32_t events) { state_->api->arm(state_->raw, events); }
  void reset() { state_.reset(); }
  explicit operator bool() const { return state_ != nullptr; }

 private:
  friend class Host;
  struct State {
    const pintle_host* host;
    const pintle_net_api* api;
    pintle_fdwatch* raw = nullptr;
    std::shared_ptr<std::function<void(uint32_t)>> fn;  // shared: it may end its own watch
    ~State() {
      if (raw) api->unwatch(raw);
    }
  };
  std::unique_ptr<State> state_;
};

// A call to whoever holds a slot. Destroying it does not cancel; cancel() does, and `done` then runs with CANCELLED.
class Invocation {
 public:
  Invocation() = default;
  void cancel() {
    if (auto s = state_.lock()) s->cancel();
  }
  void resume() {
    if (auto s = state_.lock()) s->resume();
  }

 private:
  friend class Host;
  struct State {
    const pintle_host* host;
    const pintle_peer_api* api;
    std::mutex mutex;
    pintle_invocation* raw = nullptr;
    bool finished = false, want_cancel = false;
    std::function<bool(std::string_view)> part;
    std::function<void(Result<std::string>, std::vector<int>)> done;
    // invoke() may complete before it returns, and cancel may come before it returns: both are sorted out here.
    void cancel() {
      pintle_invocation* r = nullptr;
      {
        std::lock_guard lock(mutex);
        if (finished) return;
        want_cancel = true;
        r = raw;
      }
      if (r) api->cancel(host, r);
    }
    void resume() {
      pintle_invocation* r = nullptr;
      {
        std::lock_guard lock(mutex);
        if (finished) return;
        r = raw;
      }
      if (r) api->resume(host, r);
    }
  };
  std::weak_ptr<State> state_;
};

class Metric {
 public:
  Metric() = default;
  Metric(const pintle_metrics_api* api, pintle_metric* raw) : api_(api), raw_(raw) {}
  void add(double v = 1) const {
    if (raw_) api_->add(raw_, v);
  }
  void set(double v) const {
    if (raw_) api_->set(raw_, v);
  }

 private:
  const pintle_metrics_api* api_ = nullptr;
  pintle_metric* raw_ = nullptr;
};

// Handle to all host services of one instance. Copyable; valid until the instance is destroyed.
class Host {
 public:
  explicit Host(const pintle_host* raw)
      : raw_(raw),
        call_(get<pintle_call_api>(PINTLE_CALL)),
        log_(get<pintle_log_api>(PINTLE_LOG)),
        object_(get<pintle_object_api>(PINTLE_OBJECT)),
        store_(get<pintle_store_api>(PINTLE_STORE)),
        exec_(get<pintle_exec_api>(PINTLE_EXEC)),
        clock_(get<pintle_clock_api>(PINTLE_CLOCK)),
        random_(get<pintle_random_api>(PINTLE_RANDOM)),
        peer_(get<pintle_peer_api>(PINTLE_PEER)),
        net_(get<pintle_net_api>(PINTLE_NET)),
        metrics_(get<pintle_metrics_api>(PINTLE_METRICS)),
        health_(get<pintle_health_api>(PINTLE_HEALTH)) {}

  template <class T>
  const T* get(const char* id) const {
    return static_cast<const T*>(raw_->get(raw_, id));
  }
  const pintle_host* raw() const { return raw_; }
  const pintle_call_api* call_api() const { return call_; }
  const pintle_object_api* object_api() const { return object_; }

  // ---- log. Never a secret.
  void log(int level, std::string_view text, const json::Value& fields = {}) const {
    if (!log_ || level < log_->level(raw_)) return;
    const std::string f = fields.is_null() ? std::string() : fields.dump();
    log_->write(raw_, level, bytes(text), bytes(f));
  }
  void debug(std::string_view t, const json::Value& f = {}) const { log(PINTLE_LOG_DEBUG, t, f); }
  void info(std::string_view t, const json::Value& f = {}) const { log(PINTLE_LOG_INFO, t, f); }
  void warn(std::string_view t, const json::Value& f = {}) const { log(PINTLE_LOG_WARN, t, f); }
  void error(std::string_view t, const json::Value& f = {}) const { log(PINTLE_LOG_ERROR, t, f); }

  // ---- time and randomness
  uint64_t now() const { return clock_->now(raw_); }   // ns, CLOCK_BOOTTIME
  int64_t wall() const { return clock_->wall(raw_); }  // ns since 1970
  uint64_t random() const {
    uint64_t r = 0;
    random_->fill(raw_, &r, sizeof r);
    return r;
  }

  // ---- execution
  void post(std::function<void()> fn) const { exec_->post(raw_, run_once, new Posted{std::move(fn), raw_}); }
  void post_blocking(std::function<void()> fn) const {
    exec_->post_blocking(raw_, run_once, new Posted{std::move(fn), raw_});
  }
  [[nodiscard]] Timer after(uint64_t delay_ns, std::function<void()> fn) const {
    Timer t;
    t.state_ = std::make_unique<Timer::State>();
    t.state_->host = raw_;
    t.state_->api = exec_;
    auto done = t.state_->done;
    auto shared = std::make_shared<std::function<void()>>([done, host = raw_, fn = std::move(fn)] {
      done->store(true);
      internal::contained(host, fn);
    });
    t.state_->ctx = new std::shared_ptr<std::function<void()>>(shared);
    t.state_->raw = exec_->after(raw_, delay_ns, run_timer, t.state_->ctx);
    return t;
  }

  // ---- objects
  uint32_t path(std::string_view dotted) const { return object_->path(raw_, bytes(dotted)); }

  // ---- store: the API with this plugin's identity
  Result<Object> get_object(std::string_view kind, std::string_view ns, std::string_view name) const {
    const pintle_key key{bytes(kind), bytes(ns), bytes(name)};
    pintle_object* o = nullptr;
    pintle_error e{};
    e.size = sizeof e;
    const pintle_code c = store_->get(raw_, &key, &o, &e);
    if (c != PINTLE_OK) return Error::from_c(c, &e);
    return Object(object_, o);
  }
  Result<ListResult> list(const Query& q) const {
    struct Ctx {
      ListResult result;
      const pintle_object_api* api;
    } ctx{{}, object_};
    const pintle_query cq = c_query(q);
    pintle_buf token{};
    pintle_error e{};
    e.size = sizeof e;
    const pintle_code c = store_->list(
        raw_, &cq,
        [](void* p, pintle_object* o) {
          auto* x = static_cast<Ctx*>(p);
          x->result.objects.push_back(Object::borrow(x->api, o));
        },
        &ctx, &ctx.result.revision, &token, &e);
    if (c != PINTLE_OK) return Error::from_c(c, &e);
    if (token.len) ctx.result.continue_token.assign(token.ptr, token.len);
    if (token.release) token.release(token.owner, token.ptr, token.len);
    return std::move(ctx.result);
  }
  // Events come one at a time, in order. After CLOSED nothing comes any more: watch again (with revision 0 after EXPIRED).
  Result<Watch> watch(const Query& q, std::function<void(const Event&)> fn) const {
    Watch w;
    w.state_ = std::make_unique<Watch::State>();
    w.state_->host = raw_;
    w.state_->api = store_;
    w.state_->objects = object_;
    w.state_->fn = std::make_shared<std::function<void(const Event&)>>(std::move(fn));
    const pintle_query cq = c_query(q);
    pintle_error e{};
    e.size = sizeof e;
    const pintle_code c = store_->watch(
        raw_, &cq,
        [](void* p, const pintle_event* ev) {
          auto* s = static_cast<Watch::State*>(p);
          internal::contained(s->host, [objects = s->objects, fn = s->fn, ev] {
            (*fn)(Event{static_cast<pintle_event_type>(ev->type), Object::borrow(objects, ev->object),
                        Object::borrow(objects, ev->previous), ev->revision, static_cast<pintle_code>(ev->code)});
          });
        },
        w.state_.get(), &w.state_->raw, &e);
    if (c != PINTLE_OK) return Error::from_c(c, &e);
    return w;
  }
  // All or nothing (default), or PINTLE_COMMIT_INDEPENDENT. `done` runs exactly once.
  void commit(const std::vector<Op>& ops, std::function<void(CommitResult)> done, uint32_t flags = PINTLE_COMMIT_ATOMIC,
              const std::vector<Fence>& fences = {}) const {
    std::vector<pintle_op> c_ops;
    c_ops.reserve(ops.size());
    for (const auto& o : ops)
      c_ops.push_back({sizeof(pintle_op), o.verb, {bytes(o.kind), bytes(o.ns), bytes(o.name)}, bytes(o.subresource),
                       bytes(o.body), o.if_revision, bytes(o.if_uid)});
    std::vector<pintle_fence> c_fences;
    c_fences.reserve(fences.size());
    for (const auto& f : fences) c_fences.push_back({bytes(f.slot), f.epoch});
    struct Ctx {
      std::function<void(CommitResult)> done;
      const pintle_object_api* api;
      const pintle_host* host;
    };
    store_->commit(
        raw_, c_ops.data(), c_ops.size(), c_fences.data(), c_fences.size(), flags,
        [](void* p, pintle_code code, const pintle_result* r, size_t n) {
          std::unique_ptr<Ctx> ctx(static_cast<Ctx*>(p));
          CommitResult out{code, {}};
          out.ops.reserve(n);
          for (size_t i = 0; i < n; ++i)
            out.ops.push_back({static_cast<pintle_code>(r[i].code), Object::borrow(ctx->api, r[i].object),
                               std::string(view(r[i].text)),
                               r[i].status.len ? json::parse_or_null(view(r[i].status)) : json::Value()});
          if (ctx->done) internal::contained(ctx->host, [&] { ctx->done(std::move(out)); });
        },
        new Ctx{std::move(done), object_, raw_});
  }

  // ---- peers. `method` = PINTLE_METHOD(pintle_runtime, create)
  Invocation invoke(std::string_view slot, const char* interface_id, uint32_t method, const json::Value& request,
                    std::function<void(Result<std::string>, std::vector<int>)> done,
                    std::function<bool(std::string_view)> part = {}, const std::vector<int>& fds = {},
                    uint64_t deadline = 0) const {
    auto state = std::make_shared<Invocation::State>();
    state->host = raw_;
    state->api = peer_;
    state->done = std::move(done);
    state->part = std::move(part);
    Invocation out;
    out.state_ = state;
    const std::string text = request.dump();
    auto* ctx = new std::shared_ptr<Invocation::State>(state);
    pintle_invocation* raw = peer_->invoke(
        raw_, bytes(slot), interface_id, method, bytes(text), fds.data(), fds.size(), deadline,
        [](void* p, pintle_bytes b) {
          auto& s = *static_cast<std::shared_ptr<Invocation::State>*>(p);
          bool taken = true;
          internal::contained(s->host, [&] { taken = s->part ? s->part(view(b)) : true; });
          return taken;
        },
        [](void* p, pintle_code code, const pintle_error* e, pintle_bytes reply, const int* f, size_t n) {
          std::unique_ptr<std::shared_ptr<Invocation::State>> own(static_cast<std::shared_ptr<Invocation::State>*>(p));
          auto s = *own;
          {
            std::lock_guard lock(s->mutex);
            s->finished = true;
          }
          std::vector<int> got(f, f + n);
          auto fn = std::move(s->done);
          s->part = nullptr;
          if (!fn) return;
          internal::contained(s->host, [&] {
            if (code == PINTLE_OK) fn(std::string(view(reply)), std::move(got));
            else fn(Error::from_c(code, e), std::move(got));
          });
        },
        ctx);
    bool cancel_now = false;
    {
      std::lock_guard lock(state->mutex);
      if (!state->finished) {
        state->raw = raw;
        cancel_now = state->want_cancel;
      }
    }
    if (cancel_now) peer_->cancel(raw_, raw);
    return out;
  }
  uint64_t epoch(std::string_view slot) const { return peer_->epoch(raw_, bytes(slot)); }

  // ---- network
  Result<int> connect(std::string_view address) const { return socket(net_->connect, address); }
  Result<int> listen(std::string_view address) const { return socket(net_->listen, address); }
  [[nodiscard]] FdWatch watch_fd(int fd, std::function<void(uint32_t)> fn) const {
    FdWatch w;
    w.state_ = std::make_unique<FdWatch::State>();
    w.state_->host = raw_;
    w.state_->api = net_;
    w.state_->fn = std::make_shared<std::function<void(uint32_t)>>(std::move(fn));
    w.state_->raw = net_->watch(
        raw_, fd, [](void* p, uint32_t ev) {
          auto* s = static_cast<FdWatch::State*>(p);
          internal::contained(s->host, [fn = s->fn, ev] { (*fn)(ev); });
        }, w.state_.get());
    return w;
  }

  // ---- health: PINTLE_HEALTH_READY, _STARTING (/readyz waits), _DEGRADED (the message says what is missing and what to do)
  void report(int health, std::string_view message = {}) const {
    if (health_) health_->report(raw_, health, bytes(message));
  }

  // ---- metrics
  Metric metric(int type, std::string_view name, std::string_view help, const json::Value& labels = {}) const {
    if (!metrics_) return {};
    const std::string l = labels.is_null() ? std::string() : labels.dump();
    return Metric(metrics_, metrics_->metric(raw_, type, bytes(name), bytes(help), bytes(l)));
  }

 private:
  struct Posted {
    std::function<void()> fn;
    const pintle_host* host;
  };
  static void run_once(void* p) {
    std::unique_ptr<Posted> posted(static_cast<Posted*>(p));
    internal::contained(posted->host, posted->fn);
  }
  static void run_timer(void* p) {
    std::unique_ptr<std::shared_ptr<std::function<void()>>> f(static_cast<std::shared_ptr<std::function<void()>>*>(p));
    (**f)();
  }
  static pintle_query c_query(const Query& q) {
    return {sizeof(pintle_query), bytes(q.kind), bytes(q.ns), bytes(q.label_selector), bytes(q.field_selector), q.limit,
            bytes(q.continue_token), q.revision};
  }
  Result<int> socket(int (*fn)(const pintle_host*, pintle_bytes, pintle_error*), std::string_view address) const {
    pintle_error e{};
    e.size = sizeof e;
    const int fd = fn(raw_, bytes(address), &e);
    if (fd < 0) return Error::from_c(static_cast<pintle_code>(e.code), &e);
    return fd;
  }

  const pintle_host* raw_;
  const pintle_call_api* call_;
  const pintle_log_api* log_;
  const pintle_object_api* object_;
  const pintle_store_api* store_;
  const pintle_exec_api* exec_;
  const pintle_clock_api* clock_;
  const pintle_random_api* random_;
  const pintle_peer_api* peer_;
  const pintle_net_api* net_;
  const pintle_metrics_api* metrics_;
  const pintle_health_api* health_;
};

#define PINTLE_METHOD(table, method) \
  static_cast<uint32_t>((offsetof(table, method) - offsetof(table, size) - sizeof(void*)) / sizeof(pintle_method))

// Runs tasks one at a time, in order, on host threads: state touched only from its strand needs no lock.
// Threads: any. Owner closes it in stop(); afterwards posted tasks are dropped and close() has waited for a running one
// (except when called from the strand itself).
class Strand {
 public:
  explicit Strand(const Host& host) : state_(std::make_shared<State>(host)) {}
  ~Strand() { close(); }
  Strand(const Strand&) = delete;
  void post(std::function<void()> fn) const { State::post(state_, std::move(fn)); }
  // A function that, called from anywhere, runs `fn` with its arguments copied on the strand.
  template <class F>
  auto wrap(F fn) const {
    return [state = state_, fn = std::make_shared<F>(std::move(fn))](auto&&... args) {
      State::post(state, [fn, tuple = std::make_shared<std::tuple<std::decay_t<decltype(args)>...>>(
                                  std::forward<decltype(args)>(args)...)] {
        std::apply([&](auto&... a) { (*fn)(std::move(a)...); }, *tuple);
      });
    };
  }
  void close() { State::close(state_); }

 private:
  struct State {
    explicit State(const Host& h) : host(h) {}
    Host host;
    std::mutex mutex;
    std::deque<std::function<void()>> queue;
    bool running = false, closed = false;
    std::atomic<const void*> runner{nullptr};
    std::mutex run_mutex;  // held while a task runs: close() waits on it

    static const void* self() {
      static thread_local char here;
      return &here;
    }
    static void post(const std::shared_ptr<State>& s, std::function<void()> fn) {
      std::lock_guard lock(s->mutex);
      if (s->closed) return;
      s->queue.push_back(std::move(fn));
      if (!s->running) {
        s->running = true;
        s->host.post([s] { run(s); });
      }
    }
    static void run(const std::shared_ptr<State>& s) {
      std::lock_guard in(s->run_mutex);
      s->runner = self();
      for (int i = 0; i < 64; ++i) {
        std::function<void()> fn;
        {
          std::lock_guard lock(s->mutex);
          if (s->closed || s->queue.empty()) {
            s->running = false;
            s->runner = nullptr;
            return;
          }
          fn = std::move(s->queue.front());
          s->queue.pop_front();
        }
        internal::contained(s->host.raw(), fn);
      }
      s->runner = nullptr;
      s->host.post([s] { run(s); });  // let others have the thread
    }
    static void close(const std::shared_ptr<State>& s) {
      std::deque<std::function<void()>> dropped;
      {
        std::lock_guard lock(s->mutex);
        s->closed = true;
        dropped.swap(s->queue);
      }
      if (s->runner.load() != self()) std::lock_guard wait(s->run_mutex);
    }
  };
  std::shared_ptr<State> state_;
};

}  // namespace pintle

#include "kernel/plugin/host_services.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <thread>

#include "kernel/base/log.h"
#include "kernel/plugin/fd_loop.h"
#include "kernel/plugin/metrics.h"
#include "kernel/plugin/object_view.h"
#include "kernel/plugin/sockets.h"

using pintle::kernel::CallScope;
using pintle::kernel::PluginHost;
using pintle::kernel::Traffic;

// What timers, watches and descriptor watches have in common: a function that runs one at a time, may be switched off for
// good, and whose owner can wait for a run that is on another thread.
struct Callable {
  std::mutex mutex;
  std::condition_variable changed;
  bool off = false, running = false;
  std::thread::id runner;

  // False: switched off. Otherwise leave() must follow.
  bool enter() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return !running || off; });
    if (off) return false;
    running = true;
    runner = std::this_thread::get_id();
    return true;
  }
  void leave() {
    {
      std::lock_guard lock(mutex);
      running = false;
    }
    changed.notify_all();
  }
  // No run starts after this; with `wait`, none is running any more (unless it is the caller's own).
  void switch_off(bool wait) {
    std::unique_lock lock(mutex);
    off = true;
    changed.notify_all();
    if (wait) changed.wait(lock, [&] { return !running || runner == std::this_thread::get_id(); });
  }
};

struct pintle_timer : Callable {
  pintle_task_fn fn = nullptr;
  void* ctx = nullptr;
  pintle::kernel::TimerId id = 0;
  bool done = false;  // ran, or will not run: no longer counted
  bool revoked = false;  // will not run, and its owner has not been told yet
};

struct pintle_watch : Callable {
  std::unique_ptr<pintle::kernel::WatchFeed> feed;
  pintle_event_fn fn = nullptr;
  void* ctx = nullptr;
  bool pumping = false, again = false, closed = false, ready = false;  // under Callable::mutex
};

struct pintle_fdwatch : Callable {
  PluginHost* host = nullptr;
  uint64_t id = 0;
  pintle_fd_fn fn = nullptr;
  void* ctx = nullptr;
};

namespace pintle::kernel {

struct PeerCall {
  std::shared_ptr<OpenCall> open;
};

std::string counted(uint64_t n, const std::string& noun) { return std::to_string(n) + " " + noun + (n == 1 ? "" : n && noun.back() == 'h' ? "es" : "s"); }

struct HostTables {
  static PluginHost& of(const pintle_host* h) { return *reinterpret_cast<const PluginHost::C*>(h)->self; }
  static std::shared_ptr<PluginHost> share(const pintle_host* h) { return of(h).shared_from_this(); }
  static CallScope& scope(PluginHost& h) { return *h.scope_; }

  static pintle_code fail(const Error& error, pintle_error* out) {
    if (out) error.to_c(out);
    return error.code;
  }

  // ---- log
  static void write(const pintle_host* h, int level, pintle_bytes text, pintle_bytes fields) {
    of(h).backend_->log(level, view(text), fields.len ? view(fields) : std::string_view());
  }
  static int level(const pintle_host* h) { return of(h).backend_->log_level(); }

  // ---- health
  static void report(const pintle_host* h, int state, pintle_bytes message) {
    if (state < PINTLE_HEALTH_READY || state > PINTLE_HEALTH_DEGRADED) return;
    of(h).backend_->report(state, view(message));
  }

  // ---- store
  static StoreQuery query_of(const pintle_query& q) {
    return {std::string(view(q.kind)), std::string(view(q.ns)), std::string(view(q.label_selector)), std::string(view(q.field_selector)),
            std::string(view(q.continue_token)), q.limit, q.revision};
  }
  static pintle_code get(const pintle_host* h, const pintle_key* key, pintle_object** out, pintle_error* error) {
    Result<ObjectRef> r = of(h).backend_->get({std::string(view(key->kind)), std::string(view(key->ns)), std::string(view(key->name))});
    if (!r) return fail(r.error(), error);
    *out = make_handle(std::move(*r));
    return PINTLE_OK;
  }
  static pintle_code list(const pintle_host* h, const pintle_query* q, void (*each)(void*, pintle_object*), void* ctx,
                          uint64_t* revision, pintle_buf* token, pintle_error* error) {
    Result<Listed> r = of(h).backend_->list(query_of(*q));
    if (!r) return fail(r.error(), error);
    for (auto& object : r->objects) {
      Handle handle(std::move(object));
      each(ctx, handle.get());
    }
    if (revision) *revision = r->revision;
    if (token) *token = r->continue_token.empty() ? pintle_buf{} : owned(std::move(r->continue_token));
    return PINTLE_OK;
  }
  static pintle_code watch(const pintle_host* h, const pintle_query* q, pintle_event_fn fn, void* ctx, pintle_watch** out,
                           pintle_error* error) {
    PluginHost& host = of(h);
    auto w = std::make_shared<pintle_watch>();
    w->fn = fn;
    w->ctx = ctx;
    const auto self = host.shared_from_this();
    std::weak_ptr<pintle_watch> weak = w;
    auto feed = host.backend_->watch(query_of(*q), [self, weak] {
      if (auto s = weak.lock()) pump_soon(self, s);
    });
    if (!feed) return fail(feed.error(), error);
    host.scope_->traffic.add(Traffic::kWatches);
    {
      std::lock_guard lock(host.mutex_);
      host.watches_.emplace(w.get(), w);
    }
    *out = w.get();
    {
      std::lock_guard lock(w->mutex);
      w->feed = std::move(*feed);
      w->ready = true;
    }
    pump_soon(self, w);
    return PINTLE_OK;
  }
  static void pump_soon(const std::shared_ptr<PluginHost>& host, const std::shared_ptr<pintle_watch>& w) {
    {
      std::lock_guard lock(w->mutex);
      if (w->off || w->closed || !w->ready) return;
      if (w->pumping) {
        w->again = true;
        return;
      }
      w->pumping = true;
    }
    host->backend_->executor().post([host, w] { pump(host, w); });
  }
  static void pump(const std::shared_ptr<PluginHost>& host, const std::shared_ptr<pintle_watch>& w) {
    // Not for ever on one thread: others want it too.
    for (int round = 0; round < 8; ++round) {
      {
        std::lock_guard lock(w->mutex);
        w->again = false;
      }
      std::vector<WatchEvent> events;
      if (w->enter()) {
        // The feed is only destroyed after switch_off(), which waits for us.
        Traffic::Inside inside(host->scope_->traffic, false);
        events = w->feed->take(64);
        for (auto& e : events) {
          Handle object(std::move(e.object)), previous(std::move(e.previous));
          const pintle_event c{sizeof(pintle_event), e.type, object.get(), previous.get(), e.revision, e.code};
          if (e.type == PINTLE_EVENT_CLOSED) {
            std::lock_guard lock(w->mutex);
            w->closed = true;
          }
          {
            std::lock_guard lock(w->mutex);
            if (w->off) break;  // unwatched from inside the callback
          }
          w->fn(w->ctx, &c);
        }
        w->leave();
      }
      {
        std::lock_guard lock(w->mutex);
        if (w->off || w->closed || (events.empty() && !w->again)) {
          w->pumping = false;
          return;
        }
      }
    }
    host->backend_->executor().post([host, w] { pump(host, w); });
  }
  static void unwatch(const pintle_host* h, pintle_watch* raw) {
    PluginHost& host = of(h);
    std::shared_ptr<pintle_watch> w;
    {
      std::lock_guard lock(host.mutex_);
      const auto at = host.watches_.find(raw);
      if (at == host.watches_.end()) return;
      w = std::move(at->second);
      host.watches_.erase(at);
    }
    end_watch(host, *w);
  }
  static void end_watch(PluginHost& host, pintle_watch& w) {
    w.switch_off(true);
    std::unique_ptr<WatchFeed> feed;
    {
      std::lock_guard lock(w.mutex);
      // Ended from inside its own callback: the pump still holds on to the feed; it goes with the watch.
      if (!w.running) feed = std::move(w.feed);
    }
    host.scope_->traffic.remove(Traffic::kWatches);
  }

  static void commit(const pintle_host* h, const pintle_op* ops, size_t n, const pintle_fence* fences, size_t n_fences, uint32_t flags,
                     pintle_commit_fn fn, void* ctx) {
    PluginHost& host = of(h);
    std::vector<StoreOp> list;
    list.reserve(n);
    for (size_t i = 0; i < n; ++i)
      list.push_back({static_cast<pintle_verb>(ops[i].verb),
                      {std::string(view(ops[i].key.kind)), std::string(view(ops[i].key.ns)), std::string(view(ops[i].key.name))},
                      std::string(view(ops[i].subresource)), std::string(view(ops[i].body)), ops[i].if_revision, std::string(view(ops[i].if_uid))});
    std::vector<FenceCheck> checks;
    for (size_t i = 0; i < n_fences; ++i) checks.push_back({std::string(view(fences[i].slot)), fences[i].epoch});
    host.scope_->traffic.add(Traffic::kCommits);
    host.backend_->commit(std::move(list), std::move(checks), flags,
                          [self = host.shared_from_this(), fn, ctx](pintle_code code, std::vector<StoreOpResult> results) {
                            self->backend_->executor().post([self, fn, ctx, code, results = std::make_shared<std::vector<StoreOpResult>>(std::move(results))] {
                              if (!self->closed_) {
                                Traffic::Inside inside(self->scope_->traffic, false);
                                std::vector<std::unique_ptr<Handle>> handles;
                                std::vector<std::string> status(results->size());
                                std::vector<pintle_result> c;
                                for (size_t i = 0; i < results->size(); ++i) {
                                  auto& r = (*results)[i];
                                  handles.push_back(std::make_unique<Handle>(std::move(r.object)));
                                  if (!r.error.status.is_null()) status[i] = r.error.status.dump();
                                  c.push_back({sizeof(pintle_result), r.error.code, handles.back()->get(), bytes(r.error.text), bytes(status[i])});
                                }
                                fn(ctx, code, c.data(), c.size());
                              }
                              self->scope_->traffic.remove(Traffic::kCommits);
                            });
                          });
  }

  // ---- execution
  static void run_task(const std::shared_ptr<PluginHost>& host, pintle_task_fn fn, void* ctx) {
    if (!host->closed_) {
      Traffic::Inside inside(host->scope_->traffic, false);
      fn(ctx);
    }
    host->scope_->traffic.remove(Traffic::kTasks);
  }
  static void post(const pintle_host* h, pintle_task_fn fn, void* ctx) {
    auto host = share(h);
    host->scope_->traffic.add(Traffic::kTasks);
    host->backend_->executor().post([host, fn, ctx] { run_task(host, fn, ctx); });
  }
  static void post_blocking(const pintle_host* h, pintle_task_fn fn, void* ctx) {
    auto host = share(h);
    host->scope_->traffic.add(Traffic::kTasks);
    host->backend_->executor().post_blocking([host, fn, ctx] { run_task(host, fn, ctx); });
  }
  static pintle_timer* after(const pintle_host* h, uint64_t delay, pintle_task_fn fn, void* ctx) {
    auto host = share(h);
    auto t = std::make_shared<pintle_timer>();
    t->fn = fn;
    t->ctx = ctx;
    host->scope_->traffic.add(Traffic::kTimers);
    {
      std::lock_guard lock(host->mutex_);
      host->timers_.emplace(t.get(), t);
    }
    const TimerId id = host->backend_->executor().after(delay, [host, t] {
      if (!t->enter()) return;
      {
        Traffic::Inside inside(host->scope_->traffic, false);
        t->fn(t->ctx);
      }
      finish_timer(*host, *t);
      t->leave();
    });
    {
      std::lock_guard lock(t->mutex);
      t->id = id;
    }
    return t.get();
  }
  static void finish_timer(PluginHost& host, pintle_timer& t) {
    {
      std::lock_guard lock(t.mutex);
      if (std::exchange(t.done, true)) return;
    }
    host.scope_->traffic.remove(Traffic::kTimers);
  }
  static bool cancel(const pintle_host* h, pintle_timer* raw, bool wait) {
    PluginHost& host = of(h);
    std::shared_ptr<pintle_timer> t;
    {
      std::lock_guard lock(host.mutex_);
      const auto at = host.timers_.find(raw);
      if (at == host.timers_.end()) return false;
      t = std::move(at->second);
      host.timers_.erase(at);
    }
    {
      // What it holds is its owner's to free: nothing will run.
      std::lock_guard lock(t->mutex);
      if (t->revoked) return true;
    }
    return end_timer(host, *t, wait);
  }
  static bool end_timer(PluginHost& host, pintle_timer& t, bool wait) {
    bool will_not_run;
    TimerId id;
    {
      std::lock_guard lock(t.mutex);
      will_not_run = !t.done && !t.running && !t.off;
      id = t.id;
    }
    t.switch_off(false);
    {
      // It may have begun between the look and the switch.
      std::lock_guard lock(t.mutex);
      will_not_run = will_not_run && !t.done && !t.running;
    }
    if (will_not_run) {
      host.backend_->executor().cancel(id);
      finish_timer(host, t);
      return true;
    }
    if (wait) t.switch_off(true);
    return false;
  }

  // ---- clock, random, metrics
  static uint64_t now(const pintle_host* h) { return of(h).backend_->executor().now(); }
  static int64_t wall(const pintle_host* h) { return of(h).backend_->executor().wall(); }
  static void fill(const pintle_host* h, void* out, size_t n) { of(h).backend_->executor().random(out, n); }
  static pintle_metric* metric(const pintle_host*, int type, pintle_bytes name, pintle_bytes help, pintle_bytes labels) {
    return metric_cell(type, view(name), view(help), labels.len ? view(labels) : std::string_view());
  }

  // ---- peers
  static pintle_invocation* invoke(const pintle_host* h, pintle_bytes slot, const char* interface_id, uint32_t method, pintle_bytes request,
                                   const int* fds, size_t n_fds, uint64_t deadline, pintle_part_fn part, pintle_done_fn done, void* ctx) {
    auto host = share(h);
    Invoke call;
    call.interface_id = interface_id;
    call.method = method;
    call.request.assign(request.ptr, request.len);
    call.fds.assign(fds, fds + n_fds);
    call.deadline = deadline == 0 ? now(h) + 60ull * 1000000000 : deadline;
    uint64_t id;
    {
      std::lock_guard lock(host->mutex_);
      id = host->next_peer_call_++;
      host->peer_calls_.emplace(id, std::make_shared<PeerCall>());
    }
    host->scope_->traffic.add(Traffic::kInvocations);
    if (part)
      call.part = [host, part, ctx](std::string_view text) {
        if (host->closed_) return true;
        Traffic::Inside inside(host->scope_->traffic, false);
        return part(ctx, bytes(text));
      };
    call.done = [host, done, ctx, id](Result<Reply> r) {
      // Also when the call failed before it began: never inside invoke().
      host->backend_->executor().post([host, done, ctx, id, r = std::make_shared<Result<Reply>>(std::move(r))] {
        {
          std::lock_guard lock(host->mutex_);
          host->peer_calls_.erase(id);
        }
        if (!host->closed_) {
          Traffic::Inside inside(host->scope_->traffic, false);
          if (*r) {
            done(ctx, PINTLE_OK, nullptr, bytes((*r)->body), (*r)->fds.data(), (*r)->fds.size());
          } else {
            pintle_error e{};
            e.size = sizeof e;
            r->error().to_c(&e);
            done(ctx, r->error().code, &e, {nullptr, 0}, nullptr, 0);
          }
        } else if (*r) {
          for (const int fd : (*r)->fds) ::close(fd);
        }
        host->scope_->traffic.remove(Traffic::kInvocations);
      });
    };
    auto open = host->backend_->invoke(std::string(view(slot)), std::move(call));
    {
      std::lock_guard lock(host->mutex_);
      const auto at = host->peer_calls_.find(id);
      if (at != host->peer_calls_.end()) at->second->open = std::move(open);
    }
    return reinterpret_cast<pintle_invocation*>(id);
  }
  static std::shared_ptr<OpenCall> find_call(const pintle_host* h, pintle_invocation* invocation) {
    PluginHost& host = of(h);
    std::lock_guard lock(host.mutex_);
    const auto at = host.peer_calls_.find(reinterpret_cast<uint64_t>(invocation));
    return at == host.peer_calls_.end() ? nullptr : at->second->open;
  }
  static void resume(const pintle_host* h, pintle_invocation* invocation) {
    if (auto call = find_call(h, invocation)) call->resume();
  }
  static void cancel_invocation(const pintle_host* h, pintle_invocation* invocation) {
    if (auto call = find_call(h, invocation)) call->cancel();
  }
  static uint64_t epoch(const pintle_host* h, pintle_bytes slot) { return of(h).backend_->epoch(std::string(view(slot))); }

  // ---- network
  static int open(const pintle_host* h, pintle_bytes address, bool listen, pintle_error* error) {
    if (of(h).backend_->executor().simulated()) {
      fail(Error(PINTLE_UNSUPPORTED, "there is no network in simulation: " + std::string(view(address))), error);
      return -1;
    }
    Result<int> r = open_socket(view(address), listen);
    if (r) return *r;
    fail(r.error(), error);
    return -1;
  }
  static int connect(const pintle_host* h, pintle_bytes address, pintle_error* error) { return open(h, address, false, error); }
  static int listen(const pintle_host* h, pintle_bytes address, pintle_error* error) { return open(h, address, true, error); }
  static pintle_fdwatch* watch_fd(const pintle_host* h, int fd, pintle_fd_fn fn, void* ctx) {
    auto host = share(h);
    auto w = std::make_shared<pintle_fdwatch>();
    w->host = host.get();
    w->fn = fn;
    w->ctx = ctx;
    std::weak_ptr<pintle_fdwatch> weak = w;
    if (!host->backend_->executor().simulated())
      w->id = FdLoop::shared().add(fd, [host, weak](uint32_t got) {
        host->backend_->executor().post([host, weak, got] {
          auto s = weak.lock();
          if (!s || !s->enter()) return;
          {
            Traffic::Inside inside(host->scope_->traffic, false);
            uint32_t events = 0;
            if (got & (EPOLLIN | EPOLLRDHUP)) events |= PINTLE_READABLE;
            if (got & EPOLLOUT) events |= PINTLE_WRITABLE;
            if (got & (EPOLLHUP | EPOLLERR)) events |= PINTLE_HANGUP;
            s->fn(s->ctx, events);
          }
          s->leave();
        });
      });
    host->scope_->traffic.add(Traffic::kFdWatches);
    std::lock_guard lock(host->mutex_);
    host->fd_watches_.emplace(w.get(), w);
    return w.get();
  }
  static void arm(pintle_fdwatch* w, uint32_t events) {
    uint32_t e = 0;
    if (events & PINTLE_READABLE) e |= EPOLLIN;
    if (events & PINTLE_WRITABLE) e |= EPOLLOUT;
    FdLoop::shared().arm(w->id, e);
  }
  static void unwatch_fd(pintle_fdwatch* raw) {
    PluginHost& host = *raw->host;
    std::shared_ptr<pintle_fdwatch> w;
    {
      std::lock_guard lock(host.mutex_);
      const auto at = host.fd_watches_.find(raw);
      if (at == host.fd_watches_.end()) return;
      w = std::move(at->second);
      host.fd_watches_.erase(at);
    }
    end_fd_watch(host, *w);
  }
  static void end_fd_watch(PluginHost& host, pintle_fdwatch& w) {
    if (w.id) FdLoop::shared().remove(w.id);
    w.switch_off(true);
    host.scope_->traffic.remove(Traffic::kFdWatches);
  }

  static const void* find(const pintle_host* h, const char* id);
};

namespace {

const pintle_log_api kLog{sizeof(pintle_log_api), HostTables::write, HostTables::level};
const pintle_store_api kStore{sizeof(pintle_store_api), HostTables::get,     HostTables::list,
                              HostTables::watch,        HostTables::unwatch, HostTables::commit};
const pintle_exec_api kExec{sizeof(pintle_exec_api), HostTables::post, HostTables::post_blocking, HostTables::after, HostTables::cancel};
const pintle_clock_api kClock{sizeof(pintle_clock_api), HostTables::now, HostTables::wall};
const pintle_random_api kRandom{sizeof(pintle_random_api), HostTables::fill};
const pintle_health_api kHealth{sizeof(pintle_health_api), HostTables::report};
const pintle_metrics_api kMetrics{sizeof(pintle_metrics_api), HostTables::metric, metric_add, metric_set};
const pintle_peer_api kPeer{sizeof(pintle_peer_api), HostTables::invoke, HostTables::resume, HostTables::cancel_invocation, HostTables::epoch};
const pintle_net_api kNet{sizeof(pintle_net_api), HostTables::connect, HostTables::listen,
                          HostTables::watch_fd,   HostTables::arm,     HostTables::unwatch_fd};

struct Service {
  const char* id;
  const void* table;
};
const std::vector<Service>& services() {
  static const auto* all = new std::vector<Service>{
      {PINTLE_LOG, &kLog},       {PINTLE_OBJECT, object_api()}, {PINTLE_STORE, &kStore}, {PINTLE_EXEC, &kExec},       {PINTLE_CALL, CallState::api()},
      {PINTLE_CLOCK, &kClock},   {PINTLE_RANDOM, &kRandom},     {PINTLE_PEER, &kPeer},   {PINTLE_NET, &kNet},         {PINTLE_METRICS, &kMetrics},
      {PINTLE_HEALTH, &kHealth},
  };
  return *all;
}

}  // namespace

const void* HostTables::find(const pintle_host*, const char* id) {
  for (const auto& s : services())
    if (std::string_view(id) == s.id) return s.table;
  return nullptr;
}

const std::vector<std::string>& PluginHost::interfaces() {
  static const auto* ids = [] {
    auto* v = new std::vector<std::string>;
    for (const auto& s : services()) v->emplace_back(s.id);
    return v;
  }();
  return *ids;
}

PluginHost::PluginHost(std::shared_ptr<CallScope> scope, std::shared_ptr<HostBackend> backend)
    : scope_(std::move(scope)), backend_(std::move(backend)) {
  c_.host = {sizeof(pintle_host), PINTLE_ABI_MAJOR, PINTLE_ABI_MINOR, "0.1.0", HostTables::find};
  c_.self = this;
}

PluginHost::~PluginHost() = default;

void PluginHost::cancel_invocations() {
  std::vector<std::shared_ptr<OpenCall>> open;
  {
    std::lock_guard lock(mutex_);
    for (auto& [id, call] : peer_calls_)
      if (call->open) open.push_back(call->open);
  }
  for (auto& call : open) call->cancel();
}

std::string PluginHost::revoke() {
  // The structs stay: the plugin's own destructors may still give them back in destroy().
  std::vector<std::shared_ptr<pintle_timer>> timers;
  std::vector<std::shared_ptr<pintle_watch>> watches;
  std::vector<std::shared_ptr<pintle_fdwatch>> fd_watches;
  {
    std::lock_guard lock(mutex_);
    for (auto& [raw, t] : timers_) timers.push_back(t);
    for (auto& [raw, w] : watches_) watches.push_back(w);
    for (auto& [raw, w] : fd_watches_) fd_watches.push_back(w);
  }
  uint64_t live_timers = 0, live_watches = 0;
  for (auto& t : timers) {
    {
      std::lock_guard lock(t->mutex);
      live_timers += !t->done && !t->off;
    }
    if (HostTables::end_timer(*this, *t, false)) {
      std::lock_guard lock(t->mutex);
      t->revoked = true;
    }
  }
  for (auto& w : watches) {
    std::lock_guard lock(w->mutex);
    live_watches += !w->closed && !w->off;  // one that has ended cannot call any more
    w->off = true;
  }
  for (auto& w : fd_watches) {
    if (w->id) FdLoop::shared().remove(w->id);
    w->switch_off(false);
  }
  std::string text;
  const auto add = [&](uint64_t n, const char* noun) {
    if (n) text += (text.empty() ? "" : ", ") + counted(n, noun);
  };
  add(live_timers, "timer");
  add(live_watches, "watch");
  add(fd_watches.size(), "descriptor watch");
  return text;
}

void PluginHost::close() {
  closed_ = true;
  // Break the circle host -> timer -> executor task -> host.
  std::lock_guard lock(mutex_);
  timers_.clear();
  watches_.clear();
  fd_watches_.clear();
}

}  // namespace pintle::kernel

// An instance whose code is in this process.
#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>

#include "kernel/base/log.h"
#include "kernel/plugin/call.h"
#include "kernel/plugin/host_services.h"
#include "kernel/plugin/instance.h"
#include "kernel/plugin/module.h"

namespace pintle::kernel {
namespace {

// What must outlive the instance when it is parked: code may still run in it. Never freed then.
struct Body {
  std::shared_ptr<CallScope> scope = std::make_shared<CallScope>();
  std::shared_ptr<PluginHost> host;
  std::unique_ptr<Module> module;
  const pintle_plugin* plugin = nullptr;
};

struct ErrorBuffer {
  pintle_error c{};
  ErrorBuffer() { c.size = sizeof c; }
  Error take(pintle_code code) const { return Error::from_c(code, &c); }
};

class InProcess final : public Instance, public std::enable_shared_from_this<InProcess> {
 public:
  InProcess(InstanceOptions options, std::string modules) : options_(std::move(options)), modules_(std::move(modules)) {
    body_->scope->plugin = options_.name;
    body_->scope->executor = &executor();
  }
  ~InProcess() override {
    if (body_->module) abandon();
  }

  void start(Done done) override {
    control("start", options_.start_deadline_ns, std::move(done), [this] { return start_now(); });
  }

  void activate(const std::string& slot, uint64_t epoch, Done done) override {
    options_.backend->hold(slot, epoch);
    control("activate", options_.start_deadline_ns, std::move(done), [this, slot, epoch]() -> Result<void> {
      const pintle_plugin* p = body_->plugin;
      if (!p) return Error(PINTLE_UNAVAILABLE, "plugin \"" + options_.name + "\" is not started");
      if (PINTLE_HAS(p, activate)) {
        ErrorBuffer e;
        const pintle_code code = p->activate(p->self, bytes(slot), epoch, &e.c);
        if (code != PINTLE_OK) return e.take(code);
      }
      reach(PluginState::kActive);
      return {};
    });
  }

  void reconfigure(std::string config, Done done) override {
    control("reconfigure", options_.start_deadline_ns, std::move(done), [this, config = std::move(config)]() -> Result<void> {
      const pintle_plugin* p = body_->plugin;
      if (!p || !PINTLE_HAS(p, reconfigure)) return Error(PINTLE_UNSUPPORTED, "cannot be changed while running");
      ErrorBuffer e;
      const pintle_code code = p->reconfigure(p->self, bytes(config), &e.c);
      if (code != PINTLE_OK) return e.take(code);
      return {};
    });
  }

  void drain(uint64_t deadline, Done done) override {
    const PluginState before = state_;
    accepting_ = false;
    if (!body_->plugin || (before != PluginState::kStarted && before != PluginState::kActive)) {
      executor().post([done = std::move(done)] { done({}); });
      return;
    }
    reach(PluginState::kDraining);
    auto self = shared_from_this();
    // The plugin's own drain is a call like the others: its answer is counted in `open`.
    Invoke call;
    call.interface_id = "drain";
    call.done = [self](Result<Reply> r) {
      if (!r) log::warn("plugin", "\"" + self->options_.name + "\" did not drain: " + r.error().text);
    };
    auto drain_call = CallState::make(body_->scope, std::move(call));
    run_blocking([self, drain_call] {
      if (!drain_call->begin()) return;
      const pintle_plugin* p = self->body_->plugin;
      Traffic::Inside inside(self->body_->scope->traffic, true);
      if (PINTLE_HAS(p, drain)) p->drain(p->self, drain_call->handle());
      else CallState::api()->complete(drain_call->handle(), PINTLE_OK, nullptr, {});
    });
    await({Traffic::kOpen}, deadline, [self, done](bool in_time) {
      if (in_time) return done({});
      const uint64_t open = self->body_->scope->traffic.get(Traffic::kOpen);
      self->body_->scope->cancel_all();
      done(Error(PINTLE_TIMEOUT, counted(open, "call") + " had to be cancelled"));
    });
  }

  void stop(uint64_t deadline, std::function<void(Ending)> done) override {
    accepting_ = false;
    auto self = shared_from_this();
    ended_ = std::move(done);
    if (hung_) return park(hung_text_);
    if (!body_->plugin) {
      // Nothing was created: only the file may be mapped.
      if (state_ == PluginState::kUnloaded || !body_->module) return end(PluginState::kUnloaded, "");
      return unload("");
    }
    await({Traffic::kOpen, Traffic::kMethods}, deadline, [self, deadline](bool quiet) {
      if (!quiet) return self->park(self->busy_text());
      self->stop_code(deadline);
    });
  }

  std::shared_ptr<OpenCall> invoke(Invoke call) override {
    auto c = CallState::make(body_->scope, std::move(call));
    // Counted first, then looked: drain() sets the flag first and then waits for the count.
    if (!accepting_) {
      c->refuse(Error(PINTLE_UNAVAILABLE, "plugin \"" + options_.name + "\" is " + to_string(state_)));
      return c;
    }
    executor().post([self = shared_from_this(), c] { self->call_method(c); });
    return c;
  }

  PluginState state() const override { return state_; }
  const InstanceOptions& options() const override { return options_; }
  InstanceCounters counters() const override {
    const CallScope& s = *body_->scope;
    InstanceCounters out;
    out.open = s.traffic.get(Traffic::kOpen);
    out.inside = s.traffic.get(Traffic::kInside);
    out.tasks = s.traffic.get(Traffic::kTasks);
    out.timers = s.traffic.get(Traffic::kTimers);
    out.watches = s.traffic.get(Traffic::kWatches);
    out.fd_watches = s.traffic.get(Traffic::kFdWatches);
    out.commits = s.traffic.get(Traffic::kCommits);
    out.invocations = s.traffic.get(Traffic::kInvocations);
    out.calls = s.calls;
    out.failures = s.failures;
    out.timeouts = s.timeouts;
    return out;
  }

 private:
  Executor& executor() { return options_.backend->executor(); }

  void reach(PluginState state, const std::string& message = {}) {
    state_ = state;
    if (options_.events.on_state) in_order([this, state, message] { options_.events.on_state(state, message); });
  }
  // What is told, states and answers, is told in the order in which it came about, though the executor promises none.
  void in_order(std::function<void()> fn) {
    std::lock_guard lock(news_mutex_);
    news_.push_back(std::move(fn));
    if (std::exchange(telling_, true)) return;
    executor().post([self = shared_from_this()] { self->tell(); });
  }
  void tell() {
    for (;;) {
      std::function<void()> fn;
      {
        std::lock_guard lock(news_mutex_);
        if (news_.empty()) {
          telling_ = false;
          return;
        }
        fn = std::move(news_.front());
        news_.pop_front();
      }
      fn();
    }
  }

  // Plugin code that may be slow has a thread that nobody else waits for.
  void run_blocking(std::function<void()> fn) { executor().post_blocking(std::move(fn)); }

  // Runs a control function; when it is late the instance counts as hung and `done` gets TIMEOUT.
  void control(const char* what, uint64_t limit_ns, Done done, std::function<Result<void>()> fn) {
    struct Once {
      std::atomic<bool> answered{false};
      TimerId timer = 0;
      std::mutex mutex;
    };
    auto once = std::make_shared<Once>();
    auto self = shared_from_this();
    {
      std::lock_guard lock(once->mutex);
      once->timer = executor().after(limit_ns, [self, once, done, what, limit_ns] {
        if (once->answered.exchange(true)) return;
        self->hung_text_ = std::string(what) + " did not return within " + std::to_string(limit_ns / 1000000000) + " s";
        self->hung_ = true;
        self->accepting_ = false;
        self->reach(PluginState::kFailed, self->hung_text_);
        self->in_order([self, done] { done(Error(PINTLE_TIMEOUT, self->hung_text_)); });
      });
    }
    run_blocking([self, once, done, fn = std::move(fn)] {
      Result<void> r = Error(PINTLE_INTERNAL, "an exception came out of the plugin");
      {
        Traffic::Inside inside(self->body_->scope->traffic, true);
        try {
          r = fn();
        } catch (...) {
          // A plugin's exceptions end at its own wall; this is for those that are built without one.
        }
      }
      if (once->answered.exchange(true)) return;
      {
        std::lock_guard lock(once->mutex);
        self->executor().cancel(once->timer);
      }
      self->in_order([done, r] { done(r); });
    });
  }

  Result<void> start_now() {
    Result<std::unique_ptr<Module>> module = Module::open(options_.file, options_.digest, modules_);
    if (!module) return failed(module.error());
    body_->module = std::move(*module);
    const pintle_entry& entry = body_->module->entry();
    reach(PluginState::kLoaded);
    if (PINTLE_HAS(&entry, validate)) {
      ErrorBuffer e;
      const pintle_code code = entry.validate(bytes(options_.config), &e.c);
      if (code != PINTLE_OK) return failed(Error(PINTLE_INVALID, "configuration: " + e.take(code).text));
    }
    body_->host = std::make_shared<PluginHost>(body_->scope, options_.backend);
    ErrorBuffer e;
    const pintle_plugin* plugin = nullptr;
    pintle_code code = PINTLE_INTERNAL;
    try {
      code = entry.create(body_->host->table(), bytes(options_.config), &plugin, &e.c);
    } catch (...) {
      return failed(Error(PINTLE_INTERNAL, "create let an exception cross the boundary"));
    }
    if (code != PINTLE_OK) return failed(Error(e.take(code).code, "create: " + e.take(code).text));
    if (!plugin || !PINTLE_HAS(plugin, start) || !PINTLE_HAS(plugin, stop) || !PINTLE_HAS(plugin, destroy) || !PINTLE_HAS(plugin, get))
      return failed(Error(PINTLE_INVALID, "create gave an instance without start, stop, destroy or get"));
    body_->plugin = plugin;
    reach(PluginState::kCreated);
    ErrorBuffer start_error;
    code = plugin->start(plugin->self, &start_error.c);
    if (code != PINTLE_OK) return failed(Error(start_error.take(code).code, "start: " + start_error.take(code).text));
    if (hung_) return Error(PINTLE_TIMEOUT, hung_text_);  // came back after all, but too late
    reach(PluginState::kStarted);
    accepting_ = true;
    return {};
  }
  Error failed(Error error) {
    reach(PluginState::kFailed, error.text);
    return error;
  }

  void call_method(const std::shared_ptr<CallState>& c) {
    if (!c->begin()) return;
    const pintle_plugin* p = body_->plugin;
    Traffic::Inside inside(body_->scope->traffic, true);
    const auto* table = static_cast<const char*>(p->get(p->self, c->interface_id().c_str()));
    if (!table)
      return c->refuse(Error(PINTLE_UNSUPPORTED, "plugin \"" + options_.name + "\" does not provide " + c->interface_id()));
    const uint32_t size = *reinterpret_cast<const uint32_t*>(table);
    const size_t at = sizeof(void*) + sizeof(pintle_method) * size_t{c->method()};
    const pintle_method method = at + sizeof(pintle_method) <= size ? *reinterpret_cast<const pintle_method*>(table + at) : nullptr;
    if (!method)
      return c->refuse(Error(PINTLE_UNSUPPORTED, "plugin \"" + options_.name + "\" has no method " + std::to_string(c->method()) + " in " + c->interface_id()));
    method(p->self, bytes(c->request()), c->handle());
  }

  // `fn(true)` on the executor as soon as the counts are zero; `fn(false)` at the deadline.
  void await(std::vector<Traffic::Count> counts, uint64_t deadline, std::function<void(bool)> fn) {
    struct Wait {
      std::atomic<bool> over{false};
      std::atomic<TimerId> timer{0};
    };
    auto wait = std::make_shared<Wait>();
    auto self = shared_from_this();
    const uint64_t now = executor().now();
    auto waiter = std::make_shared<std::atomic<uint64_t>>(0);
    wait->timer = executor().after(deadline > now ? deadline - now : 0, [self, wait, waiter, fn] {
      if (wait->over.exchange(true)) return;
      self->body_->scope->traffic.forget(*waiter);
      fn(false);
    });
    *waiter = body_->scope->traffic.when_zero(std::move(counts), [self, wait, fn] {
      if (wait->over.exchange(true)) return;
      self->executor().cancel(wait->timer);
      self->executor().post([fn] { fn(true); });
    });
  }

  void stop_code(uint64_t deadline) {
    auto self = shared_from_this();
    const uint64_t now = executor().now();
    const uint64_t limit = std::max<uint64_t>(deadline > now ? deadline - now : 0, 1000000000);
    control("stop", limit, [self, deadline](Result<void> r) {
      if (!r) return self->park(r.error().text);
      self->reach(PluginState::kStopped);
      self->body_->host->cancel_invocations();
      self->left_ = self->body_->host->revoke();
      const uint64_t later = std::max<uint64_t>(deadline, self->executor().now() + 5000000000ull);
      self->await({Traffic::kInside, Traffic::kOpen, Traffic::kTasks, Traffic::kCommits, Traffic::kInvocations}, later, [self](bool quiet) {
        if (!quiet) return self->park(self->busy_text());
        self->destroy_code();
      });
    }, [self]() -> Result<void> {
      const pintle_plugin* p = self->body_->plugin;
      p->stop(p->self);
      return {};
    });
  }

  void destroy_code() {
    auto self = shared_from_this();
    log::flush();
    control("destroy", 5000000000ull, [self](Result<void> r) {
      if (!r) return self->park(r.error().text);
      self->body_->host->close();
      self->reach(PluginState::kDestroyed);
      self->unload(self->left_.empty() ? "" : self->left_ + (self->left_[0] == '1' && self->left_.find(',') == std::string::npos ? " was" : " were") + " left behind by stop");
    }, [self]() -> Result<void> {
      const pintle_plugin* p = self->body_->plugin;
      self->body_->plugin = nullptr;
      p->destroy(p->self);
      return {};
    });
  }

  void unload(const std::string& left) {
    if (!left.empty()) return park(left);
    if (!options_.manifest->may_unload) {
      body_->module->park();
      return end(PluginState::kDestroyed, "the manifest does not allow to unload it");
    }
    // Its last frame may be the destroy() that has just returned on another thread: counted, so wait for it.
    auto self = shared_from_this();
    await({Traffic::kInside}, executor().now() + 5000000000ull, [self](bool quiet) {
      if (!quiet) return self->park(self->busy_text());
      const bool gone = self->body_->module->close();
      if (gone) self->end(PluginState::kUnloaded, "");
      else self->end(PluginState::kParked, "the linker keeps the file mapped (unique symbols or thread-local destructors)");
    });
  }

  std::string busy_text() const {
    const Traffic& t = body_->scope->traffic;
    std::string text;
    const auto add = [&](Traffic::Count what, const char* noun, const char* verb) {
      if (const uint64_t n = t.get(what)) text += (text.empty() ? "" : ", ") + counted(n, noun) + " " + verb;
    };
    add(Traffic::kOpen, "call", "still open");
    add(Traffic::kInside, "thread", "still inside");
    add(Traffic::kTasks, "task", "still queued");
    add(Traffic::kCommits, "commit", "still open");
    add(Traffic::kInvocations, "peer call", "still open");
    return text.empty() ? "not quiet in time" : text;
  }

  void park(const std::string& why) {
    abandon();
    end(PluginState::kParked, why);
  }
  // Code may still run: nothing of it is freed or unmapped any more.
  void abandon() {
    if (body_->module) body_->module->park();
    keep_for_ever(body_);
  }

  void end(PluginState state, const std::string& message) {
    if (state == PluginState::kParked) log::error("plugin", "\"" + options_.name + "\" stays in memory: " + message);
    reach(state, message);
    auto done = std::move(ended_);
    ended_ = nullptr;
    if (done) in_order([done, state, message] { done({state, message}); });  // the last news: who owns us may go then
  }

  InstanceOptions options_;
  const std::string modules_;
  std::shared_ptr<Body> body_ = std::make_shared<Body>();
  std::atomic<PluginState> state_{PluginState::kInspected};
  std::atomic<bool> accepting_{false}, hung_{false};
  std::string hung_text_, left_;
  std::mutex news_mutex_;
  std::deque<std::function<void()>> news_;  // not told yet
  bool telling_ = false;
  std::function<void(Ending)> ended_;
};

}  // namespace

std::shared_ptr<Instance> make_in_process_instance(InstanceOptions options, const std::string& modules_directory) {
  return std::make_shared<InProcess>(std::move(options), modules_directory);
}

const char* to_string(PluginState state) {
  static constexpr const char* kNames[] = {"Found",   "Inspected", "Loaded",    "Created",  "Started", "Active", "Draining",
                                           "Stopped", "Destroyed", "Unloaded",  "Parked",   "Failed",  "Skipped", "CrashLoopBackOff"};
  return kNames[static_cast<size_t>(state)];
}

}  // namespace pintle::kernel

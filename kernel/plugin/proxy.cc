#include "kernel/plugin/proxy.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "kernel/base/log.h"
#include "kernel/plugin/log_budget.h"
#include "kernel/plugin/process.h"
#include "kernel/plugin/proxy_calls.h"
#include "kernel/plugin/proxy_services.h"
#include "kernel/run/executor.h"

namespace pintle::kernel {
namespace {

constexpr uint64_t kMillisecond = 1000000;
constexpr uint64_t kExitNs = 2 * kSecond;  // from the last answer, or the end of the connection, to the end of the process
constexpr uint64_t kGraceNs = 500 * kMillisecond;  // the other side keeps the same deadlines and answers better
constexpr uint64_t kLevelNs = kSecond;

// All members below "strand" are touched there only.
class ProcessInstance final : public Instance, public std::enable_shared_from_this<ProcessInstance> {
 public:
  ProcessInstance(InstanceOptions options, std::string program)
      : options_(std::move(options)), program_(std::move(program)), strand_(std::make_shared<Strand>(options_.backend->executor())) {
    scope_->plugin = options_.name;
    scope_->executor = &executor();
  }
  ~ProcessInstance() override {
    // After this the thread that waits on descriptors no longer uses the executor for this instance.
    if (channel_) channel_->close();
    if (process_) {
      process_->forget();
      process_->kill();
    }
  }

  void start(Done done) override {
    strand_->post([self = shared_from_this(), done = std::move(done)]() mutable { self->start_now(std::move(done)); });
  }

  void activate(const std::string& slot, uint64_t epoch, Done done) override {
    options_.backend->hold(slot, epoch);
    Writer w;
    w.text(slot);
    w.u64(epoch);
    strand_->post([self = shared_from_this(), w = std::move(w), done = std::move(done)]() mutable {
      self->control(FrameType::kActivate, "activate", std::move(w), [self, done = std::move(done)](Result<void> r) {
        if (r) self->reach(PluginState::kActive);
        done(std::move(r));
      });
    });
  }

  void reconfigure(std::string config, Done done) override {
    Writer w;
    w.text(config);
    strand_->post([self = shared_from_this(), w = std::move(w), done = std::move(done)]() mutable {
      self->control(FrameType::kReconfigure, "reconfigure", std::move(w), std::move(done));
    });
  }

  void drain(uint64_t deadline, Done done) override {
    accepting_ = false;
    strand_->post([self = shared_from_this(), deadline, done = std::move(done)]() mutable { self->drain_now(deadline, std::move(done)); });
  }

  void stop(uint64_t deadline, std::function<void(Ending)> done) override {
    accepting_ = false;
    strand_->post([self = shared_from_this(), deadline, done = std::move(done)]() mutable { self->stop_now(deadline, std::move(done)); });
  }

  std::shared_ptr<OpenCall> invoke(Invoke call) override {
    // Looked at after it is counted: drain() sets the flag first and then waits for the count.
    scope_->traffic.add(Traffic::kMethods);
    std::shared_ptr<OpenCall> out;
    if (accepting_) {
      out = caller_->call("", std::move(call));
    } else {
      auto refused = CallState::make(scope_, std::move(call));
      refused->refuse(Error(PINTLE_UNAVAILABLE, "plugin \"" + options_.name + "\" is " + to_string(state_)));
      out = refused;
    }
    scope_->traffic.remove(Traffic::kMethods);
    return out;
  }

  PluginState state() const override { return state_; }
  const InstanceOptions& options() const override { return options_; }
  InstanceCounters counters() const override {
    InstanceCounters out;
    out.open = scope_->traffic.get(Traffic::kOpen);
    out.calls = scope_->calls;
    out.failures = scope_->failures;
    out.timeouts = scope_->timeouts;
    out.pid = pid_;
    if (pid_) {
      out.watches = services_->watches();
      out.commits = services_->commits();
      out.invocations = callee_->open();
    }
    return out;
  }

 private:
  Executor& executor() const { return options_.backend->executor(); }

  void reach(PluginState state, const std::string& message = {}) {
    state_ = state;
    if (options_.events.on_state) options_.events.on_state(state, message);
  }

  // ---- start
  void start_now(Done done) {
    if (auto r = spawn(); !r) {
      dead_ = true;
      reach(PluginState::kFailed, r.error().text);
      return done(r);
    }
    Writer hello;
    hello.u32(kProtocol);
    hello.u64(static_cast<uint64_t>(::getpid()));
    hello.text(options_.name);
    hello.text(options_.file);
    hello.text(options_.digest);
    hello.text(options_.config);
    hello.u8(static_cast<uint8_t>(level_ = options_.backend->log_level()));
    channel_->send(FrameType::kHello, 0, std::move(hello));
    watch_level();
    starting_ = true;
    control(FrameType::kStart, "start", Writer(), [self = shared_from_this(), done = std::move(done)](Result<void> r) {
      self->starting_ = false;
      if (r) {
        self->accepting_ = true;
        self->reach(PluginState::kStarted);
        self->watch_life();
      } else if (!self->dead_ && !self->killed_) {
        self->reach(PluginState::kFailed, r.error().text);
      }
      done(std::move(r));
    });
  }

  Result<void> spawn() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
      return Error(PINTLE_UNAVAILABLE, std::string("no socket for the other process: ") + std::strerror(errno));
    channel_ = std::make_shared<Channel>(ends[0]);
    caller_ = std::make_shared<RemoteCaller>(scope_, channel_);
    callee_ = std::make_shared<RemoteCallee>(channel_, [backend = options_.backend](const std::string& slot, Invoke call) { return backend->invoke(slot, std::move(call)); });
    const auto budget = std::make_shared<LogBudget>(options_.backend);
    services_ = std::make_shared<RemoteServices>(options_.backend, channel_, strand_, budget);
    std::weak_ptr<ProcessInstance> weak = weak_from_this();
    ProcessOptions process;
    process.binary = program_;
    process.arguments = {"--plugin", options_.name, "--parent", std::to_string(::getpid())};
    process.channel = ends[1];
    process.on_line = [budget](std::string line) { budget->log(PINTLE_LOG_WARN, line, {}); };
    process.on_exit = [weak, strand = strand_](std::string how) {
      if (!weak.expired()) strand->post([weak, how = std::move(how)] {
        if (auto self = weak.lock()) self->on_process_end(how);
      });
    };
    auto started = Process::start(std::move(process));
    ::close(ends[1]);
    if (!started) return started.error();
    process_ = std::move(*started);
    pid_ = static_cast<uint32_t>(process_->pid());
    channel_->open({[weak, channel = std::weak_ptr<Channel>(channel_), strand = strand_](Frame frame) {
                      const size_t cost = Channel::cost(frame);
                      if (auto c = channel.lock()) c->hold(cost);
                      strand->post([weak, channel, cost, f = std::make_shared<Frame>(std::move(frame))] {
                        if (auto self = weak.lock()) self->on_frame(std::move(*f));
                        if (auto c = channel.lock()) c->release(cost);
                      });
                    },
                    [weak, strand = strand_](std::string why) {
                      strand->post([weak, why = std::move(why)] {
                        if (auto self = weak.lock()) self->on_channel_end(why);
                      });
                    }});
    return {};
  }

  // The level may be changed while the plugin runs.
  void watch_level() {
    executor().after(kLevelNs, [weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self) return;
      self->strand_->post([self] {
        if (self->dead_) return;
        const int level = self->options_.backend->log_level();
        if (level != self->level_) {
          self->level_ = level;
          Writer w;
          w.u8(static_cast<uint8_t>(level));
          self->channel_->send(FrameType::kLevel, 0, std::move(w));
        }
        self->watch_level();
      });
    });
  }

  // Nobody may call it for a long time: that it runs at all is asked for.
  void watch_life() {
    const uint64_t limit = options_.alive_ns;
    ask(FrameType::kPing, Writer(), limit, [weak = weak_from_this(), limit](Result<std::string> r) {
      auto self = weak.lock();
      if (!self || self->dead_ || self->killed_) return;
      if (!r) {
        if (r.error().code == PINTLE_TIMEOUT) self->put_down("did not answer for " + std::to_string(limit / kSecond) + " s");
        return;
      }
      self->executor().after(limit / 3, [weak] {
        if (auto again = weak.lock()) again->strand_->post([again] { again->watch_life(); });
      });
    });
  }

  // ---- questions to the other process
  struct Question {
    std::function<void(Result<std::string>)> fn;  // payload of the answer behind its error
    TimerId timer = 0;
  };
  // `fn` runs once: the answer, TIMEOUT, or what ended the process. [strand]
  void ask(FrameType type, Writer w, uint64_t limit_ns, std::function<void(Result<std::string>)> fn) {
    if (dead_ || !channel_) return fn(Error(PINTLE_UNAVAILABLE, "plugin \"" + options_.name + "\" " + (why_.empty() ? "is not started" : why_)));
    const uint64_t id = next_question_++;
    Question q;
    q.fn = std::move(fn);
    q.timer = executor().after(limit_ns, [weak = weak_from_this(), id] {
      if (auto self = weak.lock())
        self->strand_->post([self, id] { self->settle(id, Error(PINTLE_TIMEOUT, "no answer in time")); });
    });
    questions_.emplace(id, std::move(q));
    channel_->send(type, id, std::move(w));
  }
  void settle(uint64_t id, Result<std::string> result) {
    const auto at = questions_.find(id);
    if (at == questions_.end()) return;
    auto q = std::move(at->second);
    questions_.erase(at);
    executor().cancel(q.timer);
    q.fn(std::move(result));
  }
  // A control function; one that does not return costs the process its life.
  void control(FrameType type, const char* what, Writer w, Done done) {
    const uint64_t limit = options_.start_deadline_ns;
    ask(type, std::move(w), limit, [self = shared_from_this(), what, limit, done = std::move(done)](Result<std::string> r) {
      if (r) return done({});
      if (r.error().code != PINTLE_TIMEOUT || r.error().text != "no answer in time") return done(r.error());
      const std::string text = std::string(what) + " did not return within " + std::to_string(limit / kSecond) + " s";
      self->put_down(text);
      done(Error(PINTLE_TIMEOUT, text));
    });
  }

  // ---- frames
  void on_frame(Frame frame) {
    if (dead_ || killed_) return;
    const FrameType type = frame.type;
    if (!take(std::move(frame))) put_down("sent a frame that makes no sense (type " + std::to_string(static_cast<int>(type)) + ")");
  }
  bool take(Frame frame) {
    switch (frame.type) {
      case FrameType::kAnswer: {
        Reader r(frame.payload);
        Error error = get_error(r);
        const std::string_view rest = r.text();
        if (!r.at_end()) return false;
        if (error.code != PINTLE_OK) settle(frame.id, std::move(error));
        else settle(frame.id, std::string(rest));
        return true;
      }
      case FrameType::kState: {
        Reader r(frame.payload);
        const uint8_t s = r.u8();
        if (!r.at_end()) return false;
        if (starting_ && s == static_cast<uint8_t>(PluginState::kLoaded)) reach(PluginState::kLoaded);
        if (starting_ && s == static_cast<uint8_t>(PluginState::kCreated)) reach(PluginState::kCreated);
        return true;
      }
      case FrameType::kCall: return callee_->on_call(std::move(frame));
      case FrameType::kCallCredit: return callee_->on_credit(frame);
      case FrameType::kCallCancel: return callee_->on_cancel(frame);
      case FrameType::kPart: return caller_->on_part(std::move(frame));
      case FrameType::kDone: return caller_->on_done(std::move(frame));
      default: return services_->on_frame(frame);
    }
  }

  // ---- the end
  // The process is ended because of `why`; on_process_end() does the rest.
  void put_down(const std::string& why) {
    if (dead_ || killed_) return;
    killed_ = true;
    why_ = why;
    accepting_ = false;
    log::error("plugin", "\"" + options_.name + "\" (process " + std::to_string(pid_) + ") " + why + ": killed");
    process_->kill();
  }

  void on_channel_end(const std::string& why) {
    channel_over_ = true;
    if (dead_) return;
    if (!why.empty()) return put_down(why);
    accepting_ = false;
    if (process_over_) return died();
    // It is about to exit, or it has only closed its end.
    kill_after(kExitNs, "closed its connection");
  }
  void on_process_end(const std::string& how) {
    process_over_ = true;
    accepting_ = false;
    how_ = how;
    // What it said last may still be on its way; somebody else may hold the other end.
    if (channel_over_ || killed_) return died();
    executor().after(kGraceNs, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->strand_->post([self] { self->died(); });
    });
  }
  void kill_after(uint64_t delay, const char* why) {
    executor().after(delay, [weak = weak_from_this(), why] {
      if (auto self = weak.lock())
        self->strand_->post([self, why] {
          if (!self->process_over_ && !self->dead_) self->put_down(why);
        });
    });
  }
  void died() {
    if (dead_) return;
    dead_ = true;
    const bool expected = stop_answered_;
    if (why_.empty()) why_ = how_;
    channel_->close();
    const std::string text = "plugin \"" + options_.name + "\" " + why_;
    const Error error(PINTLE_UNAVAILABLE, text);
    const bool was_running = state_ == PluginState::kStarted || state_ == PluginState::kActive;
    if (!expected) {
      log::error("plugin", "process " + std::to_string(pid_) + " of " + text);
      if (!ended_) reach(PluginState::kFailed, why_);
    }
    caller_->end(error);
    callee_->end();
    services_->end();
    std::vector<uint64_t> ids;
    for (const auto& [id, q] : questions_) ids.push_back(id);
    for (const uint64_t id : ids) settle(id, error);
    if (ended_) return finish_stop();
    if (was_running && options_.events.on_exit) options_.events.on_exit(Error(PINTLE_UNAVAILABLE, why_));
  }

  // ---- drain and stop
  void drain_now(uint64_t deadline, Done done) {
    if (dead_ || killed_ || (state_ != PluginState::kStarted && state_ != PluginState::kActive)) return done({});
    reach(PluginState::kDraining);
    struct Wait {
      bool answered = false, quiet = false, over = false;
      Result<void> result;
      Done done;
      TimerId timer = 0;
      uint64_t waiter = 0;
    };
    auto wait = std::make_shared<Wait>();
    wait->done = std::move(done);
    auto self = shared_from_this();
    const auto look = [self, wait](bool late) {
      if (wait->over || (!late && !(wait->answered && wait->quiet))) return;
      wait->over = true;
      self->executor().cancel(wait->timer);
      if (late) {
        self->scope_->traffic.forget(wait->waiter);
        if (const uint64_t open = self->scope_->traffic.get(Traffic::kOpen)) wait->result = Error(PINTLE_TIMEOUT, std::to_string(open) + (open == 1 ? " call" : " calls") + " had to be cancelled");
        else if (!wait->answered) wait->result = Error(PINTLE_TIMEOUT, "drain did not answer in time");
        self->scope_->cancel_all();
      }
      wait->done(wait->result);
    };
    const uint64_t now = executor().now(), left = (deadline > now ? deadline - now : 0) + kGraceNs;
    wait->timer = executor().after(left, [self, look] { self->strand_->post([look] { look(true); }); });
    Writer w;
    w.u64(deadline);
    ask(FrameType::kDrain, std::move(w), left + kSecond, [wait, look](Result<std::string> r) {
      wait->answered = true;
      if (!r && r.error().code == PINTLE_TIMEOUT) wait->result = r.error();
      look(false);
    });
    wait->waiter = scope_->traffic.when_zero({Traffic::kOpen, Traffic::kMethods}, [self, wait, look] {
      self->strand_->post([wait, look] {
        wait->quiet = true;
        look(false);
      });
    });
  }

  void stop_now(uint64_t deadline, std::function<void(Ending)> done) {
    ended_ = std::move(done);
    if (dead_ || !process_) return finish_stop();
    if (killed_) return;  // on_process_end() goes on
    const uint64_t now = executor().now();
    const uint64_t left = std::max<uint64_t>(deadline > now ? deadline - now : 0, kSecond);
    Writer w;
    w.u64(now + left);
    auto self = shared_from_this();
    ask(FrameType::kStop, std::move(w), left + kGraceNs, [self](Result<std::string> r) {
      if (self->dead_) return;
      if (!r) {
        self->left_ = "it did not stop in time and was killed";
        return self->put_down("did not stop in time");
      }
      self->stop_answered_ = true;
      if (!r->empty()) self->left_ = *r + "; gone with its process";
      self->reach(PluginState::kStopped);
      self->reach(PluginState::kDestroyed);
      self->channel_->close();  // it exits when it sees that
      self->channel_over_ = true;
      if (self->process_over_) return self->died();
      self->kill_after(kExitNs, "did not exit after it had stopped");
    });
  }
  void finish_stop() {
    reach(PluginState::kUnloaded, left_);
    auto done = std::move(ended_);
    ended_ = nullptr;
    done({PluginState::kUnloaded, !left_.empty() || stop_answered_ ? left_ : why_});
  }

  const InstanceOptions options_;
  const std::string program_;
  const std::shared_ptr<Strand> strand_;
  const std::shared_ptr<CallScope> scope_ = std::make_shared<CallScope>();
  std::atomic<PluginState> state_{PluginState::kInspected};
  std::atomic<bool> accepting_{false};
  std::atomic<uint32_t> pid_{0};
  // Set before accepting_ and pid_.
  std::shared_ptr<Channel> channel_;
  std::shared_ptr<Process> process_;
  std::shared_ptr<RemoteCaller> caller_;
  std::shared_ptr<RemoteCallee> callee_;
  std::shared_ptr<RemoteServices> services_;
  // strand
  int level_ = PINTLE_LOG_INFO;
  bool starting_ = false, killed_ = false, dead_ = false, channel_over_ = false, process_over_ = false, stop_answered_ = false;
  std::string why_, how_, left_;
  std::unordered_map<uint64_t, Question> questions_;
  uint64_t next_question_ = 1;
  std::function<void(Ending)> ended_;
};

}  // namespace

Result<std::shared_ptr<Instance>> make_process_instance(InstanceOptions options, const std::string& program) {
  if (options.backend->executor().simulated()) return Error(PINTLE_UNSUPPORTED, "a plugin cannot have its own process in simulation");
  return std::shared_ptr<Instance>(std::make_shared<ProcessInstance>(std::move(options), program));
}

}  // namespace pintle::kernel

#include "kernel/host/session.h"

#include <unistd.h>

#include <cstdio>

#include "kernel/host/metrics.h"
#include "kernel/host/remote_backend.h"
#include "kernel/plugin/instance.h"
#include "kernel/plugin/inventory.h"

namespace pintle::kernel {
namespace {

constexpr uint64_t kMetricsNs = 1000000000;

[[noreturn]] void leave(int code, const char* why) {
  if (code != 0) std::fprintf(stderr, "pintle-host: %s\n", why);
  std::fflush(stderr);
  ::_exit(code);  // no destructors: other threads run on, and the plugin has been stopped or is past help
}

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Executor& executor, int fd) : executor_(executor), channel_(std::make_shared<Channel>(fd)) {}
  void open() {
    auto self = shared_from_this();
    callee_ = std::make_shared<RemoteCallee>(channel_, [self](const std::string&, Invoke call) -> std::shared_ptr<OpenCall> {
      return self->instance_->invoke(std::move(call));
    });
    channel_->open({[self](Frame frame) {
                      const int type = static_cast<int>(frame.type);
                      if (!self->on_frame(std::move(frame))) leave(3, ("a frame of type " + std::to_string(type) + " makes no sense").c_str());
                    },
                    [](std::string why) { leave(why.empty() ? 0 : 3, why.c_str()); }});
  }

 private:
  bool on_frame(Frame frame) {
    Reader r(frame.payload);
    if (frame.type == FrameType::kHello) return hello(r);
    if (!backend_) return false;
    const uint64_t id = frame.id;
    auto self = shared_from_this();
    const auto answer = [self, id](Result<void> result) { self->answer(id, result); };
    switch (frame.type) {
      case FrameType::kStart:
        // The file is read and hashed: not on the thread that waits on descriptors.
        executor_.post_blocking([self, answer] { self->start(answer); });
        return r.at_end();
      case FrameType::kActivate: {
        const std::string slot = r.string();
        const uint64_t epoch = r.u64();
        if (!r.at_end() || !instance_) return false;
        instance_->activate(slot, epoch, answer);
        return true;
      }
      case FrameType::kReconfigure: {
        std::string config = r.string();
        if (!r.at_end() || !instance_) return false;
        instance_->reconfigure(std::move(config), answer);
        return true;
      }
      case FrameType::kDrain: {
        const uint64_t deadline = r.u64();
        if (!r.at_end() || !instance_) return false;
        instance_->drain(deadline, answer);
        return true;
      }
      case FrameType::kStop: {
        const uint64_t deadline = r.u64();
        if (!r.at_end()) return false;
        if (!instance_) {
          answer({});
          return true;
        }
        instance_->stop(deadline, [self, id](Ending e) {
          self->send_metrics();
          self->answer(id, {}, e.state == PluginState::kParked ? e.message : "");
        });
        return true;
      }
      case FrameType::kPing:
        // From the pool and not from here: it is the plugin's threads that may hang.
        executor_.post([answer] { answer({}); });
        return r.at_end();
      case FrameType::kCall: return instance_ && callee_->on_call(std::move(frame));
      case FrameType::kCallCredit: return callee_->on_credit(frame);
      case FrameType::kCallCancel: return callee_->on_cancel(frame);
      default: return backend_->on_frame(std::move(frame));
    }
  }

  bool hello(Reader& r) {
    const uint32_t protocol = r.u32();
    r.u64();
    options_.name = r.string();
    options_.file = r.string();
    options_.digest = r.string();
    options_.config = r.string();
    const int level = r.u8();
    if (!r.at_end() || backend_) return false;
    if (protocol != kProtocol) leave(3, "pintled and pintle-host are not of one version");
    backend_ = std::make_shared<RemoteBackend>(executor_, channel_, options_.name);
    backend_->set_level(level);
    return true;
  }

  void start(const std::function<void(Result<void>)>& answer_start) {
    const PluginFile file = inspect_file(options_.file);
    if (!file.manifest) return answer_start(file.error);
    options_.manifest = file.manifest;
    options_.backend = backend_;
    // pintled keeps the deadline and ends this process when it passes.
    options_.start_deadline_ns = UINT64_MAX / 4;
    options_.events.on_state = [channel = channel_](PluginState s, const std::string&) {
      if (s != PluginState::kLoaded && s != PluginState::kCreated) return;
      Writer w;
      w.u8(static_cast<uint8_t>(s));
      channel->send(FrameType::kState, 0, std::move(w));
    };
    instance_ = make_in_process_instance(options_, "");
    watch_metrics();
    instance_->start(answer_start);
  }

  void answer(uint64_t id, const Result<void>& result, const std::string& rest = {}) {
    Error error;
    error.code = PINTLE_OK;
    Writer w;
    put(w, result ? error : result.error());
    w.text(rest);
    channel_->send(FrameType::kAnswer, id, std::move(w));
  }

  void send_metrics() {
    std::lock_guard lock(metrics_mutex_);
    Writer w;
    if (write_metric_changes(w)) channel_->send(FrameType::kMetrics, 0, std::move(w));
  }
  void watch_metrics() {
    executor_.after(kMetricsNs, [self = shared_from_this()] {
      self->send_metrics();
      self->watch_metrics();
    });
  }

  Executor& executor_;
  const std::shared_ptr<Channel> channel_;
  std::shared_ptr<RemoteCallee> callee_;
  std::shared_ptr<RemoteBackend> backend_;
  InstanceOptions options_;
  // Set by start(); pintled asks for nothing else before that is answered, except to stop.
  std::shared_ptr<Instance> instance_;
  std::mutex metrics_mutex_;
};

}  // namespace

void serve(Executor& executor, int fd) { std::make_shared<Session>(executor, fd)->open(); }

}  // namespace pintle::kernel

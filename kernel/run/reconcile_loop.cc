#include "kernel/run/reconcile_loop.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "kernel/run/reconcile_watch.h"
#include "kernel/run/work_queue.h"

namespace pintle::kernel {
namespace {

constexpr uint32_t kDescribe = 0, kReconcile = 2;
constexpr int kWarn = 3;

// One controller: its watches, its queue, its workers.
class Loop : public std::enable_shared_from_this<Loop> {
 public:
  static Result<std::shared_ptr<Loop>> make(const ReconcileServices& services, const json::Value& v) {
    auto loop = std::shared_ptr<Loop>(new Loop(services));
    loop->name_ = v["name"].as_string();
    if (loop->name_.empty()) return Error(PINTLE_INVALID, "a controller has no name");
    loop->workers_ = static_cast<size_t>(std::clamp<int64_t>(v["workers"].as_int(1), 1, 64));
    loop->resync_ns_ = static_cast<uint64_t>(std::max<int64_t>(v["resyncSeconds"].as_int(0), 0)) * 1000000000;
    loop->batch_ = static_cast<size_t>(std::clamp<int64_t>(v.at("batch.max").as_int(1), 1, 10000));
    loop->delay_ns_ = static_cast<uint64_t>(std::max<int64_t>(v.at("batch.delayMs").as_int(0), 0)) * 1000000;
    std::weak_ptr<Loop> weak = loop;
    loop->queue_ = std::make_unique<WorkQueue>(services.executor, [weak] {
      if (auto self = weak.lock()) self->wake();
    });
    for (const auto& w : v["watches"].items()) {
      Result<WatchSpec> spec = WatchSpec::parse(w);
      if (!spec) return Error(PINTLE_INVALID, "controller \"" + loop->name_ + "\": " + spec.error().text);
      loop->watches_.push_back(std::make_shared<ReconcileWatch>(services, loop->name_, std::move(*spec), [weak](const std::vector<std::string>& keys) {
        if (auto self = weak.lock()) self->queue_->add_all(keys);
      }));
    }
    return loop;
  }

  const std::string& name() const { return name_; }

  void start() {
    for (auto& w : watches_) w->start();
    schedule_resync();
  }

  void drain(std::function<void()> done) {
    for (auto& w : watches_) w->stop();
    queue_->shut_down();
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
      if (resync_) services_.executor.cancel(resync_);
      if (in_hand_ != 0) {
        drained_ = std::move(done);
        return;
      }
    }
    services_.executor.post(std::move(done));
  }

  json::Value metrics() const {
    json::Value v = queue_->metrics();
    std::lock_guard lock(mutex_);
    v.set("reconciles", reconciles_);
    v.set("errors", errors_);
    v.set("seconds", static_cast<double>(nanoseconds_) / 1e9);
    return v;
  }

 private:
  explicit Loop(const ReconcileServices& services) : services_(services) {}

  void schedule_resync() {
    if (resync_ns_ == 0) return;
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    resync_ = services_.executor.after(resync_ns_, [weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self) return;
      for (auto& w : self->watches_) w->resync();
      self->schedule_resync();
    });
  }

  // There is something in the queue.
  void wake() {
    {
      std::lock_guard lock(mutex_);
      if (stopped_ || pending_) return;
      pending_ = true;
    }
    auto run = [self = shared_from_this()] { self->dispatch(); };
    // A batch is worth waiting for a moment.
    if (delay_ns_ != 0 && batch_ > 1) services_.executor.after(delay_ns_, std::move(run));
    else services_.executor.post(std::move(run));
  }

  void dispatch() {
    {
      std::lock_guard lock(mutex_);
      pending_ = false;
    }
    for (;;) {
      {
        std::lock_guard lock(mutex_);
        if (stopped_ || in_hand_ >= workers_) return;
        ++in_hand_;
      }
      std::vector<std::string> keys = queue_->take(batch_);
      if (keys.empty()) {
        release();
        // A key that came between take() and release() found all workers busy.
        if (queue_->waiting() == 0) return;
        continue;
      }
      reconcile(std::move(keys));
    }
  }

  void reconcile(std::vector<std::string> keys) {
    std::string request = "{\"controller\":";
    json::quote(name_, request);
    request += ",\"keys\":[";
    for (size_t i = 0; i < keys.size(); ++i) {
      if (i) request += ',';
      json::quote(keys[i], request);
    }
    request += "]}";
    const uint64_t began = services_.executor.now();
    services_.call(kReconcile, std::move(request), [self = shared_from_this(), keys = std::move(keys), began](Result<std::string> r) {
      self->finish(keys, r, began);
    });
  }

  void finish(const std::vector<std::string>& keys, const Result<std::string>& r, uint64_t began) {
    size_t failed = 0;
    if (!r) {
      failed = keys.size();
      if (r.error().code != PINTLE_UNAVAILABLE && r.error().code != PINTLE_DEPOSED)
        services_.log(kWarn, "controller " + name_ + ": reconcile: " + r.error().text);
      for (const auto& key : keys) queue_->retry(key);
    } else {
      const json::Value reply = json::parse_or_null(*r);
      const auto& results = reply["results"].items();
      for (const auto& key : keys) {
        const auto at = std::find_if(results.begin(), results.end(), [&](const json::Value& v) { return v["key"].as_string() == key; });
        const std::string_view result = at == results.end() ? "done" : (*at)["result"].as_string("done");
        if (result == "retry") {
          ++failed;
          if (const std::string_view why = (*at)["message"].as_string(); !why.empty())
            services_.log(1, "controller " + name_ + ": \"" + key + "\" again: " + std::string(why));
          queue_->retry(key);
        } else {
          queue_->finish(key);
          if (result == "after") queue_->add_after(key, static_cast<uint64_t>(std::max<int64_t>((*at)["afterMs"].as_int(0), 1)) * 1000000);
        }
      }
    }
    {
      std::lock_guard lock(mutex_);
      reconciles_ += keys.size();
      errors_ += failed;
      nanoseconds_ += services_.executor.now() - began;
    }
    release();
    dispatch();
  }

  void release() {
    std::function<void()> done;
    {
      std::lock_guard lock(mutex_);
      --in_hand_;
      if (stopped_ && in_hand_ == 0) done = std::move(drained_);
    }
    if (done) services_.executor.post(std::move(done));
  }

  const ReconcileServices services_;
  std::string name_;
  size_t workers_ = 1, batch_ = 1;
  uint64_t resync_ns_ = 0, delay_ns_ = 0;
  std::unique_ptr<WorkQueue> queue_;
  std::vector<std::shared_ptr<ReconcileWatch>> watches_;
  mutable std::mutex mutex_;
  bool pending_ = false, stopped_ = false;
  size_t in_hand_ = 0;
  TimerId resync_ = 0;
  std::function<void()> drained_;
  uint64_t reconciles_ = 0, errors_ = 0, nanoseconds_ = 0;
};

class Loops final : public ReconcileLoops {
 public:
  explicit Loops(ReconcileServices services) : services_(std::move(services)) {}

  void start(std::function<void(Result<void>)> done) override {
    auto self = std::static_pointer_cast<Loops>(shared_from_this());
    services_.call(kDescribe, "{}", [self, done = std::move(done)](Result<std::string> r) {
      if (!r) return done(Error(r.error().code, "describe: " + r.error().text));
      const json::ParseResult parsed = json::parse(*r);
      if (!parsed) return done(Error(PINTLE_INVALID, "describe did not answer JSON: " + parsed.error));
      std::vector<std::shared_ptr<Loop>> loops;
      for (const auto& c : parsed.value["controllers"].items()) {
        auto loop = Loop::make(self->services_, c);
        if (!loop) return done(loop.error());
        loops.push_back(*loop);
      }
      {
        std::lock_guard lock(self->mutex_);
        if (self->stopped_) return done({});
        self->loops_ = loops;
      }
      for (auto& l : loops) l->start();
      done({});
    });
  }

  void drain(std::function<void()> done) override {
    std::vector<std::shared_ptr<Loop>> loops;
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
      loops = loops_;
    }
    if (loops.empty()) return services_.executor.post(std::move(done));
    auto left = std::make_shared<std::atomic<size_t>>(loops.size());
    for (auto& l : loops)
      l->drain([left, done] {
        if (--*left == 0) done();
      });
  }

  json::Value metrics() const override {
    json::Value v = json::Value::object();
    std::lock_guard lock(mutex_);
    for (const auto& l : loops_) v.set(l->name(), l->metrics());
    return v;
  }

 private:
  const ReconcileServices services_;
  mutable std::mutex mutex_;
  bool stopped_ = false;
  std::vector<std::shared_ptr<Loop>> loops_;
};

}  // namespace

std::shared_ptr<ReconcileLoops> ReconcileLoops::make(ReconcileServices services) { return std::make_shared<Loops>(std::move(services)); }

}  // namespace pintle::kernel

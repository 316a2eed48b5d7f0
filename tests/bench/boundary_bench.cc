// What the line between kernel and plugin costs, beside what the machine itself costs:
//
//   boundary_bench --do guard --plugin STAMP.so         entering plugin code through the guard against a virtual call; a whole message
//   boundary_bench --do reconcile --plugin STAMP.so --folder ON_DISK
//                   a durable commit's answer -> the plugin's reconcile is entered, against notify -> woken of a condition variable
//   boundary_bench --do load --load PLUGIN.so           dlopen() of a plugin and the look at its entry
//   boundary_bench --do sync --folder ON_DISK           one write of 1 KB and fdatasync()
//
// --count N: how often. Prints JSON.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <new>
#include <thread>

#include "kernel/bus/bus.h"
#include "kernel/plugin/inventory.h"
#include "kernel/plugin/testing.h"
#include "kernel/plugin/traffic.h"
#include "kernel/run/reconcile_loop.h"
#include "kernel/run/thread_executor.h"
#include "pintle/if/controller.h"
#include "wire.h"

namespace {
std::atomic<uint64_t> allocations{0};
}

// Not inlined: the compiler would take malloc() and delete for a mistake.
[[gnu::noinline]] void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* p = malloc(size ? size : 1)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { free(p); }

namespace pintle::bench {
namespace {

using namespace pintle::kernel;  // NOLINT: measures the kernel's own parts

class Callee {
 public:
  virtual ~Callee() = default;
  virtual uint64_t call(uint64_t n) = 0;
};
class Adder final : public Callee {
 public:
  uint64_t call(uint64_t n) override { return sum_ += n; }

 private:
  uint64_t sum_ = 0;
};
// A second one: with a single class the compiler would guess it and call directly.
class Mixer final : public Callee {
 public:
  uint64_t call(uint64_t n) override { return mix_ ^= n; }

 private:
  uint64_t mix_ = 0;
};
uint64_t add(void* context, uint64_t n) { return *static_cast<uint64_t*>(context) += n; }

// The compiler knows nothing of the value any more.
template <class T>
void forget(T& value) {
  asm volatile("" : "+r"(value));
}

class BenchInstance {
 public:
  BenchInstance(Executor& executor, const std::string& path) {
    const PluginFile file = inspect_file(path);
    if (!file.manifest) die("cannot use " + path);
    InstanceOptions o;
    o.name = "stamp";
    o.manifest = file.manifest;
    o.file = file.path;
    o.digest = file.digest;
    o.config = "{}";
    o.backend = std::make_shared<kernel::testing::PlainBackend>(executor);
    instance_ = make_in_process_instance(std::move(o), "");
    wait([&](Instance::Done done) { instance_->start(std::move(done)); });
    wait([&](Instance::Done done) { instance_->activate("plugin.stamp", 1, std::move(done)); });
  }
  ~BenchInstance() {
    std::promise<void> stopped;
    instance_->drain(UINT64_MAX / 2, [&](Result<void>) { instance_->stop(UINT64_MAX / 2, [&](const Ending&) { stopped.set_value(); }); });
    stopped.get_future().wait();
  }
  void call(uint32_t method, std::string request, std::function<void(Result<std::string>)> done) {
    Invoke c;
    c.interface_id = PINTLE_CONTROLLER;
    c.method = method;
    c.request = std::move(request);
    c.done = [done = std::move(done)](Result<Reply> r) {
      if (r) done(std::move(r->body));
      else done(r.error());
    };
    instance_->invoke(std::move(c));
  }

 private:
  static void wait(const std::function<void(Instance::Done)>& what) {
    std::promise<Result<void>> done;
    what([&](Result<void> r) { done.set_value(std::move(r)); });
    if (const Result<void> r = done.get_future().get(); !r) die(r.error().text);
  }
  std::shared_ptr<Instance> instance_;
};

void guard(const Options& o) {
  const size_t count = o.number("count", 20'000'000);
  Adder adder;
  Mixer mixer;
  Callee* callee = count == 1 ? static_cast<Callee*>(&mixer) : &adder;
  const auto virtual_start = Clock::now();
  for (size_t i = 0; i < count; ++i) {
    forget(callee);
    callee->call(i);
  }
  const double virtual_ns = seconds_since(virtual_start) / static_cast<double>(count) * 1e9;

  Traffic traffic;
  uint64_t sum = 0;
  auto method = &add;
  const uint64_t before = allocations;
  const auto guard_start = Clock::now();
  for (size_t i = 0; i < count; ++i) {
    forget(method);
    const Traffic::Inside inside(traffic, true);
    method(&sum, i);
  }
  const double guard_ns = seconds_since(guard_start) / static_cast<double>(count) * 1e9;
  const uint64_t guard_allocations = allocations - before;

  ThreadExecutor executor;
  BenchInstance stamp(executor, o.need("plugin"));
  const size_t messages = std::max<size_t>(count / 2000, 10);
  const uint64_t messages_before = allocations;
  const auto message_start = Clock::now();
  for (size_t i = 0; i < messages; ++i) {
    std::promise<void> answered;
    stamp.call(2, R"({"controller":"stamp","keys":["a/b"]})", [&](const Result<std::string>&) { answered.set_value(); });
    answered.get_future().wait();
  }
  std::printf("{\"virtual_ns\":%.3f,\"guard_ns\":%.3f,\"allocations\":%.3f,\"message_us\":%.2f,\"message_allocations\":%.1f}\n", virtual_ns, guard_ns,
              static_cast<double>(guard_allocations) / static_cast<double>(count), seconds_since(message_start) / static_cast<double>(messages) * 1e6,
              static_cast<double>(allocations - messages_before) / static_cast<double>(messages));
}

// A thread that waits, and the time it takes until it runs.
class Sleeper {
 public:
  Sleeper() : thread_([this] { run(); }) {}
  ~Sleeper() {
    wake(0);
    thread_.join();
  }
  double measure() {
    std::promise<double> woken;
    auto future = woken.get_future();
    answer_ = &woken;
    wake(1);
    return future.get();
  }

 private:
  void wake(int what) {
    {
      const std::lock_guard lock(mutex_);
      what_ = what;
      at_ = Clock::now();
    }
    condition_.notify_one();
  }
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      condition_.wait(lock, [&] { return what_ >= 0; });
      const double us = seconds_since(at_) * 1e6;
      if (std::exchange(what_, -1) == 0) return;
      answer_->set_value(us);
    }
  }
  std::mutex mutex_;
  std::condition_variable condition_;
  int what_ = -1;
  Clock::time_point at_;
  std::promise<double>* answer_ = nullptr;
  std::thread thread_;
};

Transaction row(size_t n) {
  const std::string name = "r" + std::to_string(n);
  std::string head = "{\"apiVersion\":\"v1\",\"kind\":\"Row\",\"metadata\":{\"name\":\"" + name + "\",\"resourceVersion\":\"";
  const size_t at = head.size();
  head += "\"},\"data\":\"" + std::string(900, 'd') + "\"}";
  Transaction txn;
  txn.puts.push_back({{"rows", "bench", name}, std::move(head), at});
  return txn;
}

void reconcile(const Options& o) {
  const size_t count = o.number("count", 500), rounds = o.number("rounds", 5);
  ThreadExecutor executor;
  BenchInstance stamp(executor, o.need("plugin"));
  auto store = open_store(executor, {.path = o.need("folder")});
  if (!store) die(store.error().text);
  auto bus = make_bus(**store, executor);
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t committed = 0, entered = 0;
  const ReconcileServices services{executor, **store, *bus,
                                   [&](uint32_t method, std::string request, std::function<void(Result<std::string>)> done) {
                                     stamp.call(method, std::move(request), [&, method, done = std::move(done)](Result<std::string> r) {
                                       if (method == 2 && r) {
                                         const std::lock_guard lock(mutex);
                                         entered = static_cast<uint64_t>(json::parse_or_null(*r)["at"].as_int());
                                         changed.notify_all();
                                       }
                                       done(std::move(r));
                                     });
                                   },
                                   [](const std::string&) { return std::pair<std::string, std::string>(); }, nullptr, "stamp",
                                   [](int, const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); }};
  auto loops = ReconcileLoops::make(services);
  std::promise<void> started;
  loops->start([&](Result<void> r) {
    if (!r) die(r.error().text);
    started.set_value();
  });
  started.get_future().wait();
  Sleeper sleeper;
  std::printf("[");
  for (size_t round = 0; round < rounds; ++round) {
    std::vector<double> condition, commit;
    for (size_t i = 0; i < count; ++i) {
      condition.push_back(sleeper.measure());
      std::unique_lock lock(mutex);
      committed = entered = 0;
      (*store)->commit(row(round * count + i), [&](const Result<Committed>& r) {
        const uint64_t now = executor.now();
        if (!r) die(r.error().text);
        const std::lock_guard inner(mutex);
        committed = now;
        changed.notify_all();
      });
      if (!changed.wait_for(lock, std::chrono::seconds(10), [&] { return committed && entered; })) die("the controller was not asked");
      commit.push_back(entered > committed ? static_cast<double>(entered - committed) / 1e3 : 0);
    }
    std::printf("%s{\"condvar_p50_us\":%.1f,\"condvar_p99_us\":%.1f,\"reconcile_p50_us\":%.1f,\"reconcile_p99_us\":%.1f}", round ? "," : "",
                percentile(condition, 0.5), percentile(condition, 0.99), percentile(commit, 0.5), percentile(commit, 0.99));
  }
  std::printf("]\n");
  std::promise<void> drained;
  loops->drain([&] { drained.set_value(); });
  drained.get_future().wait();
}

void load(const Options& o) {
  std::vector<double> micros;
  for (size_t i = 0; i < o.number("count", 50); ++i) {
    const auto start = Clock::now();
    void* handle = dlopen(o.need("load").c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle || !dlsym(handle, "pintle_plugin_entry")) die("cannot load " + o.need("load"));
    micros.push_back(seconds_since(start) * 1e6);
    dlclose(handle);
  }
  std::printf("{\"load_us\":%.1f}\n", percentile(micros, 0.5));
}

void sync(const Options& o) {
  const std::string path = o.need("folder") + "/sync";
  const int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) die("cannot write " + path);
  const std::string text(1024, 'r');
  std::vector<double> micros;
  for (size_t i = 0; i < o.number("count", 200); ++i) {
    const auto start = Clock::now();
    if (write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()) || fdatasync(fd) != 0) die("cannot write " + path);
    micros.push_back(seconds_since(start) * 1e6);
  }
  close(fd);
  unlink(path.c_str());
  std::printf("{\"sync_us\":%.1f}\n", percentile(micros, 0.5));
}

}  // namespace
}  // namespace pintle::bench

int main(int argc, char** argv) {
  const pintle::bench::Options options(argc, argv);
  const std::string what = options.need("do");
  if (what == "guard") pintle::bench::guard(options);
  else if (what == "reconcile") pintle::bench::reconcile(options);
  else if (what == "load") pintle::bench::load(options);
  else if (what == "sync") pintle::bench::sync(options);
  else pintle::bench::die("--do " + what + "?");
}

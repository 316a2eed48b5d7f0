// Durable rows per second of the store alone, and watch fan-out. Prints one line per row of the table:
//
//   store_bench [FOLDER [SECONDS [WRITERS]]]     FOLDER: on the disk to be measured (default: a new one in the temporary folder)
//                                                WRITERS: only so many, no fan-out
//
// A writer waits for its commit to be durable before the next one; rows are new objects of 1 KB.
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "kernel/bus/bus.h"
#include "kernel/run/thread_executor.h"
#include "kernel/store/store.h"

namespace pintle::kernel {
namespace {

using Clock = std::chrono::steady_clock;

Transaction row(const std::string& kind, size_t writer, size_t n) {
  const std::string name = std::to_string(writer) + "-" + std::to_string(n);
  std::string head = "{\"apiVersion\":\"v1\",\"kind\":\"Row\",\"metadata\":{\"name\":\"" + name + "\",\"resourceVersion\":\"";
  const size_t at = head.size();
  head += "\"},\"data\":\"" + std::string(900, 'd') + "\"}";
  Transaction txn;
  txn.puts.push_back({{kind, "bench", name}, std::move(head), at});
  return txn;
}

// `writers` chains of commits: each answer starts the next commit.
class Load {
 public:
  Load(Store& store, std::string kind, size_t writers) : store_(store), kind_(std::move(kind)), latencies_(writers) {}

  void run(double seconds) {
    const auto start = Clock::now();
    until_ = start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    running_ = latencies_.size();
    for (size_t w = 0; w < latencies_.size(); ++w) next(w);
    std::unique_lock lock(mu_);
    done_.wait(lock, [&] { return running_ == 0; });
    elapsed_ = std::chrono::duration<double>(Clock::now() - start).count();
  }
  void print(const char* what) {
    std::vector<double> all;
    for (const std::vector<double>& one : latencies_) all.insert(all.end(), one.begin(), one.end());
    std::sort(all.begin(), all.end());
    if (all.empty()) return;
    const auto at = [&](double p) { return all[std::min(all.size() - 1, static_cast<size_t>(p * static_cast<double>(all.size())))]; };
    std::printf("%s %zu writers: %.0f rows/s, p50 %.2f ms, p99 %.2f ms\n", what, latencies_.size(),
                static_cast<double>(all.size()) / elapsed_, at(0.5), at(0.99));
    std::fflush(stdout);
  }

 private:
  void next(size_t w) {
    const auto start = Clock::now();
    store_.commit(row(kind_, w, latencies_[w].size()), [this, w, start](Result<Committed> result) {
      if (!result) {
        std::fprintf(stderr, "%s\n", result.error().text.c_str());
        std::exit(1);
      }
      const auto now = Clock::now();
      latencies_[w].push_back(std::chrono::duration<double, std::milli>(now - start).count());
      if (now < until_) {
        next(w);
        return;
      }
      const std::lock_guard lock(mu_);
      if (--running_ == 0) done_.notify_all();
    });
  }

  Store& store_;
  const std::string kind_;
  std::vector<std::vector<double>> latencies_;
  Clock::time_point until_;
  double elapsed_ = 0;
  std::mutex mu_;
  std::condition_variable done_;
  size_t running_ = 0;
};

// One writer, in memory; every change goes to all watches. The time until the last one has taken it.
void fan_out(ThreadExecutor& executor, size_t watches, size_t changes) {
  auto store = std::move(*open_store(executor, {}));
  auto bus = make_bus(*store, executor);
  std::mutex mu;
  std::condition_variable all;
  std::atomic<size_t> taken = 0;
  size_t open = 0;  // tasks that use what is on this stack
  const size_t wanted = watches * changes;
  std::vector<uint64_t> ids(watches);
  for (size_t i = 0; i < watches; ++i) {
    ids[i] = *bus->watch({.kind = "fan", .budget_bytes = 64u << 20}, [&, i] {
      {
        const std::lock_guard lock(mu);
        ++open;
      }
      executor.post([&, i] {
        for (size_t n = 1; n > 0;) taken += n = bus->take(ids[i]).changes.size();
        const std::lock_guard lock(mu);
        --open;
        if (open == 0) all.notify_all();
      });
    });
  }
  const auto start = Clock::now();
  for (size_t i = 0; i < changes; ++i) {
    store->commit(row("fan", 0, i), [](const Result<Committed>&) {});
  }
  {
    std::unique_lock lock(mu);
    all.wait(lock, [&] { return taken >= wanted && open == 0; });
  }
  const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  std::printf("fan-out to %zu watches: %.0f events/s (%zu changes in %.0f ms)\n", watches,
              static_cast<double>(wanted) / elapsed, changes, elapsed * 1000);
  for (const uint64_t id : ids) bus->unwatch(id);
}

int run(const std::string& folder, double seconds, size_t only) {
  ThreadExecutor executor;
  {
    auto store = open_store(executor, {.path = folder});
    if (!store) {
      std::fprintf(stderr, "%s\n", store.error().text.c_str());
      return 1;
    }
    for (const size_t writers : only ? std::vector<size_t>{only} : std::vector<size_t>{1, 64, 256}) {
      Load load(**store, "rows" + std::to_string(writers), writers);
      const int64_t groups = (*store)->metrics()["groups"].as_int();
      load.run(seconds);
      load.print("durable,");
      std::printf("  in %ld groups\n", static_cast<long>((*store)->metrics()["groups"].as_int() - groups));
    }
  }
  if (!only) fan_out(executor, 1000, 1000);
  return 0;
}

}  // namespace
}  // namespace pintle::kernel

int main(int argc, char** argv) {
  const double seconds = argc > 2 ? std::atof(argv[2]) : 3;
  const size_t only = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 0;
  if (argc > 1) return pintle::kernel::run(argv[1], seconds, only);
  std::string folder = (std::filesystem::temp_directory_path() / "pintle-bench-XXXXXX").string();
  if (!mkdtemp(folder.data())) return 1;
  const int code = pintle::kernel::run(folder, seconds, only);
  std::filesystem::remove_all(folder);
  return code;
}

// Times on a running cluster, seen through one watch of pods (HTTPS):
//
//   workload_bench --address A --cert F --key F --do deployment [--pods 100] [--name N]
//       POST of a Deployment -> the last of its pods is created (durable: watches show nothing else)
//   workload_bench ... --do schedule [--pods 5000] [--connections 16] [--name N]
//       POST of the first pod -> the last bind
//   workload_bench ... --do swap [--pods 5000] [--rate 1000] [--swaps 4]
//       pods at a rate; the scheduler changes meanwhile: the longest time without a bind around each change
//
// Prints one JSON line.
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "wire.h"

namespace pintle::bench {
namespace {

// The pods of one label, as their watch shows them. Threads: its own writes, any asks.
class PodWatch {
 public:
  PodWatch(const TlsContext& tls, const std::string& address, const std::string& label, size_t wanted, bool bound)
      : wire_(tls, address), wanted_(wanted), bound_(bound) {
    wire_.write(Wire::request("GET", "/api/v1/namespaces/default/pods?watch=true&labelSelector=bench%3D" + label));
    size_t head;
    while ((head = rest_.find("\r\n\r\n")) == std::string::npos) wire_.read(rest_);
    rest_.erase(0, head + 4);
    thread_ = std::thread([this] { run(); });
  }
  // Waits until all are there; the instants, in order.
  std::vector<Clock::time_point> wait() {
    {
      std::unique_lock lock(mutex_);
      if (!done_.wait_for(lock, std::chrono::seconds(240), [&] { return times_.size() >= wanted_; }))
        die(std::to_string(times_.size()) + " of " + std::to_string(wanted_) + " pods after four minutes");
    }
    shutdown(wire_.fd(), SHUT_RDWR);
    thread_.join();
    return times_;
  }
  size_t twice() const { return twice_; }

 private:
  void run() {
    for (;;) {
      size_t end;
      while ((end = rest_.find('\n')) == std::string::npos) {
        char buffer[65536];
        const int n = SSL_read(wire_.ssl(), buffer, sizeof buffer);
        if (n <= 0) return;
        rest_.append(buffer, static_cast<size_t>(n));
      }
      // Chunked framing puts its own lines between events; those begin with no brace.
      if (rest_[0] == '{') see(std::string_view(rest_).substr(0, end));
      rest_.erase(0, end + 1);
    }
  }
  static std::string_view text(std::string_view event, std::string_view key) {
    const size_t at = event.find(key);
    if (at == std::string_view::npos) return {};
    const std::string_view rest = event.substr(at + key.size());
    return rest.substr(0, rest.find('"'));
  }
  void see(std::string_view event) {
    const std::string name(text(event, "\"metadata\":{\"name\":\""));
    const std::string node(text(event, "\"nodeName\":\""));
    if (name.empty() || (bound_ && node.empty())) return;
    const auto now = Clock::now();
    const std::lock_guard lock(mutex_);
    const auto [at, fresh] = seen_.emplace(name, node);
    if (!fresh) {
      if (bound_ && at->second != node) ++twice_;
      return;
    }
    times_.push_back(now);
    if (times_.size() == wanted_) done_.notify_all();
  }

  Wire wire_;
  const size_t wanted_;
  const bool bound_;
  std::string rest_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable done_;
  std::unordered_map<std::string, std::string> seen_;
  std::vector<Clock::time_point> times_;
  size_t twice_ = 0;
};

class Workload {
 public:
  explicit Workload(const Options& o)
      : o_(o), tls_(false, o.need("cert"), o.need("key")), address_(o.need("address")), name_(o.get("name", "b" + std::to_string(getpid()))),
        pods_(o.number("pods", 100)) {}

  void deployment() {
    PodWatch watch(tls_, address_, name_, pods_, false);
    Wire wire(tls_, address_);
    const std::string labels = "{\"bench\":\"" + name_ + "\"}";
    const auto start = Clock::now();
    wire.exchange("POST", "/apis/apps/v1/namespaces/default/deployments",
                  "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"" + name_ + "\"},\"spec\":{\"replicas\":" +
                      std::to_string(pods_) + ",\"selector\":{\"matchLabels\":" + labels + "},\"template\":{\"metadata\":{\"labels\":" + labels +
                      "},\"spec\":" + kSpec + "}}}");
    const double answered = seconds_since(start) * 1e6;
    const auto times = watch.wait();
    std::printf("{\"answered_us\":%.1f,\"first_us\":%.1f,\"last_us\":%.1f}\n", answered, micros(start, times.front()), micros(start, times.back()));
  }

  void schedule() {
    PodWatch watch(tls_, address_, name_, pods_, true);
    const auto start = Clock::now();
    create(o_.number("connections", 16), [](size_t) {});
    const double created = seconds_since(start);
    const auto times = watch.wait();
    if (watch.twice()) die(std::to_string(watch.twice()) + " pods were bound twice");
    std::printf("{\"pods\":%zu,\"created_s\":%.4f,\"bound_s\":%.4f}\n", pods_, created, micros(start, times.back()) / 1e6);
  }

  void swap() {
    PodWatch watch(tls_, address_, name_, pods_, true);
    const size_t swaps = o_.number("swaps", 4);
    const double step = 1.0 / static_cast<double>(o_.number("rate", 1000));
    std::vector<std::pair<Clock::time_point, Clock::time_point>> changes;
    const auto start = Clock::now();
    const auto at = [&](size_t n) { return start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(step * static_cast<double>(n))); };
    std::thread patcher([&] {
      Wire wire(tls_, address_);
      for (size_t i = 0; i < swaps; ++i) {
        std::this_thread::sleep_until(at(pods_ * (i + 1) / (swaps + 1)));
        const bool packs = wire.exchange("GET", kSlot).find("\"status\":{\"provider\":\"scheduler-binpack\"") != std::string::npos;
        const std::string provider = packs ? "scheduler-default" : "scheduler-binpack";
        const auto before = Clock::now();
        wire.exchange("PATCH", kSlot, "{\"spec\":{\"provider\":\"" + provider + "\"}}", "application/merge-patch+json");
        while (wire.exchange("GET", kSlot).find("\"status\":{\"provider\":\"" + provider + "\"") == std::string::npos) std::this_thread::yield();
        changes.emplace_back(before, Clock::now());
      }
    });
    create(8, [&](size_t n) { std::this_thread::sleep_until(at(n)); });
    patcher.join();
    const auto times = watch.wait();
    if (watch.twice()) die(std::to_string(watch.twice()) + " pods were bound twice");
    std::vector<double> all, around;
    for (size_t i = 1; i < times.size(); ++i) all.push_back(micros(times[i - 1], times[i]));
    for (const auto& [from, to] : changes) {
      double longest = 0;
      for (size_t i = 1; i < times.size(); ++i)
        if (times[i] >= from && times[i - 1] <= to) longest = std::max(longest, micros(times[i - 1], times[i]));
      around.push_back(longest);
    }
    std::printf("{\"swaps\":%zu,\"gap_us\":%.1f,\"worst_us\":%.1f,\"usual_p99_us\":%.1f}\n", changes.size(), percentile(around, 0.5), percentile(around, 1),
                percentile(all, 0.99));
  }

 private:
  static constexpr const char* kPods = "/api/v1/namespaces/default/pods";
  static constexpr const char* kSlot = "/apis/pintle.dev/v1/slots/scheduler.default-scheduler";
  static constexpr const char* kSpec =
      "{\"containers\":[{\"name\":\"c\",\"image\":\"bench:1\",\"resources\":{\"requests\":{\"cpu\":\"10m\",\"memory\":\"16Mi\"}}}]}";

  static double micros(Clock::time_point from, Clock::time_point to) { return std::chrono::duration<double, std::micro>(to - from).count(); }
  // All pods, over so many connections; `when` may wait for the turn of a pod.
  void create(size_t connections, const std::function<void(size_t)>& when) {
    std::atomic<size_t> next = 0;
    std::vector<std::thread> clients;
    for (size_t c = 0; c < connections; ++c)
      clients.emplace_back([&] {
        Wire wire(tls_, address_);
        for (size_t n; (n = next++) < pods_;) {
          when(n);
          wire.exchange("POST", kPods,
                        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"" + name_ + "-" + std::to_string(n) + "\",\"labels\":{\"bench\":\"" +
                            name_ + "\"}},\"spec\":" + kSpec + "}");
        }
      });
    for (std::thread& c : clients) c.join();
  }

  const Options& o_;
  const TlsContext tls_;
  const std::string address_, name_;
  const size_t pods_;
};

}  // namespace
}  // namespace pintle::bench

int main(int argc, char** argv) {
  const pintle::bench::Options options(argc, argv);
  pintle::bench::Workload workload(options);
  const std::string what = options.need("do");
  if (what == "deployment") workload.deployment();
  else if (what == "schedule") workload.schedule();
  else if (what == "swap") workload.swap();
  else pintle::bench::die("--do " + what + "?");
}

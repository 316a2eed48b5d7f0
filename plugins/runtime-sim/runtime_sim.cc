#include <deque>
#include <set>

#include "machine.h"
#include "pintle/sdk.h"
#include "streams.h"

namespace pintle::runtime_sim {
namespace {

using json::Value;

class RuntimeSim final : public Plugin, public RuntimeProvider {
 public:
  RuntimeSim(Host h, const Value& config)
      : Plugin(h), strand_(h), settings_(settings(config)), machine_(h, strand_, settings_, range(config)), streams_(h, strand_, machine_) {
    machine_.changed = [this](const std::string& node, const std::string& uid, const std::string& sandbox, const std::string& id, const char* state) {
      tell(Value::object({{"type", "changed"}, {"node", node}, {"podUid", uid}, {"sandboxId", sandbox}, {"containerId", id}, {"state", state}}), node);
    };
    machine_.line = [this](const Container& c) { streams_.on_line(c); };
  }

  static Result<void> validate(const Value& config) {
    if (auto r = Addresses::from_cidr(config["podCIDR"].as_string("10.128.0.0/9")); !r) return r.error();
    return {};
  }

  void drain(Call done) override {
    with(std::move(done), [this](Call& call) {
      streams_.end_all();
      for (auto& [id, l] : std::exchange(listeners_, {})) l->call->fail(PINTLE_UNAVAILABLE, "the runtime is being stopped");
      call.reply();
    });
  }
  void stop() override {
    strand_.close();
    streams_.end_all();
    listeners_.clear();
    pulls_.clear();
    machine_.clear();
  }

  void info(Value, Call call) override {
    call.reply(Value::object({{"name", "sim"}, {"version", "0.1.0"}, {"ready", true}, {"message", ""},
                              {"capabilities", Value::array({"exec", "attach", "port_forward", "stats", "update", "network:host", "network:pod", "probe:exec", "volumes:none"})}}));
  }
  void status(Value, Call call) override { call.reply(Value::object({{"ready", true}, {"networkReady", true}, {"message", ""}})); }
  void recover(Value, Call call) override { call.reply(); }
  void reopen_log(Value, Call call) override { call.reply(); }
  void fs_info(Value, Call call) override { call.reply(Value::object({{"filesystems", Value::array()}})); }
  void update(Value rq, Call call) override {
    with(std::move(call), [this, rq](Call& c) {
      if (machine_.container(std::string(rq["id"].as_string()))) c.reply();
      else c.fail(PINTLE_NOT_FOUND, "container \"" + std::string(rq["id"].as_string()) + "\" not found");
    });
  }

  void events(Value rq, Call call) override {
    with_shared(std::move(call), [this, rq](const std::shared_ptr<Call>& c) {
      auto l = std::make_shared<Listener>();
      l->call = c;
      l->node = std::string(rq["node"].as_string());
      const uint64_t id = ++last_listener_;
      listeners_[id] = l;
      push(l, R"({"type":"sync"})");
      c->on_cancel(strand_.wrap([this, id, c] {
        listeners_.erase(id);
        if (*c) c->fail(PINTLE_CANCELLED, "the caller went away");
      }));
    });
  }

  void pull(Value rq, Call call) override {
    with_shared(std::move(call), [this, rq](const std::shared_ptr<Call>& c) {
      const std::string image(rq["image"].as_string()), node(rq["node"].as_string());
      if (image.find("sim-missing") != std::string::npos) return c->fail(PINTLE_NOT_FOUND, "image \"" + image + "\" does not exist in the simulated registry");
      const auto arrived = [this, image, node, c] {
        images_[node].insert(image);
        c->reply(Value::object({{"id", "sim:" + image}, {"size", 10'000'000}}));
      };
      if (settings_.pull_ns == 0 || images_[node].count(image)) return arrived();
      const uint64_t id = ++last_pull_;
      pulls_[id] = host.after(settings_.pull_ns, strand_.wrap([this, id, arrived] {
        pulls_.erase(id);
        arrived();
      }));
    });
  }
  void image_list(Value rq, Call call) override {
    with(std::move(call), [this, rq](Call& c) {
      Value out = Value::array();
      for (const std::string& name : images_[std::string(rq["node"].as_string())])
        out.push(Value::object({{"id", "sim:" + name}, {"names", Value::array({name})}, {"digests", Value::array()}, {"size", 10'000'000}, {"user", ""}}));
      c.reply(Value::object({{"images", std::move(out)}}));
    });
  }
  void image_remove(Value rq, Call call) override {
    with(std::move(call), [this, rq](Call& c) {
      images_[std::string(rq["node"].as_string())].erase(std::string(rq["image"].as_string()));
      c.reply();
    });
  }

  void create_pod(Value rq, Call call) override {
    with(std::move(call), [this, rq](Call& c) { answer(c, machine_.create_pod(rq)); });
  }
  void start_pod(Value rq, Call call) override {
    with(std::move(call), [this, rq](Call& c) {
      const Pod* p = machine_.pod(std::string(rq["id"].as_string()));
      if (!p) return c.fail(PINTLE_NOT_FOUND, "pod \"" + std::string(rq["id"].as_string()) + "\" not found");
      Value ips = Value::array();
      if (!p->ip.empty()) ips.push(p->ip);
      c.reply(Value::object({{"ips", std::move(ips)}}));
    });
  }
  void create(Value rq, Call call) override {
    with(std::move(call), [this, rq](Call& c) { answer(c, machine_.create(rq)); });
  }
  void start_container(Value rq, Call call) override {
    with_shared(std::move(call), [this, rq](const std::shared_ptr<Call>& c) {
      machine_.start(std::string(rq["id"].as_string()), [c](Result<void> r) {
        if (r) c->reply();
        else c->fail(r.error());
      });
    });
  }
  void stop_container(Value rq, Call call) override {
    with_shared(std::move(call), [this, rq](const std::shared_ptr<Call>& c) {
      const std::string id(rq["id"].as_string());
      const auto seconds = static_cast<uint64_t>(std::max<int64_t>(0, rq["timeoutSeconds"].as_int(30)));
      auto waiting = std::make_shared<Timer>();
      machine_.stop(id, [c, waiting] {
        waiting->reset();
        if (*c) c->reply();
      });
      if (*c)
        *waiting = host.after(seconds * 1'000'000'000, strand_.wrap([this, id] { machine_.kill(id, "KILL"); }));
    });
  }
  void kill(Value rq, Call call) override {
    with(std::move(call), [this, rq](Call& c) {
      machine_.kill(std::string(rq["id"].as_string()), rq["signal"].as_string("KILL"));
      c.reply();
    });
  }
  void remove(Value rq, Call call) override {
    with(std::move(call), [this, rq](Call& c) {
      machine_.remove(std::string(rq["id"].as_string()));
      c.reply();
    });
  }
  void remove_pod(Value rq, Call call) override {
    with(std::move(call), [this, rq](Call& c) {
      machine_.remove_pod(std::string(rq["id"].as_string()));
      c.reply();
    });
  }
  void list(Value rq, Call call) override {
    with(std::move(call), [this, rq](Call& c) { c.reply(machine_.list(rq["node"].as_string(), std::string(rq["podUid"].as_string()))); });
  }
  void stats(Value rq, Call call) override {
    with(std::move(call), [this, rq](Call& c) { c.reply(machine_.stats(rq["node"].as_string())); });
  }

  void exec(Value rq, Call call) override {
    auto ends = std::make_shared<Ends>(rq["fds"], call);
    with_shared(std::move(call), [this, rq, ends](const std::shared_ptr<Call>& c) { streams_.exec(rq, std::move(*ends), c); });
  }
  void attach(Value rq, Call call) override {
    auto ends = std::make_shared<Ends>(rq["fds"], call);
    with_shared(std::move(call), [this, rq, ends](const std::shared_ptr<Call>& c) { streams_.attach(rq, std::move(*ends), c); });
  }
  void port_forward(Value rq, Call call) override {
    const int fd = call.take_fd(0);
    with_shared(std::move(call), [this, rq, fd](const std::shared_ptr<Call>& c) { streams_.port_forward(rq, fd, c); });
  }
  void logs(Value rq, Call call) override {
    with_shared(std::move(call), [this, rq](const std::shared_ptr<Call>& c) { streams_.logs(rq, c); });
  }

 private:
  struct Listener {
    std::shared_ptr<Call> call;
    std::string node;  // "" = all
    std::deque<std::string> queue;
    bool waiting = false;
  };
  static constexpr size_t kMaxQueue = 10000;

  static Settings settings(const Value& c) {
    const auto ms = [&](const char* key) { return static_cast<uint64_t>(std::max<int64_t>(0, c[key].as_int(0))) * 1'000'000; };
    Settings s;
    s.start_ns = ms("startLatencyMs");
    s.pull_ns = ms("pullLatencyMs");
    s.stop_ns = ms("stopLatencyMs");
    s.run_ns = static_cast<uint64_t>(std::max<int64_t>(0, c["defaultRunSeconds"].as_int(0))) * 1'000'000'000;
    s.failure_probability = c["failureProbability"].as_double(0);
    return s;
  }
  static Addresses range(const Value& config) {
    auto r = Addresses::from_cidr(config["podCIDR"].as_string("10.128.0.0/9"));
    if (!r) throw r.error();
    return std::move(*r);
  }

  template <class F>
  void with_shared(Call call, F fn) {
    auto shared = std::make_shared<Call>(std::move(call));
    strand_.post([shared, fn = std::move(fn)] { fn(shared); });
  }
  template <class F>
  void with(Call call, F fn) {
    with_shared(std::move(call), [fn = std::move(fn)](const std::shared_ptr<Call>& c) { fn(*c); });
  }
  static void answer(Call& call, Result<Value> r) {
    if (r) call.reply(*r);
    else call.fail(r.error());
  }

  void tell(const Value& event, const std::string& node) {
    if (listeners_.empty()) return;
    const std::string text = event.dump();
    for (auto& [id, l] : listeners_)
      if (l->node.empty() || l->node == node) push(l, text);
  }
  // A listener that does not keep up loses its queue and is told to list again.
  void push(const std::shared_ptr<Listener>& l, std::string text) {
    if (l->queue.size() >= kMaxQueue) {
      l->queue.clear();
      l->queue.push_back(R"({"type":"sync"})");
    } else {
      l->queue.push_back(std::move(text));
    }
    flush(l);
  }
  void flush(const std::shared_ptr<Listener>& l) {
    while (!l->waiting && !l->queue.empty() && *l->call) {
      if (l->call->emit(l->queue.front())) {
        l->queue.pop_front();
        continue;
      }
      l->waiting = true;
      l->call->on_ready(strand_.wrap([this, weak = std::weak_ptr(l)] {
        if (const auto later = weak.lock()) {
          later->waiting = false;
          flush(later);
        }
      }));
    }
  }

  Strand strand_;  // everything below is touched on it only
  const Settings settings_;
  Machine machine_;
  Streams streams_;
  std::map<uint64_t, std::shared_ptr<Listener>> listeners_;
  std::map<uint64_t, Timer> pulls_;
  std::map<std::string, std::set<std::string>> images_;  // node -> names
  uint64_t last_listener_ = 0, last_pull_ = 0;
};

}  // namespace
}  // namespace pintle::runtime_sim

PINTLE_PLUGIN(pintle::runtime_sim::RuntimeSim)

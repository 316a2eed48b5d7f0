// A plugin that only a process of its own can hold: see plugin.yaml.
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "pintle/plugin.h"

namespace pintle::rogue {

class Rogue final : public Plugin, public StreamProvider, public ControllerProvider, public ResourceProvider {
 public:
  Rogue(Host h, const json::Value& config)
      : Plugin(h), when_(config["when"].as_string()), how_(config["how"].as_string()), calls_(h.metric(PINTLE_COUNTER, "rogue_calls_total", "Calls")) {
    at("create");
  }
  void start() override { at("start"); }
  void activate(std::string_view, uint64_t) override { at("activate"); }
  void drain(Call done) override {
    at("drain");
    done.reply();
  }
  void stop() override {
    at("stop");
    watch_.reset();
  }

  // {"do": "abort"|"segv"|"exit"|"hang"|"garbage"|"lie"|"never"|"echo"|"flood"|"swap-fds"|"big"|"environment"|"say"|"watch"|"chatter"}
  void open(json::Value request, Call call) override {
    calls_.add();
    const std::string what(request["do"].as_string("echo"));
    if (what == "never") {
      // Answered when the caller gives up.
      auto held = std::make_shared<Call>(std::move(call));
      held->on_cancel([held] { held->fail(PINTLE_CANCELLED, "given up"); });
    } else if (what == "flood") {
      flood(std::make_shared<Call>(std::move(call)), std::make_shared<int64_t>(request["parts"].as_int()));
    } else if (what == "swap-fds") {
      // Writes into what it is given, gives back the reading end of a pipe of its own.
      const int given = call.take_fd(0);
      if (::write(given, "from the other side", 19) != 19) return call.fail(PINTLE_INTERNAL, "cannot write");
      ::close(given);
      int ends[2];
      if (::pipe(ends) != 0) return call.fail(PINTLE_INTERNAL, "no pipe");
      (void)!::write(ends[1], "a pipe of mine", 14);
      ::close(ends[1]);
      call.give_fd(ends[0]);
      call.reply();
    } else if (what == "big") {
      call.reply(json::Value::object({{"text", std::string(static_cast<size_t>(request["bytes"].as_int()), 'x')}}));
    } else if (what == "environment") {
      std::string all;
      for (char** e = environ; *e; ++e) all += std::string(*e) + "\n";
      call.reply(json::Value::object({{"environment", all}, {"pid", static_cast<int64_t>(::getpid())}}));
    } else if (what == "say") {
      (void)!::write(2, "words on stderr\n", 16);
      host.info("words to the log", json::Value::object({{"a", 1}}));
      call.reply();
    } else if (what == "watch") {
      auto held = std::make_shared<Call>(std::move(call));
      auto watch = host.watch({.kind = std::string(request["kind"].as_string())}, [held](const Event& e) {
        if (*held && e.type == PINTLE_EVENT_SYNCED) held->reply();
      });
      if (!watch) return held->fail(watch.error());
      watch_ = std::move(*watch);
    } else {
      misbehave(what);
      call.reply(request);
    }
  }

  // A gadget's spec.do is done before it is created.
  void prepare(json::Value request, Call call) override {
    misbehave(std::string(request["object"].at("spec.do").as_string()));
    call.reply();
  }

  void describe(json::Value, Call call) override {
    call.reply(json::parse_or_null(R"({"controllers":[{"name":"rogue","workers":2,"watches":[{"kind":"slots.pintle.dev","map":"self"}]}]})"));
  }
  // Annotates each slot with the number of slots it sees, and checks that it reads what it has just written.
  void reconcile(json::Value request, Call call) override {
    const std::string name(request["keys"][0].as_string());
    auto held = std::make_shared<Call>(std::move(call));
    const json::Value key = request["keys"][0];
    const auto answer = [held, key](const char* result) {
      json::Value results = json::Value::array();
      results.push(json::Value::object({{"key", key}, {"result", result}}));
      held->reply(json::Value::object({{"results", std::move(results)}}));
    };
    auto slot = host.get_object("slots.pintle.dev", "", name);
    if (!slot) return answer("done");
    const json::Value annotations = slot->json().at("metadata.annotations");
    auto all = host.list({.kind = "slots.pintle.dev"});
    if (!all) return held->fail(all.error());
    const std::string seen = std::to_string(all->objects.size());
    if (annotations["seen"].as_string() == seen) return answer("done");
    const json::Value patch = json::Value::object({{"metadata", json::Value::object({{"annotations", json::Value::object({{"seen", seen}})}})}});
    host.commit({Op::merge("slots.pintle.dev", "", name, patch)}, [this, held, answer, name, seen](CommitResult r) {
      if (!r.ok()) return held->fail(r.failed() ? r.failed()->code : r.code, r.failed() ? r.failed()->text : "failed");
      auto again = host.get_object("slots.pintle.dev", "", name);
      if (!again || again->revision() < r.ops[0].object.revision()) misbehave("abort");
      answer("done");
    });
  }

 private:
  void at(const char* point) {
    if (when_ == point) misbehave(how_);
  }
  static void misbehave(const std::string& what) {
    if (what == "abort") std::abort();
    if (what == "segv") {
      std::signal(SIGSEGV, SIG_DFL);
      ::raise(SIGSEGV);
    }
    if (what == "exit") ::_exit(7);
    if (what == "hang")
      for (;;) ::pause();
    if (what == "chatter")
      for (int i = 0; i < 20000; ++i) (void)!::write(2, "again and again\n", 16);
    if (what == "garbage") {
      const std::string noise(4096, '\xee');
      (void)!::write(3, noise.data(), noise.size());
    }
    if (what == "lie") {
      // A frame in order, a commit that says it has four thousand million operations.
      const unsigned char frame[] = {4, 0, 0, 0, 17, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255};
      (void)!::write(3, frame, sizeof frame);
    }
  }
  void flood(const std::shared_ptr<Call>& call, const std::shared_ptr<int64_t>& left) {
    while (*left > 0) {
      std::string part(100000, 'p');
      if (!call->emit(part)) {
        call->on_ready([this, call, left] { flood(call, left); });
        return;
      }
      --*left;
    }
    call->reply();
  }

  const std::string when_, how_;
  const Metric calls_;
  Watch watch_;
};

}  // namespace pintle::rogue

PINTLE_PLUGIN(pintle::rogue::Rogue)

// Runs one plugin without a kernel: loads its .so, gives it a host on a virtual clock, calls its methods.
//
//   pintle::testing::Harness h({.library = PLUGIN_PATH, .config = R"({"greeting":"hi"})"});
//   ASSERT_TRUE(h.start().ok());
//   auto reply = h.call(PINTLE_RUNTIME, PINTLE_METHOD(pintle_runtime, info), json::Value::object());
//
// The host is one loop on the calling thread: posted tasks, timers (virtual: time jumps to the next one when there is
// nothing else to do), descriptors (real). Its store holds objects in memory, without validation or defaults:
// real behaviour of the API is tested against pintled.
// Threads: everything from the thread that made the Harness.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pintle/abi.h"
#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::testing {

struct HarnessOptions {
  std::string library;         // path of the .so
  std::string config = "{}";
  uint64_t seed = 1;           // of the random service
  bool real_time = false;      // timers take their time: for plugins that talk to a real daemon
  // Answers peer calls: (slot, interface id, method, request) -> reply.
  std::function<Result<json::Value>(const std::string&, const std::string&, uint32_t, const json::Value&)> peer = {};
  // Further plugins that hold slots, on the same loop and clock: calls to them are real, with partial answers and descriptors.
  struct Peer {
    std::string slot, library, config = "{}";
  };
  std::vector<Peer> peers = {};
};

class Harness {
 public:
  explicit Harness(HarnessOptions options);  // loads and creates; ok() tells whether that worked
  ~Harness();                                // drains, stops, destroys, unloads
  Harness(const Harness&) = delete;

  const Result<void>& ok() const;
  const json::Value& manifest() const;
  bool provides(const std::string& interface_id) const;

  Result<void> start();
  Result<void> activate(const std::string& slot, uint64_t epoch = 1);
  Result<void> drain();  // waits for the answer
  void stop();
  // A new instance takes the place of the present one, which is stopped (without a drain: as after a crash) and destroyed. The store and
  // the peers stay. To be started and activated again.
  Result<void> replace();

  struct Answer {
    Result<json::Value> reply{json::Value()};
    std::vector<std::string> parts;  // partial answers
    std::vector<int> fds;            // the caller closes them
  };
  // Runs the loop until the call is answered; TIMEOUT after `limit_ns` of virtual time or when nothing can happen any more.
  // `fds` go over to the plugin. cancel_after_parts > 0: the caller gives up after so many parts.
  Answer call(const char* interface_id, uint32_t method, const json::Value& request, std::vector<int> fds = {},
              size_t cancel_after_parts = 0, uint64_t limit_ns = 600ull * 1000000000);

  // Runs the loop until `done()` or until so much virtual time has passed; true when done.
  bool run_until(const std::function<bool()>& done, uint64_t limit_ns = 600ull * 1000000000);
  void run_for(uint64_t ns);
  uint64_t now() const;  // virtual ns
  const pintle_host* host() const;  // for tests of what plugins are made of: Host(h.host())

  // The store: put by hand, read what the plugin wrote.
  void put(const std::string& kind, json::Value object);
  json::Value get(const std::string& kind, const std::string& ns, const std::string& name) const;  // null = absent
  std::vector<json::Value> list(const std::string& kind) const;
  void remove(const std::string& kind, const std::string& ns, const std::string& name);

  // What is left behind: {"tasks":n,"timers":n,"watches":n,"fdwatches":n,"calls":n}; all zero after stop().
  json::Value left() const;
  std::vector<std::string> log() const;
  // What the plugin last reported: {"state": PINTLE_HEALTH_*, "message"}; ready when it never did.
  json::Value health() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pintle::testing

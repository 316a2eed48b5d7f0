// The few commands that a simulated container understands.
//
// Threads: pure functions.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pintle::runtime_sim {

struct Builtin {
  int exit_code = 0;
  uint64_t run_ns = 0;      // how long it runs
  std::string output;       // to stdout
  std::string error;        // to stderr
  bool copies_stdin = false;  // `cat`: stdin to stdout until its end
};

// nullopt: not a built-in. Knows echo, cat, true, false, exit N, sleep N and sh -c "A; B && C" of these.
std::optional<Builtin> builtin(const std::vector<std::string>& command);
// "5s", "1m30s", "250ms", "2" (seconds) -> ns; nullopt: not a duration.
std::optional<uint64_t> duration_ns(std::string_view text);

}  // namespace pintle::runtime_sim

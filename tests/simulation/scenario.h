// One run of the whole control plane from a seed: work and faults drawn from it, then rest, then the question whether all is well.
//
//   const Outcome o = run_scenario({.seed = 42});
//   o.problems          // empty: every invariant held and everything got to its goal
//   o.hash              // equal for equal seeds
//
// Threads: one.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace pintle::kernel::simulation {

struct ScenarioOptions {
  uint64_t seed = 1;
  std::string plant;  // "off-by-one", "forgotten-requeue", "no-fence"; "" = the plugins as they are shipped
  int steps = 40;
  std::function<void(const std::string&)> trace = {};  // one line per change and per step
};

struct Outcome {
  std::vector<std::string> problems;
  uint64_t hash = 0, changes = 0, tasks = 0, simulated_ms = 0;
};

Outcome run_scenario(const ScenarioOptions& options);

}  // namespace pintle::kernel::simulation

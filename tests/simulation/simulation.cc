// simulation --seeds A..B [--plant off-by-one|forgotten-requeue|no-fence] [--steps N] [--trace]
// Prints a line per seed; ends with 1 when a seed had a problem. --trace prints every change and step to standard output.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/simulation/scenario.h"

int main(int argc, char** argv) {
  using namespace pintle::kernel::simulation;
  uint64_t from = 1, to = 20;
  ScenarioOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (a == "--seeds") {
      from = to = std::strtoull(value, nullptr, 10);
      if (const char* dots = std::strstr(value, "..")) to = std::strtoull(dots + 2, nullptr, 10);
      ++i;
    } else if (a == "--plant") {
      options.plant = value;
      ++i;
    } else if (a == "--steps") {
      options.steps = std::atoi(value);
      ++i;
    } else if (a == "--trace") {
      options.trace = [](const std::string& line) { std::puts(line.c_str()); };
    } else {
      std::fprintf(stderr, "usage: simulation --seeds A..B [--plant off-by-one|forgotten-requeue|no-fence] [--steps N] [--trace]\n");
      return 2;
    }
  }
  if (!options.plant.empty() && options.plant != "off-by-one" && options.plant != "forgotten-requeue" && options.plant != "no-fence") {
    std::fprintf(stderr, "simulation: no planted bug is called %s\n", options.plant.c_str());
    return 2;
  }
  int bad = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (options.seed = from; options.seed <= to; ++options.seed) {
    const Outcome o = run_scenario(options);
    std::printf("seed %llu: %s, %llu changes, %llu tasks, %.1f s simulated, hash %016llx\n", static_cast<unsigned long long>(options.seed),
                o.problems.empty() ? "ok" : "WRONG", static_cast<unsigned long long>(o.changes), static_cast<unsigned long long>(o.tasks),
                static_cast<double>(o.simulated_ms) / 1000, static_cast<unsigned long long>(o.hash));
    for (const auto& p : o.problems) std::printf("  %s\n", p.c_str());
    std::fflush(stdout);
    bad += !o.problems.empty();
  }
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("%llu seeds, %d with problems, %.1f s\n", static_cast<unsigned long long>(to - from + 1), bad, took);
  return bad != 0;
}

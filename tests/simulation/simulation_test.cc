// The same seed twice, and bugs that must not pass. The many seeds are tests of their own: `simulation --seeds 1..50` and so on.
#include <gtest/gtest.h>

#include "tests/simulation/scenario.h"

namespace pintle::kernel::simulation {
namespace {

std::string text(const Outcome& o) {
  std::string out;
  for (const auto& p : o.problems) out += p + "\n";
  return out;
}

TEST(Simulation, TheSameSeedIsTheSameRunToTheByte) {
  for (const uint64_t seed : {3u, 8u}) {
    const Outcome a = run_scenario({.seed = seed}), b = run_scenario({.seed = seed});
    EXPECT_EQ(a.hash, b.hash) << "seed " << seed;
    EXPECT_EQ(a.tasks, b.tasks) << "seed " << seed;
    EXPECT_GT(a.changes, 100u);
  }
}

TEST(Simulation, DifferentSeedsAreDifferentRuns) { EXPECT_NE(run_scenario({.seed = 1, .steps = 3}).hash, run_scenario({.seed = 2, .steps = 3}).hash); }

// The first seed, of ten, that goes red.
uint64_t caught(const std::string& plant, std::string& how) {
  for (uint64_t seed = 1; seed <= 10; ++seed)
    if (const Outcome o = run_scenario({.seed = seed, .plant = plant}); !o.problems.empty()) {
      how = text(o);
      return seed;
    }
  return 0;
}

TEST(Simulation, AMaxUnavailableThatIsOffByOneIsCaught) {
  std::string how;
  EXPECT_NE(caught("off-by-one", how), 0u);
  EXPECT_NE(how.find("are promised"), std::string::npos) << how;
}

TEST(Simulation, AForgottenRequeueIsCaught) {
  std::string how;
  EXPECT_NE(caught("forgotten-requeue", how), 0u);
  EXPECT_NE(how.find("not at its goal"), std::string::npos) << how;
}

TEST(Simulation, ABindWithoutTheFenceOfItsSchedulerIsCaught) {
  std::string how;
  EXPECT_NE(caught("no-fence", how), 0u);
  EXPECT_NE(how.find("was decided under epoch"), std::string::npos) << how;
}

}  // namespace
}  // namespace pintle::kernel::simulation

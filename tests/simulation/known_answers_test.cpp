// A checker that never failed is no evidence: known wrong behaviour must be found.
#include <doctest/doctest.h>

#include "tests/simulation/scenario.hpp"

namespace vmferry::sim {
namespace {

// How many single cuts of the destination's connection end in a violation.
int violations(Scenario base) {
  const int steps = play(base).steps;
  int bad = 0;
  for (int step = 1; step <= steps; ++step) {
    Scenario one = base;
    one.faults = {{step, FaultKind::cut_destination, true}};
    if (!play(one).violations.empty()) ++bad;
  }
  return bad;
}

TEST_CASE("simulation: no fault, no violation, and the same run twice") {
  Scenario plain;
  plain.verbose = true;
  const Outcome first = play(plain);
  const Outcome again = play(plain);
  CHECK(first.exit == Exit::done);
  CHECK(first.violations.empty());
  CHECK(first.log == again.log);
}

TEST_CASE("simulation: virsh's answer to a lost Finish is caught, ours is not wrong") {
  Scenario virsh;
  virsh.as_virsh = true;
  CHECK(violations(virsh) > 0);
  CHECK(violations({}) == 0);
  Scenario stock;
  stock.record = false;
  CHECK(violations(stock) == 0);
}

TEST_CASE("simulation: shrinking keeps what matters") {
  Scenario busy;
  busy.as_virsh = true;
  int struck = 0;
  for (int step = play({}).steps; step > 0 && struck == 0; --step) {
    busy.faults = {{step, FaultKind::crash_destination, false}};
    if (!play(busy).violations.empty()) struck = step;
  }
  REQUIRE(struck > 0);
  for (int step = struck + 1; step <= struck + 4; ++step)
    busy.faults.push_back({step, FaultKind::crash_destination, false});
  REQUIRE_FALSE(play(busy).violations.empty());
  const Scenario small = shrunk(busy);
  CHECK(small.faults.size() < busy.faults.size());
  CHECK_FALSE(play(small).violations.empty());
}

}  // namespace
}  // namespace vmferry::sim

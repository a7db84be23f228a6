// A checker that never failed is no evidence: known wrong behaviour must be found. And what it has
// found stays found.
#include <doctest/doctest.h>

#include <set>

#include "tests/simulation/scenario.hpp"

namespace vmferry::sim {
namespace {

Scenario scene(std::string_view way, std::vector<Fault> faults = {}, std::uint64_t seed = 1) {
  Scenario s;
  s.seed = seed;
  s.way = find_way(way);
  s.faults = std::move(faults);
  return s;
}

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

// The step at which the log has that text, in an undisturbed run.
int step_of(std::string_view way, std::string_view text) {
  Scenario s = scene(way);
  s.verbose = true;
  for (const std::string& line : play(s).log)
    if (line.contains(text)) return std::stoi(line);
  FAIL("no such step: " << text);
  return 0;
}

void check_all(std::string_view way, FaultKind kind) {
  const int steps = play(scene(way)).steps;
  for (int step = 1; step <= steps; ++step)
    for (const bool late : {false, true}) {
      const Outcome outcome = play(scene(way, {{step, kind, late}}));
      INFO(arguments(scene(way, {{step, kind, late}})), ": ", outcome.told);
      CHECK(outcome.violations == std::vector<std::string>());
    }
}

TEST_CASE("simulation: no fault, no violation, and the same run twice") {
  for (const Way& way : ways()) {
    Scenario plain = scene(way.name);
    plain.verbose = plain.jitter = true;
    const Outcome first = play(plain);
    const Outcome again = play(plain);
    INFO(way.name, ": ", first.told);
    CHECK(first.violations.empty());
    CHECK(first.log == again.log);
    if (!way.rival && !way.timeout) CHECK(first.exit == Exit::done);
  }
}

TEST_CASE("simulation: virsh's answer to a lost Finish is caught, ours is not wrong") {
  Scenario virsh;
  virsh.wrong = Wrong::as_virsh;
  CHECK(violations(virsh) > 0);
  CHECK(violations({}) == 0);
  Scenario stock;
  stock.record = false;
  CHECK(violations(stock) == 0);
}

// All that the judge says of single faults of that kind at every step, under that wrong behaviour.
std::set<std::string> said_of(Wrong wrong, std::string_view way,
                              std::optional<FaultKind> kind = std::nullopt) {
  Scenario base = scene(way);
  base.wrong = wrong;
  const Outcome plain = play(base);
  std::set<std::string> said(plain.violations.begin(), plain.violations.end());
  for (int step = 1; kind && step <= plain.steps; ++step)
    for (const bool late : {false, true}) {
      base.faults = {{step, *kind, late}};
      const Outcome outcome = play(base);
      said.insert(outcome.violations.begin(), outcome.violations.end());
    }
  return said;
}

TEST_CASE("simulation: whatever is left behind is found") {
  using enum FaultKind;
  const auto unnoticed = said_of(Wrong::unnoticed, "live", kill_client);
  CHECK(unnoticed.contains("a lock is left on a"));
  CHECK(unnoticed.contains("a job is left on a"));
  CHECK(unnoticed.contains("an incoming guest is left on b"));
  CHECK(unnoticed.contains("a listener is left"));
  CHECK(said_of(Wrong::unnoticed, "live").empty());
  CHECK(said_of(Wrong::half_made, "live", cut_data).contains("an incoming guest is left on b"));
  CHECK(said_of(Wrong::half_made, "p2p", cut_data).contains("an incoming guest is left on b"));
  for (const std::string_view way : {"live", "p2p", "postcopy", "storage"})
    CHECK(said_of(Wrong::open_port, way) == std::set<std::string>{"a listener is left"});
}

TEST_CASE("simulation: a damaged guest is found") {
  for (const std::string_view way : {"live", "p2p", "tunnelled", "stop-and-copy", "paused"})
    CHECK(said_of(Wrong::bad_memory, way) ==
          std::set<std::string>{"the memory on b is not the guest's"});
}

TEST_CASE("simulation: an untrue verdict is found") {
  using enum FaultKind;
  const auto done = said_of(Wrong::says_done, "live", cut_data);
  CHECK(done.contains("told that it is on the destination, where it is not"));
  CHECK(said_of(Wrong::says_done, "live", kill_source)
            .contains("told that it is on the destination, where it is not"));
  CHECK(said_of(Wrong::says_at_home, "live")
            .contains("told that the guest is safe at the source, where it is not"));
  CHECK(said_of(Wrong::says_at_home, "live", kill_source)
            .contains("told that the guest is safe at the source, but it died there"));
  CHECK(said_of(Wrong::says_lost, "live").contains("told that it is lost, which it is not"));
  CHECK(said_of(Wrong::says_unlooked, "live", cut_data)
            .contains("told that the guest is safe at the source, which nobody has looked at"));
}

TEST_CASE("simulation: what was found once stays found, and a seed replays") {
  using enum FaultKind;
  const Scenario found[] = {
      // The answer to "is it defined there?" was lost, and taken for no.
      scene("offline", {{12, stop_destination, false}, {27, stop_destination, false}}),
      // The source's definition stayed behind, and nobody was told.
      scene("offline", {{8, cut_source, false}, {15, cut_source, false}}),
      scene("storage", {{28, crash_source, false}, {37, cut_source, false}}),
      // A definition that only waited for Finish was taken for an arrival.
      scene("p2p-offline", {{9, cut_peer, true}}),
      // Asking a destination in post-copy whether it had run the guest ended its half.
      scene("p2p-postcopy", {{17, cut_peer, false}}),
      // A guest in post-copy was told to give up when Finish had not been sent.
      scene("postcopy", {{17, cut_destination, true}}),
      // A daemon that had not begun its peer-to-peer migration was taken for done.
      scene("p2p", {{6, cut_source, false}}),
      // Sent before version 3, and lost: "never started there" was wrong.
      scene("v2", {{30, crash_destination, false}, {25, cut_source, false}}),
      // Begin was refused because the guest had died, and the source went away after that.
      scene("live", {{3, kill_source, false}, {8, cut_source, false}}),
      scene("live",
            {{12, crash_destination, false}, {9, kill_source, false}, {16, cut_source, false}}),
      // One who was refused resumed the guest that another's migration had stopped.
      scene("rival", {{14, slow_source, false}, {31, cut_source, false}}, 523507),
      // A guest that had arrived paused was called lost, though the source had it too.
      scene("paused", {{42, kill_destination, false}, {20, stop_source, true}}),
      // A destination that was away for long was taken for one without the definition.
      scene("p2p-offline", {{22, cut_source, false}, {10, stop_destination, true}}),
      // The same, found out too late.
      scene("p2p-offline", {{10, stop_destination, true}, {23, stop_source, true}},
            248714229956146),
      // What a killed client had left paused was moved by the next one, and ran twice.
      scene("rival", {{28, kill_client, false}, {10, slow_source, false}}, 76610913529080),
      // The source refused to resume while it had not noticed yet that its client was gone.
      scene("live", {{16, cut_destination, true}, {31, cut_source, true}, {43, cut_source, false}}),
      // The guest had died while nobody could reach its source, and was called safe there.
      scene("live", {{1, stop_source, true}}),
      // A post-copy that had not begun was told as half lost, because the destination was empty.
      scene("postcopy", {{2, slow_source, true}, {18, stop_destination, true}}),
      // Whether the source had switched to post-copy was not seen, and the other half was ended.
      scene("postcopy", {{22, cut_source, false}, {28, cut_source, false}}),
      scene("postcopy", {{22, cut_source, false}, {25, slow_source, false}}),
      scene("postcopy", {{22, cut_source, false}, {28, stop_source, true}}),
      // It had been seen dead on the destination before that could not be asked any more.
      scene("paused", {{23, crash_source, false},
                       {32, stop_destination, false},
                       {21, kill_destination, false}}),
      // The driver forgot that a guest whose client had gone was in post-copy.
      scene("postcopy", {{14, cut_destination, true}, {22, kill_client, false}}),
  };
  for (Scenario s : found)
    for (const bool record : {true, false}) {
      s.verbose = true;
      s.record = record;
      const Outcome first = play(s);
      INFO(arguments(s), ": ", first.told);
      CHECK(first.violations == std::vector<std::string>());
      CHECK(first.log == play(s).log);
    }
}

TEST_CASE("simulation: shrinking keeps what matters") {
  Scenario busy;
  busy.wrong = Wrong::as_virsh;
  int struck = 0;
  for (int step = play({}).steps; step > 0 && struck == 0; --step) {
    busy.faults = {{step, FaultKind::crash_destination, false}};
    if (!play(busy).violations.empty()) struck = step;
  }
  REQUIRE(struck > 0);
  for (int step = struck + 1; step <= struck + 4; ++step)
    busy.faults.push_back({step, FaultKind::crash_destination, true});
  REQUIRE_FALSE(play(busy).violations.empty());
  const Scenario small = shrunk(busy);
  CHECK(small.faults.size() < busy.faults.size());
  CHECK_FALSE(play(small).violations.empty());
}

TEST_CASE("simulation: a client killed at any await leaves a safe world") {
  for (const std::string_view way : {"live", "p2p", "offline", "postcopy", "timeout-suspend"})
    check_all(way, FaultKind::kill_client);
}

TEST_CASE("simulation: an offline definition that was only prepared is no arrival") {
  check_all("offline", FaultKind::cut_destination);
  check_all("p2p-offline", FaultKind::cut_source);
}

TEST_CASE("simulation: post-copy goes forward when Finish never reached the destination") {
  check_all("postcopy", FaultKind::cut_destination);
  check_all("p2p-postcopy", FaultKind::crash_source);
}

TEST_CASE("simulation: a guest that we suspended goes on when the answer to that was lost") {
  check_all("timeout-suspend", FaultKind::cut_source);
}

TEST_CASE("simulation: a time limit outlives the connection of a peer-to-peer client") {
  const int begun = step_of("p2p-timeout", "job_stats, answered by a");
  const Outcome outcome = play(scene("p2p-timeout", {{begun, FaultKind::cut_source, false}}));
  CHECK(outcome.exit == Exit::cancelled);
  CHECK(outcome.violations.empty());
}

TEST_CASE("simulation: a source that cannot be asked is no success of a peer-to-peer migration") {
  check_all("p2p", FaultKind::stop_source);
}

TEST_CASE("simulation: a guest that dies before its first phase is told as lost") {
  const Outcome outcome = play(scene("live", {{2, FaultKind::kill_source, false}}));
  CHECK(outcome.where == Whereabouts::lost);
  CHECK(outcome.violations.empty());
}

}  // namespace
}  // namespace vmferry::sim

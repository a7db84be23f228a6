// simulation: migrations with faults, under virtual time.
//   simulation --exhaustive [--pairs]     every single fault at every step; every pair
//   simulation --seeds N [--from S]       N random scenarios
//   simulation --hours H [--from S]       random scenarios for that long
//   simulation --seed S --fault KIND@STEP[+late]...   replays one, with its log
// Also: --no-record (destinations without a durable record), --as-virsh (the known wrong answer).
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>

#include "core/base/text.hpp"
#include "tests/simulation/scenario.hpp"

namespace vmferry::sim {
namespace {

struct Settings {
  Scenario scenario;
  bool exhaustive = false, pairs = false, replay = false;
  std::uint64_t seeds = 0, from = 1;
  double hours = 0;
};

struct Tally {
  std::uint64_t runs = 0, bad = 0;
  std::map<int, std::uint64_t> exits;
};

void count(const Scenario& scenario, Tally& tally) {
  const Outcome outcome = play(scenario);
  ++tally.runs;
  ++tally.exits[outcome.client_killed ? -1 : static_cast<int>(outcome.exit)];
  if (outcome.violations.empty()) return;
  if (++tally.bad > 20) return;
  const Scenario small = shrunk(scenario);
  fmt::print("VIOLATED: {}\n  simulation {}\n", outcome.violations.front(), arguments(small));
}

void every_single_fault(const Scenario& base, int steps, Tally& tally) {
  for (int step = 1; step <= steps; ++step)
    for (int kind = 0; kind < kFaultKinds; ++kind)
      for (const bool late : {false, true}) {
        Scenario one = base;
        one.faults = {{step, static_cast<FaultKind>(kind), late}};
        count(one, tally);
      }
}

void every_pair(const Scenario& base, int steps, Tally& tally) {
  for (int first = 1; first <= steps; ++first)
    for (int second = first; second <= steps + 8; ++second)
      for (int kinds = 0; kinds < kFaultKinds * kFaultKinds; ++kinds) {
        Scenario two = base;
        two.faults = {{first, static_cast<FaultKind>(kinds / kFaultKinds), second % 2 == 0},
                      {second, static_cast<FaultKind>(kinds % kFaultKinds), kinds % 2 == 0}};
        count(two, tally);
      }
}

Scenario random_scenario(Scenario base, std::uint64_t seed, int steps) {
  std::uint64_t state = mix(seed);
  const auto draw = [&state](std::uint64_t below) {
    state = mix(state);
    return state % below;
  };
  base.seed = seed;
  base.record = base.record && draw(4) != 0;
  const std::uint64_t faults = 1 + draw(4);
  for (std::uint64_t i = 0; i < faults; ++i)
    base.faults.push_back({1 + static_cast<int>(draw(static_cast<std::uint64_t>(steps) + 10)),
                           static_cast<FaultKind>(draw(kFaultKinds)), draw(2) == 0});
  return base;
}

bool parse_fault(std::string_view text, Fault& fault) {
  fault.late = text.ends_with("+late");
  if (fault.late) text.remove_suffix(5);
  const auto at = text.find('@');
  if (at == std::string_view::npos) return false;
  const auto step = parse_number<int>(text.substr(at + 1));
  for (int kind = 0; kind < kFaultKinds; ++kind)
    if (step && name(static_cast<FaultKind>(kind)) == text.substr(0, at)) {
      fault.step = *step;
      fault.kind = static_cast<FaultKind>(kind);
      return true;
    }
  return false;
}

bool parse(int argc, char** argv, Settings& s) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const std::string_view value = i + 1 < argc ? argv[i + 1] : "";
    const auto number = parse_number<std::uint64_t>(value);
    Fault fault;
    if (word == "--exhaustive") {
      s.exhaustive = true;
    } else if (word == "--pairs") {
      s.exhaustive = s.pairs = true;
    } else if (word == "--no-record") {
      s.scenario.record = false;
    } else if (word == "--as-virsh") {
      s.scenario.as_virsh = true;
    } else if (word == "--hours") {
      s.hours = std::strtod(std::string(value).c_str(), nullptr);
      ++i;
    } else if (word == "--fault" && parse_fault(value, fault)) {
      s.scenario.faults.push_back(fault);
      s.replay = true;
      ++i;
    } else if (number && (word == "--seeds" || word == "--from" || word == "--seed")) {
      (word == "--seeds" ? s.seeds : word == "--from" ? s.from : s.scenario.seed) = *number;
      ++i;
    } else {
      fmt::print(stderr, "simulation: what is '{}'?\n", word);
      return false;
    }
  }
  return true;
}

int replay(Scenario scenario) {
  scenario.verbose = true;
  const Outcome outcome = play(scenario);
  for (const std::string& line : outcome.log) fmt::print("{}\n", line);
  fmt::print("exit {}: {}\n", static_cast<int>(outcome.exit), outcome.told);
  for (const std::string& what : outcome.violations) fmt::print("VIOLATED: {}\n", what);
  return outcome.violations.empty() ? 0 : 1;
}

int run(const Settings& s) {
  if (s.replay) return replay(s.scenario);
  using SteadyClock = std::chrono::steady_clock;
  const auto began = SteadyClock::now();
  const auto seconds = [began] {
    return std::chrono::duration<double>(SteadyClock::now() - began).count();
  };
  Tally tally;
  const int steps = play(s.scenario).steps;
  if (s.exhaustive) every_single_fault(s.scenario, steps, tally);
  if (s.pairs) every_pair(s.scenario, steps, tally);
  std::uint64_t seed = s.from;
  for (; seed < s.from + s.seeds; ++seed) count(random_scenario(s.scenario, seed, steps), tally);
  while (s.hours > 0 && seconds() < s.hours * 3600)
    count(random_scenario(s.scenario, seed++, steps), tally);
  fmt::print("{} migrations of {} steps, {:.0f} a second, {} violated\n", tally.runs, steps,
             static_cast<double>(tally.runs) / std::max(seconds(), 1e-9), tally.bad);
  for (const auto& [exit, times] : tally.exits)
    fmt::print("  {}: {}\n", exit < 0 ? "client killed" : fmt::format("exit {}", exit), times);
  return tally.bad == 0 ? 0 : 1;
}

}  // namespace
}  // namespace vmferry::sim

int main(int argc, char** argv) {
  vmferry::sim::Settings settings;
  if (!vmferry::sim::parse(argc, argv, settings)) return 2;
  return vmferry::sim::run(settings);
}

// simulation: migrations with faults, under virtual time.
//   simulation --exhaustive     every single fault at every step of every way
//   simulation --pairs          every pair of faults
//   simulation --cuts           the connection broken at every byte of our own client and server
//   simulation --seeds N        N random scenarios, the same ones each time
//   simulation --fresh SECONDS  random scenarios that nobody has tried, for that long
//   simulation --hours H        the same, with a line of progress every minute
//   simulation --way W --seed S --fault KIND@STEP[+late]... | --cut SIDE@BYTE   replays one
// Also: --way W (only that one; default: all, for --pairs: live and p2p), --every N (only one in N
// of a full enumeration), --from S (the first seed), --no-record (hosts without a durable record),
// --jitter, --wrong KIND (known wrong behaviour, which must be found: as-virsh, unnoticed, ...).
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <map>
#include <random>
#include <set>

#include "core/base/text.hpp"
#include "tests/simulation/scenario.hpp"

namespace vmferry::sim {
namespace {

struct Settings {
  Scenario scenario;
  const Way* way = nullptr;
  bool exhaustive = false, pairs = false, cuts = false, replay = false;
  std::uint64_t seeds = 0, from = 1, every = 1;
  double seconds = 0;
  bool tell_progress = false;
};

class Tally {
 public:
  explicit Tally(const Settings& settings)
      : every_(settings.every), progress_(settings.tell_progress) {}

  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  }
  std::uint64_t bad() const { return bad_; }

  void play_one(const Scenario& scenario) {
    if (skipped_++ % every_ != 0) return;
    const Outcome outcome = play(scenario);
    ++runs_;
    const std::string end = outcome.client_killed
                                ? "client killed"
                                : fmt::format("exit {}", static_cast<int>(outcome.exit));
    ++ends_[end];
    if (progress_ && seconds() > told_ + 60) tell();
    if (outcome.violations.empty()) return;
    if (++bad_ > 20) return;
    const Scenario small = shrunk(scenario);
    if (!told_of_.insert(arguments(small)).second) return;
    const Outcome again = play(small);
    fmt::print("VIOLATED: {}\n  told: exit {} {}\n  replay: simulation {}\n  shrunk from: {}\n",
               again.violations.empty() ? outcome.violations.front() : again.violations.front(),
               static_cast<int>(again.exit), again.told, arguments(small), arguments(scenario));
    std::fflush(stdout);
  }

  int report() const {
    const double cpu = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
    fmt::print("{} migrations, {:.0f} a second of one core, {} violated\n", runs_,
               static_cast<double>(runs_) / std::max(cpu, 1e-9), bad_);
    for (const auto& [end, times] : ends_) fmt::print("  {}: {}\n", end, times);
    return bad_ == 0 && runs_ > 0 ? 0 : 1;
  }

 private:
  void tell() {
    told_ = seconds();
    fmt::print("{:.0f} min: {} migrations, {} violated\n", told_ / 60, runs_, bad_);
    std::fflush(stdout);
  }

  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::uint64_t every_, skipped_ = 0, runs_ = 0, bad_ = 0;
  double told_ = 0;
  std::set<std::string> told_of_;
  bool progress_;
  std::map<std::string, std::uint64_t> ends_;
};

Scenario with(Scenario base, std::vector<Fault> faults) {
  base.faults = std::move(faults);
  return base;
}

// Steps that come after the last one of an undisturbed run: what clean-up adds.
constexpr int kMore = 12;

void every_single_fault(const Scenario& base, int steps, Tally& tally) {
  tally.play_one(base);
  for (int step = 1; step <= steps; ++step)
    for (int kind = 0; kind < kFaultKinds; ++kind)
      for (const bool late : {false, true})
        tally.play_one(with(base, {{step, static_cast<FaultKind>(kind), late}}));
}

void every_pair(const Scenario& base, int steps, Tally& tally) {
  for (int first = 1; first <= steps; ++first)
    for (int second = first; second <= steps + kMore; ++second)
      for (int kinds = 0; kinds < kFaultKinds * kFaultKinds; ++kinds)
        for (int late = 0; late < 4; ++late)
          tally.play_one(
              with(base, {{first, static_cast<FaultKind>(kinds / kFaultKinds), late / 2 == 1},
                          {second, static_cast<FaultKind>(kinds % kFaultKinds), late % 2 == 1}}));
}

void every_cut(Scenario base, Tally& tally) {
  base.way = find_way("wire");
  const Outcome plain = play(base);
  for (const bool destination : {false, true})
    for (std::uint64_t byte = 0; byte <= plain.bytes[destination ? 1 : 0]; ++byte) {
      base.byte_cut = ByteCut{destination, byte};
      tally.play_one(base);
    }
}

class Lots {
 public:
  explicit Lots(const Settings& s) : settings_(s) {
    for (const Way& way : ways()) {
      Scenario plain;
      plain.way = &way;
      const Outcome outcome = play(plain);
      steps_[way.name] = outcome.steps;
      bytes_[way.name] = outcome.bytes[0];
    }
  }

  Scenario operator()(std::uint64_t seed) {
    state_ = mix(seed);
    Scenario s = settings_.scenario;
    s.seed = seed;
    s.way = settings_.way ? settings_.way : &ways()[draw(ways().size())];
    s.record = s.record && draw(4) != 0;
    s.jitter = draw(2) == 0;
    if (s.way->wire) {
      s.byte_cut = ByteCut{draw(2) == 0, draw(bytes_[s.way->name] + 100)};
      return s;
    }
    const auto steps = static_cast<std::uint64_t>(steps_[s.way->name] + kMore);
    for (std::uint64_t left = 1 + draw(4); left > 0; --left)
      s.faults.push_back({1 + static_cast<int>(draw(steps)),
                          static_cast<FaultKind>(draw(kFaultKinds)), draw(2) == 0});
    return s;
  }

 private:
  std::uint64_t draw(std::uint64_t below) {
    state_ = mix(state_);
    return state_ % below;
  }
  const Settings& settings_;
  std::uint64_t state_ = 0;
  std::map<std::string_view, int> steps_;
  std::map<std::string_view, std::uint64_t> bytes_;
};

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

bool parse_cut(std::string_view text, Scenario& scenario) {
  const auto at = text.find('@');
  if (at == std::string_view::npos) return false;
  const auto byte = parse_number<std::uint64_t>(text.substr(at + 1));
  const std::string_view side = text.substr(0, at);
  if (!byte || (side != "source" && side != "destination")) return false;
  scenario.byte_cut = ByteCut{side == "destination", *byte};
  return true;
}

bool parse_wrong(std::string_view text, Scenario& scenario) {
  for (int wrong = 0; wrong < kWrongs; ++wrong) {
    scenario.wrong = static_cast<Wrong>(wrong);
    if (name(scenario.wrong) == text) return true;
  }
  return false;
}

bool parse_switch(std::string_view word, Settings& s) {
  if (word == "--exhaustive")
    s.exhaustive = true;
  else if (word == "--pairs")
    s.pairs = true;
  else if (word == "--cuts")
    s.cuts = true;
  else if (word == "--no-record")
    s.scenario.record = false;
  else if (word == "--jitter")
    s.scenario.jitter = true;
  else
    return false;
  return true;
}

bool parse_value(std::string_view word, std::string_view value, Settings& s) {
  const auto number = parse_number<std::uint64_t>(value);
  Fault fault;
  if (word == "--way") {
    s.way = find_way(value);
    if (s.way) s.scenario.way = s.way;
    return s.way != nullptr;
  }
  if (word == "--fault" && parse_fault(value, fault)) {
    s.scenario.faults.push_back(fault);
    return s.replay = true;
  }
  if (word == "--wrong") return parse_wrong(value, s.scenario);
  if (word == "--cut" && parse_cut(value, s.scenario)) return s.replay = true;
  if (word == "--hours" || word == "--fresh") {
    s.seconds = std::strtod(std::string(value).c_str(), nullptr);
    s.tell_progress = word == "--hours";
    if (s.tell_progress) s.seconds *= 3600;
    return s.seconds > 0;
  }
  if (!number) return false;
  if (word == "--seeds")
    s.seeds = *number;
  else if (word == "--from")
    s.from = *number;
  else if (word == "--every" && *number > 0)
    s.every = *number;
  else if (word == "--seed") {
    s.scenario.seed = *number;
    s.replay = true;
  } else
    return false;
  return true;
}

bool parse(int argc, char** argv, Settings& s) {
  bool first_said = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    first_said = first_said || word == "--from";
    if (parse_switch(word, s)) continue;
    if (i + 1 < argc && parse_value(word, argv[i + 1], s)) {
      ++i;
      continue;
    }
    fmt::print(stderr, "simulation: what is '{}'?\n", word);
    return false;
  }
  if (s.seconds > 0 && !first_said) {
    s.from = (std::uint64_t{std::random_device()()} << 16) + 1000000;
    fmt::print("first fresh seed: --from {}\n", s.from);
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
  Tally tally(s);
  for (const Way& way : ways()) {
    if (s.way && s.way != &way) continue;
    Scenario base = s.scenario;
    base.way = &way;
    const int steps = play(base).steps;
    if (s.exhaustive && !way.wire) every_single_fault(base, steps, tally);
    const bool small = way.name == "live" || way.name == "p2p";
    if (s.pairs && (s.way || small)) every_pair(base, steps, tally);
  }
  if (s.cuts) every_cut(s.scenario, tally);
  if (s.seeds > 0 || s.seconds > 0) {
    Lots draw(s);
    std::uint64_t seed = s.from;
    for (std::uint64_t i = 0; i < s.seeds; ++i) tally.play_one(draw(seed++));
    const double until = tally.seconds() + s.seconds;
    while (tally.seconds() < until) tally.play_one(draw(seed++));
  }
  return tally.report();
}

}  // namespace
}  // namespace vmferry::sim

int main(int argc, char** argv) {
  vmferry::sim::Settings settings;
  if (!vmferry::sim::parse(argc, argv, settings)) return 2;
  return vmferry::sim::run(settings);
}

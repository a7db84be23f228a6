#pragma once
// One migration in a simulated world with faults, and what the checker found.
#include <cstdint>
#include <string>
#include <vector>

#include "core/migrate/engine.hpp"
#include "tests/simulation/network.hpp"

namespace vmferry::sim {

struct Scenario {
  std::vector<Fault> faults;
  std::uint64_t seed = 1;
  bool record = true;     ///< the destination keeps a durable record, as our own server does
  bool as_virsh = false;  ///< the engine resumes the source when Finish's answer is lost
  bool verbose = false;
  FlagSet flags{Flag::live, Flag::persist_dest, Flag::undefine_source};
};

struct Outcome {
  int steps = 0;
  Exit exit = Exit::internal;
  Whereabouts where = Whereabouts::source;
  bool client_killed = false;
  std::string told;                     ///< the report's error
  std::vector<std::string> violations;  ///< none: all that must hold held
  std::vector<std::string> log;
};

Outcome play(const Scenario& scenario);

/// The scenario as command line arguments that replay it.
std::string arguments(const Scenario& scenario);
/// Drops faults one at a time while the violation stays.
Scenario shrunk(Scenario scenario);

}  // namespace vmferry::sim

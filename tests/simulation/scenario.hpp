#pragma once
// One migration in a simulated world with faults, and what the checker found.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/migrate/engine.hpp"
#include "tests/simulation/network.hpp"

namespace vmferry::sim {

/// A way to migrate. `rival`: at the same time another client moves the guest to a third host.
struct Way {
  std::string_view name;
  FlagSet flags;
  Kind kind = Kind::managed;
  Protocol protocol = Protocol::v3_params;
  bool started = true, paused = false, postcopy_at_once = false, rival = false;
  int dirty_rate = 20;  ///< page writes a second
  std::optional<Timeout> timeout = std::nullopt;
  bool witness = true;  ///< the engine may watch the destination over a second connection
  /// Every call goes through our own client and server, and a cut comes at a byte of that.
  bool wire = false;
};
std::span<const Way> ways();
const Way* find_way(std::string_view name);

/// The connections to a host break when so many bytes have passed, in both directions together.
struct ByteCut {
  bool destination = false;
  std::uint64_t byte = 0;
};

struct Scenario {
  const Way* way = &ways().front();
  std::vector<Fault> faults;
  std::optional<ByteCut> byte_cut;
  std::uint64_t seed = 1;
  bool record = true;   ///< the hosts keep a durable record, as our own server does
  bool jitter = false;  ///< every message has its own delay
  Wrong wrong = Wrong::none;
  bool verbose = false;
};

struct Outcome {
  int steps = 0;
  std::uint64_t bytes[2] = {};  ///< that passed to and from source and destination, over the wire
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
/// Drops faults one at a time, and their strong forms, while the violation stays.
Scenario shrunk(Scenario scenario);

}  // namespace vmferry::sim

#include "tests/simulation/scenario.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "tests/simulation/stage.hpp"

namespace vmferry::sim {

namespace {

using namespace std::chrono_literals;
using enum Flag;

constexpr FlagSet kMove{live, persist_dest, undefine_source};

const Way kWays[] = {
    {.name = "live", .flags = kMove},
    {.name = "p2p", .flags = kMove.with(peer2peer), .kind = Kind::peer_to_peer},
    {.name = "tunnelled",
     .flags = kMove.with(peer2peer).with(tunnelled),
     .kind = Kind::peer_to_peer,
     .dirty_rate = 5},  // at half the speed it would go on for long
    {.name = "offline", .flags = {offline, persist_dest, undefine_source}, .started = false},
    {.name = "p2p-offline",
     .flags = {offline, persist_dest, undefine_source, peer2peer},
     .kind = Kind::peer_to_peer,
     .started = false},
    {.name = "paused", .flags = kMove, .paused = true},
    {.name = "stop-and-copy", .flags = {persist_dest}},
    {.name = "unwatched", .flags = kMove, .witness = false},
    {.name = "converge", .flags = kMove.with(auto_converge), .dirty_rate = 400},
    {.name = "storage", .flags = kMove.with(non_shared_disk).with(compressed)},
    {.name = "postcopy", .flags = kMove.with(postcopy), .postcopy_at_once = true},
    {.name = "p2p-postcopy",
     .flags = kMove.with(postcopy).with(peer2peer),
     .kind = Kind::peer_to_peer,
     .postcopy_at_once = true},
    {.name = "timeout-suspend", .flags = kMove, .timeout = Timeout{500ms, TimeoutAction::suspend}},
    {.name = "timeout-abort", .flags = kMove, .timeout = Timeout{700ms, TimeoutAction::abort}},
    {.name = "p2p-timeout",
     .flags = kMove.with(peer2peer),
     .kind = Kind::peer_to_peer,
     .timeout = Timeout{700ms, TimeoutAction::abort}},
    {.name = "v2", .flags = kMove, .protocol = Protocol::v2},
    {.name = "v1", .flags = kMove, .protocol = Protocol::v1},
    {.name = "rival", .flags = kMove, .rival = true},
    {.name = "wire", .flags = kMove, .wire = true},
};

}  // namespace

std::span<const Way> ways() { return kWays; }

const Way* find_way(std::string_view name) {
  const auto at = std::ranges::find(kWays, name, &Way::name);
  return at == std::end(kWays) ? nullptr : &*at;
}

Outcome play(const Scenario& scenario) {
  Stage stage(scenario);
  return stage.play();
}

std::string arguments(const Scenario& scenario) {
  std::string text = fmt::format("--way {} --seed {}", scenario.way->name, scenario.seed);
  if (!scenario.record) text += " --no-record";
  if (scenario.jitter) text += " --jitter";
  if (scenario.wrong != Wrong::none) text += fmt::format(" --wrong {}", name(scenario.wrong));
  if (scenario.byte_cut)
    text += fmt::format(" --cut {}@{}", scenario.byte_cut->destination ? "destination" : "source",
                        scenario.byte_cut->byte);
  for (const Fault& fault : scenario.faults)
    text +=
        fmt::format(" --fault {}@{}{}", name(fault.kind), fault.step, fault.late ? "+late" : "");
  return text;
}

Scenario shrunk(Scenario scenario) {
  const auto still_bad = [](const Scenario& s) { return !play(s).violations.empty(); };
  for (std::size_t i = 0; i < scenario.faults.size();) {
    Scenario less = scenario;
    less.faults.erase(less.faults.begin() + static_cast<std::ptrdiff_t>(i));
    if (still_bad(less))
      scenario = std::move(less);
    else
      ++i;
  }
  for (Fault& fault : scenario.faults) {
    if (!std::exchange(fault.late, false)) continue;
    if (!still_bad(scenario)) fault.late = true;
  }
  if (std::exchange(scenario.jitter, false) && !still_bad(scenario)) scenario.jitter = true;
  return scenario;
}

}  // namespace vmferry::sim

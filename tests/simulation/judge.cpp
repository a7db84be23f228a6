// What must hold at the end, and whether what the user was told is true.
#include <fmt/format.h>

#include "tests/simulation/stage.hpp"

namespace vmferry::sim {

const Guest* Stage::guest(const char* host) const {
  HostState* const state = world_->host(host);
  if (!state) return nullptr;
  const auto at = state->guests.find(vm_.uuid);
  return at == state->guests.end() ? nullptr : at->second.get();
}
bool Stage::runs(const char* host) const {
  const Guest* const g = guest(host);
  return g && g->status.runs();
}
bool Stage::active(const char* host) const {
  const Guest* const g = guest(host);
  return g && g->active();
}
bool Stage::here(const char* host) const {
  if (!way_.started) return guest(host) != nullptr;
  if (way_.paused) return active(host) && !guest(host)->in;
  return runs(host);
}

void Stage::judge_verdict(const Report& report) {
  const bool killed = network_.hypervisor_killed();
  const Exit exit = report.exit();
  if (exit == Exit::internal) network_.violation("an internal error");
  if (report.where == Whereabouts::destination && !here("b") && !network_.killed_after_look("b"))
    network_.violation("told that it is on the destination, where it is not");
  if (exit == Exit::done && report.where == Whereabouts::destination && active("a"))
    network_.violation("exit 0, but a copy is left on the source");
  if (way_.rival) return;  // the other client may have moved it meanwhile
  const bool nowhere = !here("a") && !here("b");
  const bool safe_at_home = exit == Exit::failed || exit == Exit::cancelled ||
                            exit == Exit::refused || exit == Exit::connect ||
                            exit == Exit::not_found;
  if (safe_at_home && report.where == Whereabouts::source && !here("a") && !killed)
    network_.violation("told that the guest is safe at the source, where it is not");
  if (safe_at_home && report.where == Whereabouts::source && killed && !active("a") &&
      way_.started && !network_.killed_unseen("a") && report.source.known())
    network_.violation("told that the guest is safe at the source, but it died there");
  const bool promised = exit == Exit::failed || exit == Exit::cancelled;
  if (promised && begun_ && report.where == Whereabouts::source && !report.source.known())
    network_.violation("told that the guest is safe at the source, which nobody has looked at");
  if (report.where == Whereabouts::lost && !nowhere)
    network_.violation("told that it is lost, which it is not");
  if (nowhere && !killed && exit != Exit::unknown && report.where != Whereabouts::lost)
    network_.violation("nothing runs, and the user was not told");
}

bool Stage::half_way(const char* host) const {
  const Guest* const g = guest(host);
  const std::int32_t why = g ? g->status.reason : 0;
  if (g && g->in && g->in->postcopy) return true;
  return g && g->status.state == DomainState::paused &&
         (why == kPausedPostcopy || why == kPausedPostcopyFailed);
}

void Stage::judge_host(const char* host) {
  const Guest* const g = guest(host);
  if (!g) return;
  const bool half = half_way(host);
  const bool lock = g->out && g->out->phase == JobPhase::begun;
  if (g->out && !half)
    network_.violation(fmt::format("a {} is left on {}", lock ? "lock" : "job", host));
  if (g->in && !half) network_.violation(fmt::format("an incoming guest is left on {}", host));
  if (g->throttle != 0 && !half)
    network_.violation(fmt::format("the guest is still throttled on {}", host));
  const bool survives = runs(host) || (active(host) && here(host));
  if (survives && !world_->memory_exact(host, vm_.uuid))
    network_.violation(fmt::format("the memory on {} is not the guest's", host));
}

// A definition stands on one side only, when the user was told of one side.
void Stage::judge_definitions(const Report& report) {
  if (way_.rival || network_.hypervisor_killed()) return;
  const bool moves = way_.flags.has(Flag::undefine_source);
  const Exit exit = report.exit();
  if (moves && exit == Exit::done && guest("a")) network_.violation("the source still has it");
  if (report.where == Whereabouts::source && exit != Exit::unknown && guest("b"))
    network_.violation("the destination has it though it did not go there");
}

void Stage::judge_leftovers() {
  for (const auto& [name, host] : world_->hosts()) {
    judge_host(name.c_str());
    for (const auto& weak : host->subscribers)
      if (!weak.expired()) network_.violation("a subscription is left on " + name);
  }
  const bool half = half_way("a") || half_way("b");
  if (world_->listening() > 0 && (!half || world_->listens_for_nobody()))
    network_.violation("a listener is left");
}

void Stage::judge_world(const std::optional<Report>& last) {
  judge_leftovers();
  const bool half = half_way("a") || half_way("b");
  if (last) judge_definitions(*last);
  const bool somewhere = here("a") || here("b") || here("c");
  const bool killed = network_.hypervisor_killed();
  if (somewhere || half || killed || network_.may_be_lost) return;
  // It stands still on the source: the user was told what to do, or could not be told any more.
  if ((active("a") || active("c")) && (!last || last->exit() == Exit::unknown || rival_unsure_))
    return;
  network_.violation("the guest runs nowhere");
}

}  // namespace vmferry::sim

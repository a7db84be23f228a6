// Once the CPUs' state has gone over, post-copy has no way back: neither side alone has the guest,
// so what is left is to make the destination run it.
#include <fmt/format.h>

#include "core/migrate/run.hpp"

namespace vmferry {

using Seen = Sighting::Seen;

Error half_way(Run& run, const Error& failure) {
  Error told(ErrorId::undecided,
             fmt::format("post-copy did not complete: {} ({})", failure.message, both_sides(run)));
  told.remedy =
      "The guest's memory is on both hosts: destroy neither. When the network is back, repeat the "
      "same command with --postcopy-resume.";
  return told.at(failure.side).in(failure.phase);
}

// True: the destination runs the guest and has all of its memory.
static Task<bool> finish_again(Run& run) {
  if (!run.destination.host || run.destination.host->lost()) co_return false;
  const PhaseCall call = run.destination_call();
  Task<Finished> asked = run.destination.host->finish(call, run.performed, Verdict::completed);
  auto finished = co_await settle(std::move(asked));
  if (!finished) run.note(fmt::format("finish, again: {}", finished.error().message));
  co_return finished && finished->domain;
}

// Whether it has not been told to run yet, or is at it.
static bool waits(const Sighting& there) {
  return there.seen == Seen::paused && still_incoming(there) && !in_postcopy(there);
}

Task<bool> push_postcopy(Run& run) {
  const Micros give_up = run.engine.clock.now() + run.engine.options.settle_for;
  for (;;) {
    const Sighting there = co_await run.look(run.destination);
    run.report.destination = there;
    if (arrived(run, there)) co_return true;
    const bool told = waits(there);
    if (told) {
      const bool done = co_await finish_again(run);
      if (done) co_return true;
    }
    const bool fed = in_postcopy(there) && !postcopy_broke(there);
    if (there.known() && !fed && !told) co_return false;
    // As long as its memory comes it is waited for; the user may lose patience.
    const bool patient = fed && run.engine.stop.times() < 2;
    if (!patient && run.engine.clock.now() >= give_up) co_return false;
    co_await run.pause();
  }
}

Task<> postcopy_failed(Run& run, Error failure) {
  // The source is told, so that the job can be resumed later.
  const bool connected = run.source.host && !run.source.host->lost();
  if (!failure.reply_lost && connected) co_await release_source(run);
  run.enter(Phase::verify);
  run.report.source = co_await run.glance(run.source);
  run.report.destination = co_await run.glance(run.destination);
  if (run.report.source.seen == Seen::running && !in_postcopy(run.report.source)) {
    close_verdict(run, Whereabouts::source, of_phase(std::move(failure)));  // nothing was broken
    co_return;
  }
  const Sighting& here = run.report.source;
  const Sighting& there = run.report.destination;
  const auto gone = [](const Sighting& s) { return s.known() && !s.active(); };
  // One side that is gone had half of it only if the switch is known to have happened; and what is
  // not seen at the destination may have everything.
  const bool switched = run.postcopy || in_postcopy(here) || in_postcopy(there);
  const bool half_gone = switched && (gone(there) || (gone(here) && there.known()));
  if (!half_gone && !(gone(here) && gone(there))) {
    close_verdict(run, Whereabouts::undecided, half_way(run, failure));
    co_return;
  }
  Error lost(ErrorId::guest_lost,
             fmt::format("post-copy did not complete, and one half of the guest's memory is gone "
                         "with its hypervisor ({})",
                         both_sides(run)));
  lost.note(std::move(failure.message));
  close_verdict(run, Whereabouts::lost, std::move(lost).at(failure.side).in(failure.phase));
}

}  // namespace vmferry

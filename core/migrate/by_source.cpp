// Peer-to-peer and direct migration: one call, in which the source (or its hypervisor) drives
// everything. What happens between the hosts only the source's daemon knows; afterwards we look.
#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/migrate/run.hpp"

namespace vmferry {

namespace {

using Seen = Sighting::Seen;

Task<bool> drive(Run& run, Copy& copy, Result<Cookie>& out) {
  const PhaseCall call{run.plan.protocol, run.plan.domain, run.plan.params, run.plan.flags};
  const Cookie none;
  std::optional<std::string> peer;
  if (run.plan.kind == Kind::peer_to_peer) peer = run.plan.destination_uri;
  Task<Cookie> performing = run.source.host->perform(call, none, peer);
  out = co_await settle(std::move(performing));
  copy.ended = copy.over = true;
  copy.changed.notify();
  co_return true;
}

Task<bool> watch(Run& run, Copy& copy) {
  co_await attend(run, copy);
  co_return true;
}

Task<bool> listening_to(Run& run, Copy& copy) {
  co_await listen(run, copy);
  co_return run.source.events != nullptr;
}

// After a lost answer the daemon goes on by itself: wait for its job to end, however long it takes;
// the user may stop it.
Task<> wait_for_the_job(Run& run) {
  bool abort_asked = false;
  for (;;) {
    const auto connected = co_await settle(run.reconnect(run.source));
    if (!connected) co_return;
    Task<JobStats> asked = run.source.host->job_stats(run.plan.domain, false);
    const auto stats = co_await settle(std::move(asked));
    if (!stats && !run.source.host->lost()) co_return;  // no such domain any more, or no job
    if (stats && stats->type == JobType::none) co_return;
    if (stats) run.engine.observer.progress(*stats);
    if (run.engine.stop.requested() && !abort_asked) {
      Task<> abort = run.source.host->abort_job(run.plan.domain, false);
      const auto aborted = co_await settle(std::move(abort));
      abort_asked = aborted.has_value();
      run.abort_why = run.engine.stop.why();
    }
    co_await run.engine.clock.sleep(run.engine.options.poll);
  }
}

Error explain(Run& run, Error failure) {
  if (run.abort_why.empty()) return failure;
  Error told(ErrorId::cancelled, fmt::format("{} ({})", run.abort_why, failure.message));
  return told.at(Side::source).in("perform");
}

// The call failed. Who has the guest? Only what both ends say counts.
void judge(Run& run, Error failure) {
  const Sighting& here = run.report.source;
  const Sighting& there = run.report.destination;
  const std::string seen =
      fmt::format("source: {}; destination: {}", describe(here), describe(there));
  if (here.seen == Seen::running && there.seen == Seen::running) {
    Error told(ErrorId::undecided, fmt::format("the guest runs on BOTH hosts ({})", seen));
    told.remedy = "Decide which copy is the good one and destroy the other at once.";
    run.report.where = Whereabouts::undecided;
    run.report.error = std::move(told).note(std::move(failure.message));
  } else if (in_postcopy(here) || in_postcopy(there)) {
    run.report.where = Whereabouts::undecided;
    run.report.error = half_way(run, failure);
  } else if (here.seen == Seen::running || (here.seen == Seen::paused && !run.was_running)) {
    run.report.where = Whereabouts::source;
    run.report.error = explain(run, std::move(failure));
  } else if (there.seen == Seen::running) {
    run.report.where = Whereabouts::destination;
    run.note(failure.message);
    if (here.active())
      run.report.error = Error(ErrorId::leftover,
                               "the guest moved, but a paused copy is left on "
                               "the source")
                             .at(Side::source);
  } else if (run.moves_stopped() && here.seen == Seen::inactive) {
    run.report.where = Whereabouts::source;
    run.report.error = explain(run, std::move(failure));
  } else {
    Error told(ErrorId::undecided,
               fmt::format("{}; in a peer-to-peer migration only the source's daemon knows more "
                           "({})",
                           failure.message, seen));
    run.report.where = Whereabouts::undecided;
    run.report.error = std::move(told).at(Side::source).in("perform");
  }
}

// A broken post-copy that was resumed may go on, and end well, after the daemon called it failed.
bool goes_on(const Sighting& s) { return in_postcopy(s) && !postcopy_broke(s); }

Task<> see_both(Run& run) {
  run.enter(Phase::verify);
  const Micros give_up = run.engine.clock.now() + run.engine.options.settle_for;
  for (;;) {
    run.report.source = co_await run.look(run.source);
    if (run.destination.reopen || run.destination.host)
      run.report.destination = co_await run.glance(run.destination);
    if (!goes_on(run.report.destination) || run.engine.clock.now() >= give_up) co_return;
    co_await run.engine.clock.sleep(run.engine.options.reconnect_pause);
  }
}

}  // namespace

Task<> run_by_source(Run& run) {
  run.check_stop();
  const auto ex = co_await asio::this_coro::executor;
  Copy copy(ex);
  run.copy = copy.self;
  auto [before, listening] =
      co_await both(settle(run.source.host->status(run.plan.domain)), listening_to(run, copy));
  if (before) {
    run.was_active = before->active();
    run.was_stopped = !run.was_active;
    run.was_running = before->runs();
  }
  run.enter(Phase::perform);
  run.touched = true;
  Result<Cookie> performed;
  co_await both(drive(run, copy, performed), watch(run, copy));
  if (copy.aborted) run.abort_why = copy.abort_why;
  if (performed) {
    co_await verify(run);
    co_return;
  }
  Error failure = std::move(performed.error()).at(Side::source).in("perform");
  if (failure.reply_lost) {
    run.notice("the connection to the source broke; its daemon goes on by itself, asking it again");
    co_await wait_for_the_job(run);
  }
  co_await see_both(run);
  std::optional<Error> stuck = co_await prove_source_runs(run, failure);
  if (stuck) {
    run.report.where = Whereabouts::undecided;
    run.report.error = *std::move(stuck);
    co_return;
  }
  judge(run, std::move(failure));
}

}  // namespace vmferry

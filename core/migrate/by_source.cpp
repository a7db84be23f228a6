// Peer-to-peer and direct migration: one call, in which the source (or its hypervisor) drives
// everything. What happens between the hosts only the source's daemon knows; afterwards we look.
#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/migrate/run.hpp"

namespace vmferry {

namespace {

using Seen = Sighting::Seen;

Task<> answer_to(Task<Cookie> performing, Result<Cookie>& out) {
  out = co_await settle(std::move(performing));
}

// A copy that was aborted ends with its daemon only, so there is nothing to do but wait. One that
// its hypervisor gave up is over.
Task<> wait_ran_on(Copy& copy) {
  while (!copy.given_up || !copy.resumed_at) co_await copy.changed.wait();
}

Task<bool> drive(Run& run, Copy& copy, Result<Cookie>& out) {
  const PhaseCall call{run.plan.protocol, run.plan.domain, run.plan.params, run.plan.flags};
  const Cookie none;
  std::optional<std::string> peer;
  if (run.plan.kind == Kind::peer_to_peer) peer = run.plan.destination_uri;
  Task<Cookie> performing = run.source.host->perform(call, none, peer);
  const std::size_t first =
      co_await first_of(answer_to(std::move(performing), out), wait_ran_on(copy));
  if (first == 1) out = std::unexpected(no_answer(copy));
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

// After a lost answer the daemon goes on by itself: wait for its job to end, however long it takes.
// The user may stop it, and his time limit holds on.
class Vigil {
 public:
  Vigil(Run& run, Micros began) : run_(run), began_(began) {}

  Task<> until_over() {
    for (;;) {
      const auto connected = co_await settle(run_.reconnect(run_.source));
      if (!connected) co_return;
      Task<JobStats> asked = host().job_stats(run_.plan.domain, false);
      const auto stats = co_await settle(std::move(asked));
      if (!stats && !host().lost()) co_return;  // no such domain any more, or no job
      if (stats && stats->type == JobType::none) co_return;
      if (stats) run_.engine.observer.progress(*stats);
      co_await act();
      co_await run_.engine.clock.sleep(run_.engine.options.poll);
    }
  }

 private:
  Host& host() { return *run_.source.host; }

  Task<> act() {
    const auto& timeout = run_.plan.timeout;
    const bool late = timeout && run_.engine.clock.now() - began_ >= timeout->after;
    if (run_.engine.stop.requested())
      co_await abort_for(run_.engine.stop.why());
    else if (late && timeout->action == TimeoutAction::abort)
      co_await abort_for("the timeout has passed");
    else if (late && !timed_out_)
      co_await time_out(timeout->action);
  }

  Task<> abort_for(std::string why) {
    if (abort_asked_) co_return;
    Task<> abort = host().abort_job(run_.plan.domain, false);
    const auto aborted = co_await settle(std::move(abort));
    abort_asked_ = aborted.has_value();
    if (aborted) run_.abort_why = std::move(why);
  }

  Task<> time_out(TimeoutAction action) {
    run_.suspended_by_us = run_.suspended_by_us || action == TimeoutAction::suspend;
    Task<> asked = action == TimeoutAction::suspend ? host().suspend(run_.plan.domain)
                                                    : host().start_postcopy(run_.plan.domain);
    const auto done = co_await settle(std::move(asked));
    timed_out_ = done.has_value();
  }

  Run& run_;
  const Micros began_;
  bool abort_asked_ = false, timed_out_ = false;
};

Error explain(Run& run, Error failure) {
  failure = of_phase(std::move(failure));
  if (run.abort_why.empty()) return failure;
  Error told(ErrorId::cancelled, fmt::format("{} ({})", run.abort_why, failure.message));
  return told.at(Side::source).in("perform");
}

// The call failed. Who has the guest? Only what both ends say counts. `defined`: the definition
// that was to move has come to the destination; nothing: that could not be asked.
void judge(Run& run, Error failure, std::optional<bool> defined) {
  const Sighting& here = run.report.source;
  const Sighting& there = run.report.destination;
  const std::string seen = both_sides(run);
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
    if (!here.known() || here.active()) run.report.error = left_at_source(here);
  } else if (defined.value_or(false)) {
    run.report.where = Whereabouts::destination;
    run.note(failure.message);
    if (run.plan.flags.has(Flag::undefine_source) && here.seen != Seen::absent)
      run.report.error =
          Error(ErrorId::leftover, "the definition moved, but the source still has it")
              .at(Side::source);
  } else if (run.moves_stopped() && here.seen == Seen::inactive && defined &&
             (there.known() || !failure.reply_lost)) {
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
    co_await run.pause();
  }
}

// Moving a definition is no job that could be seen: the daemon may be at it until it shows. True:
// it came to the destination.
Task<bool> wait_for_definition(Run& run) {
  const Micros give_up = run.engine.clock.now() + 2 * run.engine.options.settle_for;
  for (;;) {
    const Sighting there = co_await run.glance(run.destination);
    const Sighting here = co_await run.glance(run.source);
    bool defined = false;
    if (there.seen == Seen::inactive) {
      const std::optional<bool> kept_there = co_await defined_there(run);
      defined = kept_there.value_or(false);
    }
    const bool kept = !run.plan.flags.has(Flag::undefine_source);
    if (defined && (kept || here.seen == Seen::absent)) co_return true;
    if (run.engine.clock.now() >= give_up) co_return defined;
    co_await run.pause();
  }
}

}  // namespace

Task<> run_by_source(Run& run) {
  run.report.error = run.stopped();
  if (run.report.error) co_return;
  const auto ex = co_await asio::this_coro::executor;
  Copy copy(ex);
  run.copy = copy.self;
  auto [before, listening] =
      co_await both(settle(run.source.host->status(run.plan.domain)), listening_to(run, copy));
  if (before) {
    run.was_active = before->active() || run.plan.active;
    run.was_stopped = !run.was_active;
    run.was_running = before->runs();
  }
  run.enter(Phase::perform);
  const Micros began = run.engine.clock.now();
  run.touched = true;
  Result<Cookie> performed;
  co_await both(drive(run, copy, performed), watch(run, copy));
  if (copy.aborted) run.abort_why = copy.abort_why;
  if (performed) {
    co_await verify(run);
    co_return;
  }
  Error failure = std::move(performed.error()).at(Side::source).in("perform");
  if (failure.reply_lost && copy.resumed_at && !run.source.host->lost()) {
    failure.reply_lost = false;  // the copy is over, whether its daemon knows or not
    run.report.source = co_await wait_for_source(run);
  } else if (failure.reply_lost) {
    run.notice("the connection to the source broke; its daemon goes on by itself, asking it again");
    Vigil vigil(run, began);
    co_await vigil.until_over();
  }
  std::optional<bool> defined = false;
  const bool in_doubt = failure.reply_lost && run.moves_stopped();
  if (in_doubt) defined = co_await wait_for_definition(run);
  co_await see_both(run);
  // The hosts may have been out of reach until now.
  if (in_doubt && !*defined && run.report.destination.seen == Seen::inactive)
    defined = co_await defined_there(run);
  const Sighting& here = run.report.source;
  if (here.seen == Seen::paused && in_postcopy(here)) {
    const bool pushed = co_await push_postcopy(run);
    if (!pushed) {
      failure.reply_lost = true;  // the source has no job of ours to give up
      co_await postcopy_failed(run, std::move(failure));
      co_return;
    }
    co_await after_failed_confirm(run, std::move(failure));
    co_await verify(run);
    co_return;
  }
  std::optional<Error> stuck = co_await prove_source_runs(run, failure);
  if (stuck) {
    run.report.where = Whereabouts::undecided;
    run.report.error = *std::move(stuck);
    co_return;
  }
  judge(run, std::move(failure), defined);
}

}  // namespace vmferry

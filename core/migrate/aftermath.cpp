// What is done when a phase failed, by the rules at the top of engine.hpp.
#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/migrate/run.hpp"

namespace vmferry {

void close_verdict(Run& run, Whereabouts where, Error error) {
  run.report.where = where;
  run.report.error = std::move(error);
}

Error left_at_source(const Sighting& here) {
  Error told(ErrorId::leftover,
             fmt::format("the guest moved, but the source's copy is {}", describe(here)));
  return std::move(told).at(Side::source);
}

Error of_phase(Error failure) {
  if (failure.exit() == Exit::not_found) failure.id = ErrorId::migrate_failed;
  return failure;
}

std::string both_sides(const Run& run) {
  return fmt::format("source: {}; destination: {}", describe(run.report.source),
                     describe(run.report.destination));
}

Task<std::optional<bool>> defined_there(Run& run) {
  for (int tries = 0; tries < 3; ++tries) {
    const auto connected = co_await settle(run.reconnect(run.destination));
    if (!connected) break;
    const auto persistent = co_await settle(run.destination.host->is_persistent(run.plan.domain));
    if (persistent) co_return *persistent;
    if (persistent.error().id == ErrorId::no_domain) co_return false;
    if (!run.destination.host->lost()) break;
  }
  co_return std::nullopt;
}

namespace {

using Seen = Sighting::Seen;
constexpr std::int32_t kMigrateFinishOk = 93;  // VIR_ERR_MIGRATE_FINISH_OK: cleaned up as asked
constexpr std::int32_t kOperationAborted = 78;
constexpr int kResumes = 10;
constexpr Micros kPatience = std::chrono::seconds(5);

// Of a definition that was to move, libvirt's qemu driver (9.0) keeps after a cancelled Finish a
// domain that is neither active nor defined, and would be in the way of the next attempt. Defining
// and undefining it removes it.
Task<> remove_ghost(Run& run) {
  const Sighting seen = co_await run.glance(run.destination);
  if (seen.seen != Seen::inactive) co_return;
  const std::optional<bool> defined = co_await defined_there(run);
  if (defined.value_or(true)) co_return;  // it was there before
  const auto* xml = run.plan.params.get<std::string>("destination_xml");
  if (xml == nullptr) co_return;
  const auto made = co_await settle(run.destination.host->define(*xml, DefineFlags::none));
  if (!made) {
    run.note(fmt::format("the destination keeps the undefined domain {}: {}", run.plan.domain.name,
                         made.error().message));
    co_return;
  }
  const auto gone = co_await settle(run.destination.host->undefine(*made, 0));
  if (!gone)
    run.note(fmt::format("the definition of {} on the destination could not be removed: {}",
                         made->name, gone.error().message));
}

// The first protocol has no word for "end it": its Finish would run the guest.
Task<> end_incoming_v1(Run& run) {
  const Sighting seen = co_await run.look(run.destination);
  if (seen.seen != Seen::paused || seen.status.reason == kPausedUser) co_return;
  const auto ended = co_await settle(run.destination.host->destroy(run.plan.domain, 0));
  if (!ended)
    run.note(fmt::format("the incoming guest could not be ended: {}", ended.error().message));
}

// Tells the destination to end the incoming guest. A host whose connection is gone does so itself.
Task<> end_incoming(Run& run) {
  if (run.plan.departs.outlives_client) {
    const auto connected = co_await settle(run.reconnect(run.destination));
    if (!connected)
      run.note(fmt::format("the destination could not be told to clean up: {}",
                           connected.error().message));
  }
  if (!run.destination.host || run.destination.host->lost()) co_return;
  if (run.plan.protocol == Protocol::v1) {
    co_await end_incoming_v1(run);
    co_return;
  }
  // It would be Perform's, and there is none after a failure; before v3 it is Prepare's.
  const Cookie& cookie = run.prepare_cookie;
  const PhaseCall call = run.destination_call();
  Task<Finished> asked = run.destination.host->finish(call, cookie, Verdict::cancelled);
  const auto ended = co_await settle(std::move(asked));
  if (run.plan.flags.has(Flag::offline)) co_await remove_ghost(run);
  if (ended || ended.error().wire.code == kMigrateFinishOk) co_return;
  run.note(fmt::format("the destination, asked to clean up, said: {}", ended.error().message));
}

}  // namespace

Task<> release_source(Run& run) {
  if (run.plan.protocol < Protocol::v3) co_return;  // there is no such phase
  const bool by_confirm = run.source_stands || run.plan.change_protection;
  if (run.plan.departs.confirm_frees && !by_confirm) {
    co_await give_back_lock(run);
    co_return;
  }
  const PhaseCall call = run.source_call();
  const Cookie none;
  Task<> asked = run.source.host->confirm(call, none, Verdict::cancelled);
  const auto released = co_await settle(std::move(asked));
  run.source_stands = false;
  if (!released)
    run.note(fmt::format("the source, asked to give up the migration, said: {}",
                         released.error().message));
}

namespace {

// The destination is known not to run the guest, so a source stopped by the migration may go on.
Task<Sighting> resume_source(Run& run) {
  Sighting seen = co_await run.look(run.source);
  std::string trouble;
  for (int tries = 0; tries < kResumes && seen.seen == Seen::paused && run.was_running; ++tries) {
    // Before Perform it was somebody else who stopped it, and who may run it elsewhere by now.
    const bool ours = run.suspended_by_us || (run.copying && seen.status.reason != kPausedUser);
    if (!ours || in_postcopy(seen)) break;
    Task<> asked = run.source.host->resume(run.plan.domain);
    const auto resumed = co_await settle(std::move(asked));
    if (!resumed) {
      const std::string& said = resumed.error().message;
      if (said != trouble) run.note(fmt::format("resuming the source: {}", said));
      trouble = said;
      co_await run.pause();
    }
    seen = co_await run.look(run.source);
  }
  co_return seen;
}

// The original failure, as what the user asked for if he did ask for it.
Error as_asked(Run& run, Error failure) {
  failure = of_phase(std::move(failure));
  const bool stopped = failure.id == ErrorId::cancelled || failure.wire.code == kOperationAborted;
  if (run.abort_why.empty() && !stopped) return failure;
  const std::string why = run.abort_why.empty() ? run.engine.stop.why() : run.abort_why;
  Error told(ErrorId::cancelled,
             why.empty() ? failure.message : fmt::format("{} ({})", why, failure.message));
  told.at(failure.side).in(failure.phase);
  told.wire = failure.wire;
  return told;
}

// The last word when the guest should be at the source: what is it really doing there?
Task<> judge_home(Run& run, Error failure) {
  run.enter(Phase::verify);
  if (run.source_stands && run.plan.departs.hides_standstill) {
    const auto connected = co_await settle(run.reconnect(run.source));
    if (connected) co_await release_source(run);
  }
  run.report.source = co_await resume_source(run);
  if (run.destination.host && !run.destination.host->lost())
    run.report.destination = co_await run.look(run.destination);
  Error told = as_asked(run, std::move(failure));
  std::optional<Error> stuck = co_await prove_source_runs(run, told);
  if (stuck) {
    close_verdict(run, Whereabouts::undecided, *std::move(stuck));
    co_return;
  }
  const Seen seen = run.report.source.seen;
  const bool gone = seen == Seen::absent || (run.was_active && seen == Seen::inactive) ||
                    (seen == Seen::unreachable && run.died);
  if (in_postcopy(run.report.source)) {
    close_verdict(run, Whereabouts::undecided, half_way(run, told));
  } else if (gone) {
    const std::string now = run.died ? "not running any more" : describe(run.report.source);
    Error lost(
        ErrorId::guest_lost,
        fmt::format("the source's guest is {}; it was never started on the destination", now));
    lost.note(std::move(told.message));
    close_verdict(run, Whereabouts::lost, std::move(lost).at(Side::source));
  } else if (seen == Seen::unreachable) {
    close_verdict(run, Whereabouts::source, source_unseen(run, told));
  } else {
    if (seen == Seen::paused && run.was_running)
      told.note(
          "the guest is paused at the source and could not be resumed; it is safe to resume "
          "it by hand, since it never ran on the destination");
    close_verdict(run, Whereabouts::source, std::move(told));
  }
}

// report.destination is what was seen there last; the source is looked at here.
Task<> leave_undecided(Run& run, const Error& failure) {
  run.report.source = co_await run.glance(run.source);
  Error told(ErrorId::undecided,
             fmt::format("{}; whether the guest runs on the destination cannot be known: {}",
                         failure.message, both_sides(run)));
  told.at(Side::destination).in(failure.phase);
  const std::string& name = run.plan.domain.name;
  told.remedy = fmt::format(
      "Look on the destination: `vmferry -c '{}' domstate {}`. If it runs there, remove the paused "
      "copy on the source: `vmferry -c '{}' destroy {}`. Only if it surely never ran there, resume "
      "the source: `vmferry -c '{}' resume {}`.",
      run.destination.uri, name, run.source.uri, name, run.source.uri, name);
  if (run.plan.departs.hides_standstill) told.remedy = libxl_remedy(run);
  close_verdict(run, Whereabouts::undecided, std::move(told));
}

bool job_under_way(const JobStats& stats) {
  return stats.type == JobType::bounded || stats.type == JobType::unbounded;
}

// libvirt 9.0 misses QEMU's "cancelled" when it comes while it asks for statistics (seen with
// aborts just at the switch-over), and then waits for it as long as the guest lives.
void note_stuck_job(Run& run) {
  run.note(
      "the source still takes the migration to be under way, and lets nothing else be done with "
      "the guest meanwhile; a libvirt daemon gives it up when it is restarted (`systemctl restart "
      "libvirtd`, or virtqemud), which does not touch running guests");
}

}  // namespace

// Waits, over a new connection, until the source's own migration job is over, aborting one that
// is still copying. An abort that meets the switch-over can leave QEMU 7.2 in "cancelling" for
// good, with the guest stopped: so none is sent while the guest is paused, nor before a copy that
// was nearly done had a moment to end.
Task<Sighting> wait_for_source(Run& run) {
  const EngineOptions& options = run.engine.options;
  const bool runs_again = run.copy && *run.copy && (*run.copy)->resumed_at;
  const Micros give_up =
      run.engine.clock.now() + (runs_again ? options.answer_for : options.settle_for);
  Sighting seen;
  bool copying = false;
  for (;;) {
    seen = co_await run.look(run.source);
    const bool late = run.engine.clock.now() >= give_up;
    if (!seen.active() && (seen.known() || late)) co_return seen;
    if (!seen.known()) {  // the new connection broke as well
      co_await run.pause();
      continue;
    }
    Task<JobStats> asked = run.source.host->job_stats(run.plan.domain, false);
    const auto stats = co_await settle(std::move(asked));
    const bool idle = stats && !job_under_way(*stats);
    if (idle) {  // it may have switched over, or to post-copy, since it was looked at
      seen = co_await run.look(run.source);
      if (seen.known() || late) co_return seen;
      continue;
    }
    if (stats && late) note_stuck_job(run);
    if (late) co_return seen;
    const bool switching = seen.seen == Seen::paused && run.was_running;
    if (copying && !switching) {
      Task<> abort = run.source.host->abort_job(run.plan.domain, false);
      const auto aborted = co_await settle(std::move(abort));
      (void)aborted;  // it may be over by now: the next look tells
    }
    copying = true;
    co_await run.pause();
  }
}

namespace {

// Does the destination know that the guest never ran there?
Task<bool> known_never_to_have_run(Run& run, const Cookie& begun, Witness* witness) {
  if (witness && witness->never_ran()) co_return true;
  if (!run.destination.host || run.destination.host->lost()) co_return false;
  Task<std::optional<bool>> asked = run.destination.host->ever_started(run.plan.domain, begun);
  const auto record = co_await settle(std::move(asked));
  co_return record && *record && !**record;
}

}  // namespace

bool still_incoming(const Sighting& s) {
  const bool waits = s.status.reason == kPausedMigration || s.status.reason == kPausedStartingUp;
  return (s.seen == Seen::paused && waits) || (in_postcopy(s) && !postcopy_broke(s));
}

namespace {

// Until the destination has made up its mind: it runs the guest, or has dropped it.
Task<Sighting> wait_for_destination(Run& run) {
  const Micros give_up = run.engine.clock.now() + run.engine.options.settle_for;
  for (;;) {
    Sighting seen = co_await run.look(run.destination);
    const bool decided = seen.known() && !still_incoming(seen);
    // In post-copy it waits for its memory for as long as that comes; the user may lose patience.
    const bool fed = seen.status.runs() && seen.status.reason == kRunningPostcopy;
    const bool patient = fed && run.engine.stop.times() < 2;
    if ((decided && !fed) || (!patient && run.engine.clock.now() >= give_up)) co_return seen;
    co_await run.pause();
  }
}

}  // namespace

bool arrived(const Run& run, const Sighting& seen) {
  if (in_postcopy(seen)) return false;  // the source still has some of its memory
  if (run.moves_stopped()) return seen.seen == Seen::inactive || seen.active();
  if (seen.seen == Seen::running) return true;
  return seen.seen == Seen::paused && run.plan.flags.has(Flag::paused) && !still_incoming(seen);
}

namespace {

// The source's QEMU is gone, but the destination may have received everything: nothing can run
// twice any more, so it may try.
Task<> try_destination(Run& run, Error failure) {
  const PhaseCall call = run.destination_call();
  const Cookie& cookie = run.prepare_cookie;  // Perform's is lost
  Task<Finished> asked = run.destination.host->finish(call, cookie, Verdict::completed);
  auto finished = co_await settle(std::move(asked));
  if (finished && finished->domain) {
    run.report.domain = finished->domain;
    run.note(
        fmt::format("the source's guest ended with its hypervisor ({}); the destination had "
                    "received it whole",
                    failure.message));
    co_await verify(run);
    co_return;
  }
  if (!finished && finished.error().reply_lost) {
    run.report.destination = co_await wait_for_destination(run);
    if (arrived(run, run.report.destination))
      co_await verify(run);
    else
      co_await leave_undecided(run, finished.error());
    co_return;
  }
  co_await judge_home(run, std::move(failure));
}

Task<> give_up_finish(Run& run, Error failure, bool never_ran) {
  if (never_ran) {
    const bool later = run.plan.departs.hides_standstill;  // judge_home does it, connected anew
    if (!later && run.source.host && !run.source.host->lost()) co_await release_source(run);
    co_await judge_home(run, std::move(failure));
    co_return;
  }
  run.enter(Phase::verify);
  co_await leave_undecided(run, failure);
}

// Before v3 the source ends its copy when it has sent it: the destination has the only one, which
// is not to be ended whatever Finish said.
Task<bool> after_failed_old_finish(Run& run, Error failure) {
  Sighting there = co_await wait_for_destination(run);
  if (still_incoming(there) && there.known()) {
    const PhaseCall call = run.destination_call();
    Task<Finished> asked =
        run.destination.host->finish(call, run.prepare_cookie, Verdict::completed);
    const auto again = co_await settle(std::move(asked));
    if (!again) run.note(fmt::format("finish, tried again: {}", again.error().message));
    there = co_await run.look(run.destination);
  }
  run.report.destination = there;
  if (arrived(run, there)) co_return true;
  run.enter(Phase::verify);
  co_await leave_undecided(run, failure);
  co_return false;
}

}  // namespace

Task<> bring_home(Run& run, Error failure, bool prepared, bool confirm_too) {
  if (run.postcopy) {
    co_await postcopy_failed(run, std::move(failure));
    co_return;
  }
  if (prepared) co_await end_incoming(run);
  if (confirm_too && run.plan.departs.confirm_frees) {
    const auto again = co_await settle(run.reconnect(run.source));
    if (!again) run.note(fmt::format("the source keeps its lock: {}", again.error().message));
  }
  const bool connected = run.source.host && !run.source.host->lost();
  if (confirm_too && connected) co_await release_source(run);
  co_await judge_home(run, std::move(failure));
}

static Task<bool> after_lost_perform_to_the_end(Run& run, Error failure) {
  run.notice(
      "the connection to the source broke while the guest was copied; the copy goes on by itself");
  const bool arrived = co_await finish_arrived(run);
  if (arrived) {
    run.note(fmt::format("the source's answer was lost ({}), but the guest arrived whole",
                         failure.message));
    co_return true;
  }
  if (run.report.destination.seen == Seen::inactive) {
    // What is listed there waits for a copy that is over: its remains are removed by Finish.
    const bool over = co_await copy_is_over(run);
    if (over) co_await end_incoming(run);
    run.report.destination = co_await run.look(run.destination);
  }
  if (run.report.destination.seen == Seen::absent) {
    co_await judge_home(run, std::move(failure));
    co_return false;
  }
  co_await leave_undecided(run, failure);
  co_return false;
}

Task<bool> after_lost_perform(Run& run, Error failure) {
  if (run.plan.departs.outlives_client) {
    const bool arrived = co_await after_lost_perform_to_the_end(run, std::move(failure));
    co_return arrived;
  }
  if (run.source.host && !run.source.host->lost() && !run.postcopy) {
    // A copy that hangs in its abort may end when its other end does.
    const Sighting hanging = co_await run.look(run.source);
    if (hanging.active()) co_await end_incoming(run);
  } else {
    run.notice("the connection to the source broke while the guest was copied; asking it again");
  }
  const Sighting seen = co_await wait_for_source(run);
  if (run.postcopy || in_postcopy(seen)) {
    const bool pushed = co_await push_postcopy(run);
    if (!pushed) co_await postcopy_failed(run, std::move(failure));
    co_return pushed;
  }
  if (run.plan.flags.has(Flag::postcopy) && !seen.known()) {
    // Should it have switched, nothing may end the destination's half.
    co_await postcopy_failed(run, std::move(failure));
    co_return false;
  }
  const bool destination_up = run.destination.host && !run.destination.host->lost();
  const bool gone = seen.known() && !seen.active();
  if (gone && run.was_active && destination_up) {
    co_await try_destination(run, std::move(failure));
    co_return false;
  }
  co_await end_incoming(run);
  co_await judge_home(run, std::move(failure));
  co_return false;
}

// Of a driver whose incoming guest waits for anybody's Finish. None: it has no answer for us.
static Task<std::optional<bool>> settle_with_destination(Run& run, const Error& failure) {
  const bool there = co_await finish_arrived(run);
  if (there) {
    run.note(fmt::format("the answer to Finish was not a good one ({}), but the guest is there",
                         failure.message));
    co_return true;
  }
  if (run.report.destination.seen != Seen::paused) co_return std::nullopt;
  const bool unfinished = co_await awaits_finish(run);
  if (!unfinished) co_return std::nullopt;
  co_await end_incoming(run);
  co_await give_up_finish(run, Error(failure), true);
  co_return false;
}

Task<bool> after_failed_finish(Run& run, Error failure, const Cookie& begun, Witness* witness) {
  if (run.engine.options.resume_on_lost_finish_for_tests) {
    co_await release_source(run);
    co_await judge_home(run, std::move(failure));
    co_return false;
  }
  const bool waits_for_anybody = run.plan.departs.outlives_client;
  if (failure.reply_lost) run.notice("the answer of the destination was lost; asking it again");
  const bool offline = run.plan.flags.has(Flag::offline);
  if (run.plan.protocol < Protocol::v3 && !offline) {
    const bool there = co_await after_failed_old_finish(run, std::move(failure));
    co_return there;
  }
  if (run.plan.flags.has(Flag::postcopy) && !run.postcopy) {
    const Sighting here = co_await run.glance(run.source);
    run.postcopy = here.seen == Seen::paused && in_postcopy(here);
  }
  if (run.postcopy) {
    const bool pushed = co_await push_postcopy(run);
    if (!pushed) co_await postcopy_failed(run, std::move(failure));
    co_return pushed;
  }
  if (!failure.reply_lost && !waits_for_anybody) {
    // It answered, so it is not about to start the guest; an incoming guest still there is ended.
    const Sighting first = co_await run.look(run.destination);
    if (still_incoming(first) && !in_postcopy(first)) co_await end_incoming(run);
  }
  if (waits_for_anybody) {
    const std::optional<bool> settled = co_await settle_with_destination(run, failure);
    if (settled) co_return *settled;
  } else {
    run.report.destination = co_await wait_for_destination(run);
  }
  const Sighting seen = run.report.destination;
  if (offline && seen.known()) {
    const std::optional<bool> defined = co_await defined_there(run);
    if (defined.value_or(false) && failure.reply_lost) co_return true;
    if (!defined && failure.reply_lost) {
      co_await leave_undecided(run, failure);
      co_return false;
    }
    co_await bring_home(run, std::move(failure), true, true);
    co_return false;
  }
  if (arrived(run, seen)) {
    run.note(fmt::format("the answer to Finish was not a good one ({}), but the guest is there",
                         failure.message));
    co_return true;
  }
  const bool may_be_half = run.plan.flags.has(Flag::postcopy) && !seen.known();
  if (in_postcopy(seen) || may_be_half) {
    co_await postcopy_failed(run, std::move(failure));
    co_return false;
  }
  if (witness && witness->saw_it_run() && !seen.known()) {
    run.note("the destination was seen to start the guest before it became unreachable");
    co_return true;
  }
  bool never_ran = !failure.reply_lost && !seen.active();
  if (!never_ran && (seen.seen == Seen::absent || seen.seen == Seen::inactive))
    never_ran = co_await known_never_to_have_run(run, begun, witness);
  co_await give_up_finish(run, std::move(failure), never_ran);
  co_return false;
}

// Ends the paused copy on the source. True: it was told.
static Task<bool> end_source_copy(Run& run) {
  if (run.plan.departs.confirm_frees) {
    const PhaseCall call = run.source_call();
    const Cookie none;
    Task<> asked = run.source.host->confirm(call, none, Verdict::completed);
    const auto confirmed = co_await settle(std::move(asked));
    if (confirmed) run.note("the source was told once more");
    co_return confirmed.has_value();
  }
  Task<> asked = run.source.host->destroy(run.plan.domain, 0);
  const auto destroyed = co_await settle(std::move(asked));
  if (destroyed) run.note("the paused copy left on the source was removed");
  co_return destroyed.has_value();
}

// What Confirm would have done last.
static Task<> undefine_source(Run& run) {
  std::string trouble;
  for (int tries = 0; tries < 3; ++tries) {
    const auto connected = co_await settle(run.reconnect(run.source));
    if (!connected) co_return;  // verify() tells
    Task<> asked = run.source.host->undefine(run.plan.domain, 0);
    const auto undefined = co_await settle(std::move(asked));
    if (undefined || undefined.error().id == ErrorId::no_domain) co_return;
    trouble = undefined.error().message;
    if (!run.source.host->lost()) break;
  }
  Error told(ErrorId::leftover,
             fmt::format("the guest moved, but the source still has its definition: {}", trouble));
  told.remedy = fmt::format("Remove it: `vmferry -c '{}' undefine {}`.", run.source.uri,
                            run.plan.domain.name);
  run.report.error = std::move(told).at(Side::source).in("confirm");
}

Task<> after_failed_confirm(Run& run, Error failure) {
  run.note(fmt::format("confirm: {}", failure.message));
  const Micros began = run.engine.clock.now();
  Sighting here;
  for (;;) {
    const Sighting there = co_await run.glance(run.destination);
    if (there.known()) run.report.destination = there;
    here = co_await run.look(run.source);
    if (here.known() && here.seen != Seen::paused) break;
    const Micros passed = run.engine.clock.now() - began;
    // The source may notice by itself that post-copy is over.
    const bool patient = in_postcopy(here) && passed < kPatience;
    bool told = false;
    if (here.active() && arrived(run, there) && !patient) told = co_await end_source_copy(run);
    if (told) here = co_await run.look(run.source);
    const bool over = here.known() && !here.active();
    if (over || passed >= run.engine.options.settle_for) break;
    co_await run.pause();
  }
  if (here.known() && !here.active()) {
    if (run.plan.flags.has(Flag::undefine_source)) co_await undefine_source(run);
  } else {
    run.report.error = left_at_source(here).in("confirm");
  }
}

}  // namespace vmferry

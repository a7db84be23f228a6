// The last look at both hosts, which decides what is reported.
#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/migrate/run.hpp"

namespace vmferry {

namespace {

using Seen = Sighting::Seen;

void judge_arrival(Run& run) {
  const Sighting& here = run.report.source;
  const Sighting& there = run.report.destination;
  const bool offline = run.moves_stopped();
  const bool two = here.seen == Seen::running && there.seen == Seen::running;
  if (two) {
    Error told(ErrorId::undecided, "the guest runs on BOTH hosts");
    told.remedy = "Decide which copy is the good one and destroy the other at once.";
    close_verdict(run, Whereabouts::undecided, std::move(told));
  } else if (in_postcopy(there) || in_postcopy(here)) {
    close_verdict(run, Whereabouts::undecided,
                  half_way(run, Error(ErrorId::undecided, "the source did not send everything")));
  } else if (there.known() && !there.active() && !offline && run.plan.flags.has(Flag::paused) &&
             (!here.known() || here.active())) {
    // It has executed nothing there, so the source's copy is as good.
    Error told(ErrorId::undecided,
               fmt::format("the guest arrived paused, but now it is {} on the destination; the "
                           "source's copy is {}",
                           describe(there), describe(here)));
    told.remedy = fmt::format(
        "If it is paused at the source and was not resumed on the "
        "destination, resume it: `vmferry -c '{}' resume {}`.",
        run.source.uri, run.plan.domain.name);
    close_verdict(run, Whereabouts::undecided, std::move(told).at(Side::destination));
  } else if (there.known() && !there.active() && !offline) {
    Error told(
        ErrorId::guest_lost,
        fmt::format("the destination started the guest, but now it is {} there", describe(there)));
    close_verdict(run, Whereabouts::lost, std::move(told).at(Side::destination));
  } else if (!there.known() && run.plan.kind != Kind::managed && !run.destination.host) {
    run.note(fmt::format("the destination {}", describe(there)));  // as was said beforehand
    run.report.where = Whereabouts::destination;
  } else if (!there.known()) {
    Error told(ErrorId::leftover,
               fmt::format("the guest moved, but the destination {}", describe(there)));
    told.remedy = fmt::format("Look there: `vmferry -c '{}' domstate {}`.", run.destination.uri,
                              run.plan.domain.name);
    if (here.active()) told.note(fmt::format("the source's copy is {}", describe(here)));
    close_verdict(run, Whereabouts::destination, std::move(told).at(Side::destination));
  } else {
    run.report.where = Whereabouts::destination;
  }
  if (run.report.error || (here.known() && !here.active())) return;
  if (offline && run.was_active) return;  // a copy of its definition: the guest itself stays
  if (run.plan.kind == Kind::managed || here.active())
    run.report.error = left_at_source(here).in("confirm");
}

// Where it is and what the job was, asked together: nothing is lost when the guest is not there.
Task<Sighting> glance_and_count(Run& run) {
  if (!run.destination.host || run.destination.host->lost()) {
    Sighting seen = co_await run.glance(run.destination);
    co_return seen;
  }
  // Kept: `domjobinfo --completed` shall still find them.
  Task<JobStats> asked = run.destination.host->job_stats(run.plan.domain, true, true);
  auto [seen, stats] = co_await both(run.glance(run.destination), settle(std::move(asked)));
  if (stats && !stats->fields.items.empty()) run.report.stats = *std::move(stats);
  co_return seen;
}

}  // namespace

Error source_unseen(Run& run, const Error& failure) {
  if (failure.exit() == Exit::unknown) return failure;
  const bool copied = failure.phase == "perform" || failure.phase == "finish";
  const std::string_view unknown =
      copied ? "whether the guest runs or is paused there is not known"
             : "whether the guest still runs there is not known; nothing had stopped it";
  Error told(ErrorId::undecided,
             fmt::format("{}; the source could not be asked again, so {}; it never ran on the "
                         "destination",
                         failure.message, unknown));
  told.at(Side::source).in(failure.phase);
  const std::string& name = run.plan.domain.name;
  told.remedy =
      fmt::format("Look on the source: `vmferry -c '{}' domstate {}`.", run.source.uri, name);
  if (copied)
    told.remedy +=
        fmt::format(" If it is paused there, it is safe to resume it: `vmferry -c '{}' resume {}`.",
                    run.source.uri, name);
  return told;
}

Task<> verify(Run& run) {
  run.enter(Phase::verify);
  auto [here, there] = co_await both(run.glance(run.source), glance_and_count(run));
  run.report.source = here;
  // Once seen dead there, it is, though nobody answers now.
  const Sighting& before = run.report.destination;
  const bool died = before.known() && !before.active() && !run.moves_stopped();
  if (there.known() || !died) run.report.destination = there;
  judge_arrival(run);
}

}  // namespace vmferry

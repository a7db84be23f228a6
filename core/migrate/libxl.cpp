// What libvirt's libxl driver does otherwise than the contract of the phases says, and what is done
// about it (Departures in core/flags/rules.hpp; src/libxl/libxl_migration.c of 9.0 and 11.3):
//
//  * What Begin locked, only Confirm or a failed Perform unlocks: not a client's death, nor a
//    failed Prepare.
//  * A guest that Perform stopped is still called "running". Xen runs it again only if a cancelled
//    Confirm of libvirt 9 or `xl resume` of Xen 4.20 says so; virDomainResume does not. So nothing
//    is begun with a guest that stands still: it may run elsewhere, and a cancelled Confirm would
//    make a second copy of it.
//  * The incoming guest outlives the client's connections. Once it is listed as paused there, it
//    has arrived whole, the source's copy stands still for good, and any client may call Finish.
#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/base/uri.hpp"
#include "core/migrate/run.hpp"

namespace vmferry {

namespace {

using Seen = Sighting::Seen;

Task<std::optional<std::uint64_t>> cpu_time(Run& run) {
  const auto info = co_await settle(run.source.host->info(run.plan.domain));
  if (!info) co_return std::nullopt;
  co_return info->cpu_time_ns;
}

// The standard port of the service by which the connection goes, on the source host: sshd or
// libvirt's daemon. 0: none is known there.
std::uint16_t own_service(const std::string& uri) {
  static constexpr std::uint16_t ssh = 22, tcp = 16509, tls = 16514;
  const auto parsed = parse_connect_uri(uri);
  if (!parsed) return 0;
  std::uint16_t port = 0;
  if (parsed->over_ssh()) port = ssh;
  if (parsed->transport == Transport::tcp) port = tcp;
  if (parsed->over_tls()) port = tls;
  const bool elsewhere = parsed->uri.port != 0 && parsed->uri.port != port;
  return elsewhere ? 0 : port;
}

// Even an idle guest spends some nanoseconds on its timers within this time.
Task<bool> executes(Run& run) {
  static constexpr Micros patience = std::chrono::seconds(10);
  static constexpr Micros moment = std::chrono::milliseconds(100);
  const Micros give_up = run.engine.clock.now() + patience;
  const std::optional<std::uint64_t> first = co_await cpu_time(run);
  for (;;) {
    co_await run.engine.clock.sleep(moment);
    const std::optional<std::uint64_t> later = co_await cpu_time(run);
    if (!first || !later) co_return true;  // nothing to say against what the host says
    if (*later != *first) co_return true;
    if (run.engine.clock.now() >= give_up) co_return false;
  }
}

// Takes the lock anew, so that a cancelled Confirm has one to give back; in libvirt 9 that wakes a
// guest that stands still, and does nothing to one that runs.
Task<> wake(Run& run) {
  const PhaseCall call = run.source_call();
  const auto begun = co_await settle(run.source.host->begin(call));
  if (!begun) {
    run.note(fmt::format("waking the guest at the source: {}", begun.error().message));
    co_return;
  }
  const Cookie none;
  Task<> asked = run.source.host->confirm(call, none, Verdict::cancelled);
  const auto woken = co_await settle(std::move(asked));
  if (!woken) run.note(fmt::format("waking the guest at the source: {}", woken.error().message));
}

// Nothing left to try from here: what to type on the source host itself.
Error stands_still(Run& run, const Error& failure) {
  const std::string& name = run.plan.domain.name;
  Error told(ErrorId::undecided,
             fmt::format("{}; the guest never ran on the destination, and stands still at the "
                         "source, whose daemon calls it running and cannot wake it",
                         failure.message));
  told.at(failure.side).in(failure.phase);
  told.wire = failure.wire;
  told.remedy = fmt::format(
      "On the source host type `xl resume {}` (Xen 4.20 and newer); the guest goes on there. With "
      "an older Xen destroy it and start it again: `vmferry -c '{}' destroy {}`.",
      name, run.source.uri, name);
  return told;
}

// Until the copy, which goes on without us, has an outcome on the destination. Whether it ever
// began cannot be seen, so the wait has an end.
Task<Sighting> wait_for_arrival(Run& run) {
  const Micros give_up = run.engine.clock.now() + run.engine.options.arrive_for;
  for (;;) {
    const Sighting seen = co_await run.look(run.destination);
    const bool arriving = seen.seen == Seen::inactive;
    const bool enough = run.engine.stop.requested() || run.engine.clock.now() >= give_up;
    if (!arriving || enough) co_return seen;
    const bool over = co_await copy_is_over(run);
    if (over) co_return seen;
    co_await run.pause();
  }
}

Task<bool> finish_once_more(Run& run) {
  const PhaseCall call = run.destination_call();
  const Cookie none;  // libxl's Finish reads none
  Task<Finished> asked = run.destination.host->finish(call, none, Verdict::completed);
  const auto finished = co_await settle(std::move(asked));
  if (finished && finished->domain) {
    run.report.domain = finished->domain;
    co_return true;
  }
  if (!finished) run.note(fmt::format("finish: {}", finished.error().message));
  co_return false;
}

}  // namespace

// A cancelled Confirm of libvirt 9 would try to wake a guest that runs, fail, and call it paused
// from then on, which no resume mends. A Perform ends the job as well, if it fails once it is
// connected; so it is sent to a service of the source host itself that hangs up on what is not its
// protocol. It is a live one, which does not stop the guest before it has copied it.
Task<> give_back_lock(Run& run) {
  static constexpr Micros patience = std::chrono::seconds(30);
  const std::uint16_t port = own_service(run.source.uri);
  if (port != 0) {
    PhaseCall call = run.source_call();
    call.flags = {Flag::live};
    call.params.set("migrate_uri", fmt::format("tcp://localhost:{}", port));
    const Cookie none;
    Task<Cookie> asked = run.source.host->perform(call, none, std::nullopt);
    Task<std::optional<Cookie>> limited = within(run.engine.clock, patience, std::move(asked));
    const auto refused = co_await settle(std::move(limited));
    if (!refused && refused.error().id == ErrorId::connect_lost)
      run.note(fmt::format("the source keeps its lock: {}", refused.error().message));
  }
  Task<JobStats> looked = run.source.host->job_stats(run.plan.domain, false);
  const auto job = co_await settle(std::move(looked));
  if (!job || job->type == JobType::none) co_return;
  const bool well = co_await executes(run);
  run.note(
      fmt::format("the source's libvirt daemon keeps the guest's lock until it is restarted: the "
                  "guest {}, but nothing can change or move it before",
                  well ? "runs on" : "stands still"));
}

Task<bool> awaits_finish(Run& run) {
  const Sighting seen = co_await run.look(run.destination);
  if (seen.seen != Seen::paused) co_return false;
  Task<JobStats> asked = run.destination.host->job_stats(run.plan.domain, false);
  const auto stats = co_await settle(std::move(asked));
  co_return stats && stats->type != JobType::none;
}

Task<std::optional<Error>> stands_still_already(Run& run) {
  if (!run.plan.departs.hides_standstill) co_return std::nullopt;
  const auto status = co_await settle(run.source.host->status(run.plan.domain));
  // A daemon of libvirt 9 that was restarted since then calls it "pmsuspended".
  const bool doubtful = status && (status->runs() || status->state == DomainState::pmsuspended);
  if (!doubtful) co_return std::nullopt;
  const bool well = co_await executes(run);
  if (well) co_return std::nullopt;
  Error told(ErrorId::undecided,
             fmt::format("the source says that the guest is {}, but it stands still: an earlier "
                         "migration stopped it and was not brought to its end",
                         state_text(status->state)));
  told.remedy = libxl_remedy(run);
  run.report.where = Whereabouts::undecided;
  co_return std::move(told).at(Side::source).in("begin");
}

Task<std::optional<Error>> prove_source_runs(Run& run, const Error& failure) {
  const bool doubtful = run.plan.departs.hides_standstill && run.was_running && run.touched;
  if (!doubtful || run.report.source.seen != Seen::running) co_return std::nullopt;
  const bool well = co_await executes(run);
  if (well) co_return std::nullopt;
  // Another driver of the phases may have told the destination to go.
  const Sighting& there = run.report.destination;
  const bool never_ran = run.plan.kind == Kind::managed || (there.known() && !there.active());
  if (!never_ran) {
    run.source_stands = true;
    run.report.source = co_await run.look(run.source);
    co_return std::nullopt;
  }
  co_await wake(run);
  run.report.source = co_await run.look(run.source);
  if (run.report.source.seen == Seen::paused) {
    Task<> asked = run.source.host->resume(run.plan.domain);
    const auto resumed = co_await settle(std::move(asked));
    (void)resumed;  // only libvirt's own record of it; whether it runs is looked at next
    run.report.source = co_await run.look(run.source);
  }
  const bool woken = co_await executes(run);
  if (woken && run.report.source.seen == Seen::running) {
    run.note("the guest had been stopped for the switch-over; it was woken at the source");
    co_return std::nullopt;
  }
  co_return stands_still(run, failure);
}

Task<bool> copy_is_over(Run& run) {
  const Sighting here = co_await run.glance(run.source);
  if (!here.known()) co_return false;
  Task<JobStats> asked = run.source.host->job_stats(run.plan.domain, false);
  const auto job = co_await settle(std::move(asked));
  co_return job && job->type == JobType::none;
}

Task<bool> finish_arrived(Run& run) {
  static constexpr int attempts = 3;
  for (int i = 0; i < attempts; ++i) {
    const Sighting seen = co_await wait_for_arrival(run);
    run.report.destination = seen;
    if (seen.seen == Seen::running) co_return true;
    if (seen.seen != Seen::paused) co_return false;
    run.source_stands = true;
    const bool waits = co_await awaits_finish(run);
    const bool to_be_paused = run.plan.flags.has(Flag::paused);
    if (!waits && to_be_paused) co_return true;
    if (waits) {
      const bool done = co_await finish_once_more(run);
      if (done) co_return true;
    }
    co_await run.pause();
  }
  co_return false;
}

std::string libxl_remedy(const Run& run) {
  const std::string& name = run.plan.domain.name;
  return fmt::format(
      "Restart the libvirt daemons of both hosts, which may hold locks (guests go on). Look on the "
      "destination: `vmferry -c '{1}' domstate {0}`. If it is paused there, let it go on: `vmferry "
      "-c '{1}' resume {0}`. Once it runs there, remove the copy on the source, which stands "
      "still: `vmferry -c '{2}' destroy {0}`. If it is not there, find out whether it ever ran "
      "there before you do anything to the source's copy.",
      name, run.destination.uri, run.source.uri);
}

}  // namespace vmferry

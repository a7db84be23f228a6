#include "core/migrate/run.hpp"
#include "core/explain/diagnose.hpp"

#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/base/text.hpp"

namespace vmferry {

std::string_view name(Phase phase) {
  static constexpr std::string_view names[] = {"begin",  "prepare", "perform",
                                               "finish", "confirm", "verify"};
  return names[static_cast<std::size_t>(phase)];
}

std::string describe(const Sighting& s) {
  using Seen = Sighting::Seen;
  switch (s.seen) {
    case Seen::not_asked:
      return "not asked";
    case Seen::unreachable:
      return fmt::format("could not be asked ({})", s.trouble);
    case Seen::absent:
      return "not there";
    default:
      break;
  }
  const std::string_view state = state_text(s.status.state), why = reason_text(s.status);
  return why == "unknown" ? std::string(state) : fmt::format("{} ({})", state, why);
}

bool postcopy_broke(const Sighting& s) {
  return s.status == DomainStatus{DomainState::running, kRunningPostcopyFailed} ||
         s.status == DomainStatus{DomainState::paused, kPausedPostcopyFailed};
}

bool in_postcopy(const Sighting& s) {
  return s.status == DomainStatus{DomainState::running, kRunningPostcopy} ||
         s.status == DomainStatus{DomainState::paused, kPausedPostcopy} || postcopy_broke(s);
}

Error stopped_by_another(const std::string& name) {
  const std::string who = escaped(name, 255);
  Error told(
      ErrorId::undecided,
      fmt::format("{} is paused because of a migration that goes on, or that was not brought "
                  "to its end: it may run elsewhere",
                  who));
  told.remedy = fmt::format(
      "Look at the host that it was sent to. If it does not run there, `vmferry resume {}` on this "
      "one, and migrate it then.",
      who);
  return told;
}

void Run::mark(Phase phase) {
  leave();
  phase_ = phase;
  entered_ = engine.clock.now();
  inside_ = true;
}

void Run::enter(Phase phase) {
  mark(phase);
  engine.observer.phase(phase);
}

void Run::found(const DomainStatus& status) {
  was_active = status.active() || plan.active;  // one that has died since was no stopped one
  died = was_active && !status.active();
  was_stopped = !was_active;
  was_running = status.runs();
  stopped_by_other = status.paused_by_migration() && !plan.flags.has(Flag::postcopy_resume);
  if (status.state == DomainState::paused && !plan.flags.has(Flag::postcopy_resume))
    plan.flags.add(Flag::paused);
}

void Run::leave() {
  if (!inside_) return;
  report.took[static_cast<std::size_t>(phase_)] += engine.clock.now() - entered_;
  inside_ = false;
}

std::optional<Error> Run::stopped() const {
  if (!engine.stop.requested()) return std::nullopt;
  return Error(ErrorId::cancelled,
               fmt::format("{}: stopped before the guest was touched", engine.stop.why()));
}

void Run::check_stop() const {
  if (const auto why = stopped()) throw Error(*why);
}

void Run::check_go() const {
  check_stop();
  if (stopped_by_other) throw stopped_by_another(plan.domain.name).at(Side::source).in("begin");
}

PhaseCall Run::source_call() const {
  PhaseCall call{plan.protocol, plan.domain, plan.params, plan.flags};
  if (plan.change_protection) call.flags.add(Flag::change_protection);
  return call;
}

PhaseCall Run::destination_call() const {
  PhaseCall call{plan.protocol, plan.domain, plan.params, plan.flags};
  call.flags.remove(Flag::change_protection)
      .remove(Flag::abort_on_error)
      .remove(Flag::auto_converge);
  return call;
}

Task<> Run::reconnect(Endpoint& end) {
  if (end.host && !end.host->lost()) co_return;
  const Micros give_up = engine.clock.now() + engine.options.reconnect_for;
  for (;;) {
    Task<std::unique_ptr<Host>> attempt = end.reopen();
    auto opened = co_await settle(std::move(attempt));
    if (opened) {
      end.events.reset();
      end.host = *std::move(opened);
      co_return;
    }
    if (engine.clock.now() >= give_up) throw std::move(opened).error().at(end.side);
    co_await pause();
  }
}

Task<> Run::pause() { return engine.clock.sleep(engine.options.reconnect_pause); }

static Sighting seen_as(const DomainStatus& status) {
  using Seen = Sighting::Seen;
  Sighting s{.seen = Seen::inactive, .status = status, .trouble = {}};
  if (status.runs())
    s.seen = Seen::running;
  else if (status.active())
    s.seen = Seen::paused;
  return s;
}

Task<Sighting> Run::look(Endpoint& end) {
  Sighting s;
  const auto connected = co_await settle(reconnect(end));
  if (!connected) {
    s.seen = Sighting::Seen::unreachable;
    s.trouble = connected.error().message;
    co_return s;
  }
  const auto status = co_await settle(end.host->status(plan.domain));
  if (status) {
    s = seen_as(*status);
    const bool stands = source_stands && plan.departs.hides_standstill && end.side == Side::source;
    if (stands && s.seen == Sighting::Seen::running)
      s = seen_as({DomainState::paused, kPausedMigration});
    co_return s;
  }
  s.seen = status.error().id == ErrorId::no_domain ? Sighting::Seen::absent
                                                   : Sighting::Seen::unreachable;
  s.trouble = status.error().message;
  co_return s;
}

Task<Sighting> Run::glance(Endpoint& end) {
  static constexpr Micros patience = std::chrono::seconds(5);
  std::optional<Sighting> seen = co_await within(engine.clock, patience, look(end));
  if (!seen) {
    seen = Sighting{.seen = Sighting::Seen::unreachable, .status = {}, .trouble = "no answer"};
  }
  co_return *std::move(seen);
}

static Task<> run_all(Run& run) {
  std::optional<Error> stopped = co_await stands_still_already(run);
  if (stopped) {
    run.report.error = *std::move(stopped);
    co_return;
  }
  if (run.plan.kind == Kind::managed)
    co_await run_managed(run);
  else
    co_await run_by_source(run);
}

// The abort of a copy is told by attend().
static bool is_too_late(const Run& run) {
  const Copy* const copy = run.copy ? *run.copy : nullptr;
  return copy && (copy->stopped_at || copy->postcopy);
}

std::string waited_for(const Run& run) {
  const Copy* const copy = run.copy ? *run.copy : nullptr;
  switch (run.phase()) {
    case Phase::begin:
      return "waiting for the source's answer; nothing has happened to the guest";
    case Phase::prepare:
      return "waiting for the destination to prepare; nothing has happened to the guest";
    case Phase::perform:
      if (!run.plan.departs.no_abort.empty())
        return fmt::format("cannot stop: {}; the copy goes on", run.plan.departs.no_abort);
      if (copy && copy->switching_over() && !copy->aborted)
        return "too late to stop: the guest is being switched over; waiting for the outcome";
      if (copy && copy->postcopy) break;
      return "waiting for the source to end its copy; the guest stays on the source";
    case Phase::finish:
      if (copy && copy->postcopy) break;
      return "too late to stop: the destination was told to run the guest; waiting for its answer";
    case Phase::confirm:
      return "the guest is on the destination; waiting for the source to end its copy";
    case Phase::verify:
      return "asking both hosts where the guest is";
  }
  return "cannot stop: after the switch to post-copy the guest is on both hosts";
}

// Tells what every Ctrl-C meets, the first one as well where it stops nothing. Never ends.
static Task<> tell_stops(Run& run) {
  static constexpr Micros pause = std::chrono::milliseconds(250);
  Stop& stop = run.engine.stop;
  co_await stop.wait();
  bool first = true;
  for (int told = 0;;) {
    const bool more = stop.times() > told;
    told = stop.times();
    const bool aborting = first && run.phase() == Phase::perform && !is_too_late(run);
    if (more && !aborting) run.notice(fmt::format("{}: {}", stop.why(), waited_for(run)));
    first = false;
    co_await run.engine.clock.sleep(pause);
  }
}

Task<Report> migrate(Engine engine, Plan plan, Endpoint& source, Endpoint& destination) {
  Run run(engine, std::move(plan), source, destination);
  const Micros began = engine.clock.now();
  co_await first_of(run_all(run), tell_stops(run));
  run.leave();
  run.report.total = engine.clock.now() - began;
  if (run.report.error) {
    run.report.error = diagnose(*std::move(run.report.error));
    if (run.report.error->id == ErrorId::job_active && run.plan.departs.confirm_frees)
      run.report.error->note(
          "if no client moves it any more: this driver keeps the lock of a client that ended until "
          "the source's libvirt daemon is restarted (guests go on)");
    for (std::string& text : run.report.notes) run.report.error->note(text);
  }
  co_return std::move(run.report);
}

}  // namespace vmferry

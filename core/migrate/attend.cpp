// Follows the copy while Perform is under way.
#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/migrate/run.hpp"

namespace vmferry {

namespace {

class Attendant {
 public:
  Attendant(Run& run, Copy& copy) : run_(run), copy_(copy), began_(run.engine.clock.now()) {}

  Task<> follow() {
    Micros pause = run_.engine.options.first_poll;
    while (!copy_.over) {
      co_await wait(pause);
      pause = run_.engine.options.poll;
      tell_finish();
      if (copy_.over) break;
      // After the switch there is nothing to see, but for post-copy, which copies on.
      if (!copy_.ended || copy_.postcopy) co_await look_at_statistics();
      if (copy_.ended)
        stop_seen_ = stop_seen_ || run_.engine.stop.requested();
      else
        co_await act();
    }
    tell_finish();
  }

 private:
  Host& source() { return *run_.source.host; }
  Micros now() const { return run_.engine.clock.now(); }

  // Told here and not where it happens: there, nothing may come between Perform and Finish.
  void tell_finish() {
    if (!copy_.finishing || told_finish_) return;
    told_finish_ = true;
    run_.engine.observer.phase(Phase::finish);
  }

  // Until something changed, the user wants to stop, or `pause` has passed.
  Task<> wait(Micros pause) {
    if (run_.engine.stop.requested() && !stop_seen_) co_return;
    Task<> change = stop_seen_ ? copy_.changed.wait() : change_or_stop();
    Task<> timer = run_.engine.clock.sleep(pause);
    co_await first_of(std::move(change), std::move(timer));
  }
  Task<> change_or_stop() { co_await first_of(copy_.changed.wait(), run_.engine.stop.wait()); }

  Task<> look_at_statistics() {
    Task<JobStats> asked = source().job_stats(run_.plan.domain, false);
    const auto stats = co_await settle(std::move(asked));
    if (!stats || copy_.over) co_return;
    copy_.iteration =
        std::max(copy_.iteration, static_cast<int>(stats->number("memory_iteration")));
    run_.engine.observer.progress(*stats);
  }

  Task<> act() {
    if (abort_has_no_end() || runs_again_without_answer()) {
      copy_.given_up = true;
      copy_.changed.notify();
    } else if (stands_still_too_long()) {
      co_await abort_for("the guest stood still for too long");
    } else if (switching_over() || copy_.postcopy) {
      stop_seen_ = stop_seen_ || run_.engine.stop.requested();
    } else if (run_.engine.stop.requested()) {
      co_await abort_for(run_.engine.stop.why());
    } else if (timeout_passed()) {
      co_await time_out();
    } else if (run_.plan.postcopy_after_precopy && copy_.iteration >= 2) {
      co_await go_postcopy();
    }
  }

  // The guest stands still for the switch-over. It ends in a moment, one way or the other; an abort
  // that meets it can leave QEMU 7.2 cancelling for ever, with the guest stopped.
  bool switching_over() const { return copy_.switching_over() && !copy_.aborted; }
  bool stands_still_too_long() const {
    return copy_.stopped_at && !copy_.postcopy && now() - *copy_.stopped_at > run_.plan.max_freeze;
  }
  bool abort_has_no_end() const {
    return copy_.aborted && now() - aborted_at_ > run_.engine.options.settle_for;
  }
  bool runs_again_without_answer() const {
    return copy_.resumed_at && now() - *copy_.resumed_at > run_.engine.options.answer_for;
  }
  bool timeout_passed() const {
    return run_.plan.timeout && !timed_out_ && now() - began_ >= run_.plan.timeout->after;
  }

  // The source refuses while its job is not under way yet; then the next round asks again.
  Task<> abort_for(std::string why) {
    stop_seen_ = true;
    if (copy_.aborted || cannot_stop(why)) co_return;
    copy_.abort_why = why;
    Task<> asked = source().abort_job(run_.plan.domain, false);
    const auto done = co_await settle(std::move(asked));
    copy_.aborted = done.has_value();
    aborted_at_ = now();
    if (done)
      run_.notice(fmt::format("{}: the source was asked to abort", why));
    else if (!refusal_told_)
      run_.notice(fmt::format("{}; the source does not abort yet: {}", why, done.error().message));
    refusal_told_ = !done;
  }

  // Says it once, and does not ask a driver that has no way to do it.
  bool cannot_stop(std::string_view why) {
    const std::string_view reason = run_.plan.departs.no_abort;
    if (reason.empty()) return false;
    if (!refusal_told_)
      run_.notice(
          fmt::format("{}, but {}: the copy goes on, and then the guest runs on the "
                      "destination",
                      why, reason));
    refusal_told_ = true;
    return true;
  }

  Task<> time_out() {
    timed_out_ = true;
    const auto seconds = static_cast<double>(run_.plan.timeout->after.count()) / 1e6;
    const std::string why = fmt::format("the timeout of {:g} s has passed", seconds);
    switch (run_.plan.timeout->action) {
      case TimeoutAction::abort:
        timed_out_ = false;
        co_await abort_for(why);
        break;
      case TimeoutAction::suspend:
        co_await suspend(why);
        break;
      case TimeoutAction::postcopy:
        co_await go_postcopy();
        break;
    }
  }

  Task<> suspend(const std::string& why) {
    if (cannot_stop(why)) co_return;
    // Known to be ours before it can happen: its answer may be lost.
    run_.suspended_by_us = true;
    Task<> asked = source().suspend(run_.plan.domain);
    const auto done = co_await settle(std::move(asked));
    if (!done && !done.error().reply_lost) run_.suspended_by_us = false;
    if (done) {
      run_.notice(why + ": the guest was suspended, so that the copy can end");
    } else {
      run_.notice(
          fmt::format("{}, but the guest could not be suspended: {}", why, done.error().message));
    }
  }

  Task<> go_postcopy() {
    if (copy_.postcopy || postcopy_asked_) co_return;
    Task<> asked = source().start_postcopy(run_.plan.domain);
    const auto done = co_await settle(std::move(asked));
    postcopy_asked_ = done.has_value();
    if (done)
      run_.notice("switching to post-copy");
    else if (!refusal_told_)
      run_.notice(fmt::format("post-copy could not be started: {}", done.error().message));
    refusal_told_ = !done;
  }

  Run& run_;
  Copy& copy_;
  const Micros began_;
  Micros aborted_at_{};
  bool stop_seen_ = false;
  bool timed_out_ = false;
  bool postcopy_asked_ = false;
  bool refusal_told_ = false;
  bool told_finish_ = false;
};

void heard(Run& run, Copy& copy, const DomainEvent& event) {
  run.engine.observer.event(Side::source, event);
  if (event.kind == DomainEvent::Kind::iteration) copy.iteration = event.iteration;
  if (event.kind == DomainEvent::Kind::job_completed) run.report.stats = event.stats;
  if (event.kind == DomainEvent::Kind::lifecycle && event.event == kEventSuspended) {
    if (event.detail == kSuspendedMigrated) copy.stopped_at = run.engine.clock.now();
    if (event.detail == kSuspendedPostcopy) copy.postcopy = true;
  }
  const bool resumed = event.kind == DomainEvent::Kind::lifecycle && event.event == kEventResumed;
  if (resumed && copy.switching_over()) {
    copy.resumed_at = run.engine.clock.now();
    copy.stopped_at.reset();
  }
  copy.changed.notify();
}

Task<> subscribe(Run& run, Copy& copy) {
  const auto on_event = [&run, listener = copy.self](const DomainEvent& event) {
    if (*listener) heard(run, **listener, event);
  };
  run.source.events = co_await run.source.host->subscribe(run.plan.domain, on_event);
}

}  // namespace

Task<> listen(Run& run, Copy& copy) {
  const auto subscribed = co_await settle(subscribe(run, copy));
  (void)subscribed;  // no events here
}

Task<> attend(Run& run, Copy& copy) {
  Attendant attendant(run, copy);
  co_await attendant.follow();
}

Task<> wait_given_up(Copy& copy) {
  while (!copy.given_up) co_await copy.changed.wait();
}

Error no_answer(const Copy& copy) {
  const std::string_view done = copy.resumed_at ? "runs the guest on" : "accepted the abort";
  Error silent(copy.resumed_at ? ErrorId::migrate_failed : ErrorId::timed_out,
               fmt::format("the source {}, but does not end its copy", done));
  silent.reply_lost = true;
  return silent;
}

}  // namespace vmferry

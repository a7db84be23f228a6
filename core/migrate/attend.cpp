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
    auto subscribed = co_await settle(subscribe());
    (void)subscribed;  // no events here: the statistics alone tell
    Micros pause = run_.engine.options.first_poll;
    while (!copy_.over) {
      co_await wait(pause);
      pause = run_.engine.options.poll;
      tell_finish();
      if (copy_.over) break;
      co_await look_at_statistics();
      if (!copy_.ended) co_await act();
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

  Task<> subscribe() {
    const auto on_event = [this](const DomainEvent& event) { heard(event); };
    subscription_ = co_await source().subscribe(run_.plan.domain, on_event);
  }

  // Until something changed, the user wants to stop, or `pause` has passed.
  Task<> wait(Micros pause) {
    if (run_.engine.stop.requested() && !stop_seen_) co_return;
    Task<> change = stop_seen_ ? copy_.changed.wait() : change_or_stop();
    Task<> timer = run_.engine.clock.sleep(pause);
    co_await first_of(std::move(change), std::move(timer));
  }
  Task<> change_or_stop() { co_await first_of(copy_.changed.wait(), run_.engine.stop.wait()); }

  void heard(const DomainEvent& event) {
    run_.engine.observer.event(Side::source, event);
    if (event.kind == DomainEvent::Kind::iteration) iteration_ = event.iteration;
    if (event.kind == DomainEvent::Kind::job_completed) run_.report.stats = event.stats;
    if (event.kind == DomainEvent::Kind::lifecycle && event.event == kEventSuspended) {
      if (event.detail == kSuspendedMigrated) copy_.stopped_at = now();
      if (event.detail == kSuspendedPostcopy) copy_.postcopy = true;
    }
    copy_.changed.notify();
  }

  Task<> look_at_statistics() {
    Task<JobStats> asked = source().job_stats(run_.plan.domain, false);
    const auto stats = co_await settle(std::move(asked));
    if (!stats || copy_.over) co_return;
    iteration_ = std::max(iteration_, static_cast<int>(stats->number("memory_iteration")));
    run_.engine.observer.progress(*stats);
  }

  Task<> act() {
    if (run_.engine.stop.requested())
      co_await abort_for(run_.engine.stop.why());
    else if (stands_still_too_long())
      co_await abort_for("the guest stood still for too long");
    else if (timeout_passed())
      co_await time_out();
    else if (run_.plan.postcopy_after_precopy && iteration_ >= 2)
      co_await go_postcopy();
    if (run_.engine.stop.times() > asked_to_stop_) tell_what_is_waited_for();
  }

  bool stands_still_too_long() const {
    return copy_.stopped_at && !copy_.postcopy && now() - *copy_.stopped_at > run_.plan.max_freeze;
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

  void tell_what_is_waited_for() {
    const bool first = asked_to_stop_ == 0;
    asked_to_stop_ = run_.engine.stop.times();
    if (!first && run_.plan.departs.no_abort.empty())
      run_.notice(copy_.postcopy
                      ? "cannot stop: after the switch to post-copy the guest is on both hosts"
                      : "waiting for the source to end its copy; the guest stays on the source");
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
    Task<> asked = source().suspend(run_.plan.domain);
    const auto done = co_await settle(std::move(asked));
    if (done) {
      run_.suspended_by_us = true;
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
  std::unique_ptr<Subscription> subscription_;
  int iteration_ = 0;
  int asked_to_stop_ = 0;
  bool stop_seen_ = false;
  bool timed_out_ = false;
  bool postcopy_asked_ = false;
  bool refusal_told_ = false;
  bool told_finish_ = false;
};

}  // namespace

Task<> attend(Run& run, Copy& copy) {
  Attendant attendant(run, copy);
  co_await attendant.follow();
}

}  // namespace vmferry

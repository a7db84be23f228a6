// A managed migration: this client drives both sides, phase by phase.
#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/migrate/run.hpp"

namespace vmferry {

namespace {

constexpr std::int32_t kOperationInvalid = 55;  // VIR_ERR_OPERATION_INVALID: another job is active

/// What the copy and the switch-over brought. Finish is asked for only after a good Perform.
struct Switched {
  std::optional<Result<Cookie>> performed;
  std::optional<Result<Finished>> finished;
};

bool has_begin_and_confirm(Protocol p) { return p >= Protocol::v3; }

Task<Begun> old_begin(Run& run) {
  const HostFeatures features = co_await run.source.host->features();
  const std::uint32_t flags =
      features.xml_migratable ? kXmlMigratable : (kXmlSecure | kXmlUpdateCpu);
  Begun begun;
  begun.xml = co_await run.source.host->dump_xml(run.plan.domain, flags);
  co_return begun;
}

// Begin, and the guest's state in the same flight. A guest that is paused stays paused there.
Task<Begun> begin(Run& run, const PhaseCall& call) {
  run.enter(Phase::begin);
  Task<Begun> asked =
      has_begin_and_confirm(run.plan.protocol) ? run.source.host->begin(call) : old_begin(run);
  auto [begun, status] =
      co_await both(settle(std::move(asked)), settle(run.source.host->status(run.plan.domain)));
  if (status) run.found(*status);
  if (!begun) throw std::move(begun).error().at(Side::source).in("begin");
  co_return *std::move(begun);
}

Task<bool> flagged(Task<> body) {
  co_await std::move(body);
  co_return true;
}

// Prepare; and of the source, in the same flight, its events from here on and its state once more:
// it may have changed until Begin took the job, and Finish goes by the later answer.
Task<Prepared> prepare(Run& run, Copy& copy, const PhaseCall& call, const Cookie& cookie) {
  run.enter(Phase::prepare);
  auto [prepared, at_source] = co_await both(
      settle(run.destination.host->prepare(call, cookie)),
      both(settle(run.source.host->status(run.plan.domain)), flagged(listen(run, copy))));
  const auto& status = at_source.first;
  if (status) run.found(*status);
  if (!prepared) throw std::move(prepared).error().at(Side::destination).in("prepare");
  co_return *std::move(prepared);
}

// Nothing may come between Perform's reply and Finish's request, not even who follows the copy: the
// guest stands still meanwhile.
Task<> switch_over(Run& run, Copy& copy, Task<Cookie> performing, ReadyFinish& go, Switched& out) {
  out.performed = co_await settle(std::move(performing));
  if (!*out.performed) co_return;
  run.performed = **out.performed;
  const bool old = run.plan.protocol < Protocol::v3;
  Task<Finished> finishing = go(old ? run.prepare_cookie : **out.performed, Verdict::completed);
  run.mark(Phase::finish);
  copy.ended = copy.finishing = true;
  out.finished = co_await settle(std::move(finishing));
}

// To Perform's answer, and Finish's; or to none, though the source was asked to abort.
Task<> copy_and_switch(Run& run, Copy& copy, const Cookie& prepared, ReadyFinish& go,
                       Switched& out) {
  const PhaseCall call = run.source_call();
  run.copying = true;
  Task<Cookie> performing = run.source.host->perform(call, prepared, std::nullopt);
  Task<> switching = switch_over(run, copy, std::move(performing), go, out);
  const std::size_t first = co_await first_of(std::move(switching), wait_given_up(copy));
  if (first == 1 && !copy.finishing) out.performed = std::unexpected(no_answer(copy));
  copy.ended = copy.over = true;
  copy.changed.notify();
}

// It needs the domain's UUID only, so it takes its place while Begin and Prepare are under way.
Task<std::unique_ptr<Witness>> call_witness(Run& run) {
  if (!run.engine.options.witness || run.plan.flags.has(Flag::offline)) co_return nullptr;
  std::unique_ptr<Witness> witness = co_await Witness::call(run);
  co_return witness;
}

Task<Switched> perform_and_finish(Run& run, Copy& copy, const Cookie& prepared) {
  run.enter(Phase::perform);
  ReadyFinish go = run.destination.host->ready_finish(run.destination_call());
  Switched out;
  Task<bool> moving = flagged(copy_and_switch(run, copy, prepared, go, out));
  Task<bool> watching = flagged(attend(run, copy));
  co_await both(std::move(moving), std::move(watching));
  if (out.finished && *out.finished && !(*out.finished)->domain)
    out.finished = fail(ErrorId::remote, "the destination returned no domain");
  co_return out;
}

// The definition moves, nothing is copied: Finish follows Prepare, with no cookie.
Task<Switched> finish_offline(Run& run) {
  run.enter(Phase::finish);
  const Cookie none;
  const PhaseCall call = run.destination_call();
  Task<Finished> finishing = run.destination.host->finish(call, none, Verdict::completed);
  Switched out;
  out.performed = Cookie{};
  out.finished = co_await settle(std::move(finishing));
  co_return out;
}

Task<> confirm(Run& run, const Cookie& cookie) {
  if (!has_begin_and_confirm(run.plan.protocol)) co_return;
  run.enter(Phase::confirm);
  const PhaseCall call = run.source_call();
  const auto done = co_await settle(run.source.host->confirm(call, cookie, Verdict::completed));
  if (!done) co_await after_failed_confirm(run, Error(done.error()));
}

// Begin and Prepare. On return the destination listens and the plan knows where.
Task<Prepared> make_ready(Run& run, Copy& copy, Begun& begun, bool& prepared, bool& began) {
  run.check_stop();
  const PhaseCall begin_call = run.source_call();
  begun = co_await begin(run, begin_call);
  began = run.touched = true;
  run.check_go();
  run.plan.params.set("destination_xml", begun.xml);
  const PhaseCall prepare_call = run.destination_call();
  Prepared ready = co_await prepare(run, copy, prepare_call, begun.cookie);
  prepared = true;
  if (run.plan.protocol < Protocol::v3) run.prepare_cookie = ready.cookie;
  if (ready.uri) run.plan.params.set("migrate_uri", *ready.uri);
  const bool offline = run.plan.flags.has(Flag::offline);
  if (!offline && !run.plan.params.has("migrate_uri"))
    throw Error(ErrorId::protocol, "the destination did not say where it listens")
        .at(Side::destination)
        .in("prepare");
  run.check_go();
  co_return ready;
}

Task<> dismiss(Witness* witness) {
  if (witness) co_await witness->dismiss();
}

// From a destination that may have the guest to the end: confirm where it arrived.
Task<> conclude(Run& run, Switched& out, Copy& copy, const Begun& begun, Witness* witness) {
  run.postcopy = run.postcopy || copy.postcopy;
  if (!*out.performed) {
    Error failure = std::move(out.performed->error()).at(Side::source).in("perform");
    run.abort_why = copy.aborted ? copy.abort_why : "";
    if (!failure.reply_lost) {
      if (failure.wire.code == kOperationInvalid) run.copying = false;
      const bool never_sent = failure.id == ErrorId::connect_lost;
      const bool locked = never_sent && run.plan.departs.confirm_frees;
      co_await bring_home(run, std::move(failure), true, locked);
      co_return;
    }
    const bool arrived = co_await after_lost_perform(run, std::move(failure));
    if (!arrived) co_return;
    co_await confirm(run, {});
    co_await verify(run);
    co_return;
  }
  run.source_stands = true;
  Cookie cookie;
  if (*out.finished) {
    run.report.domain = (*out.finished)->domain;
    cookie = std::move((*out.finished)->cookie);
  } else {
    Error failure = std::move(out.finished->error()).at(Side::destination).in("finish");
    const bool arrived =
        co_await after_failed_finish(run, std::move(failure), begun.cookie, witness);
    if (!arrived) co_return;
    run.report.domain = run.plan.domain;
  }
  co_await confirm(run, cookie);
  co_await both(flagged(verify(run)), flagged(dismiss(witness)));
}

}  // namespace

Task<> run_managed(Run& run) {
  Begun begun;
  bool began = false;
  bool prepared = false;
  const auto ex = co_await asio::this_coro::executor;
  Copy copy(ex);
  run.copy = copy.self;
  run.postcopy = copy.postcopy = run.plan.flags.has(Flag::postcopy_resume);
  auto [ready, witness] =
      co_await both(settle(make_ready(run, copy, begun, prepared, began)), call_witness(run));
  if (!ready) {
    const bool locked = run.plan.change_protection || run.plan.departs.confirm_frees;
    const bool release = began && (locked || prepared);
    const bool maybe = run.plan.departs.outlives_client && ready.error().reply_lost && began;
    co_await bring_home(run, Error(ready.error()), prepared || maybe, release);
    if (run.stopped_by_other) run.report.where = Whereabouts::undecided;
    co_await dismiss(witness.get());
    co_return;
  }
  Switched out;
  if (run.plan.flags.has(Flag::offline))
    out = co_await finish_offline(run);
  else
    out = co_await perform_and_finish(run, copy, ready->cookie);
  co_await conclude(run, out, copy, begun, witness.get());
  co_await dismiss(witness.get());
}

}  // namespace vmferry

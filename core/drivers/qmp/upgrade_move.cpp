// The guest's state on its way into the second process of an upgrade.
#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/drivers/qmp/upgrade.hpp"

namespace vmferry::qmp {

namespace {
constexpr Micros kProgress = std::chrono::milliseconds(500);
constexpr Micros kHandOver = std::chrono::seconds(10);

void also(Json& capabilities, const char* name, bool on) {
  capabilities.push_back({{"capability", name}, {"state", on}});
}
}  // namespace

Task<> Upgrade::move(Candidate& candidate, bool throw_away) {
  const FlagSet flags{Flag::live};
  const Params none;
  CopyPlan plan;
  plan.uri = "unix:" + data_of(candidate.instance.dir);
  plan.parameters = parameter_list(flags, none, true);
  plan.hand_over = report_.handed_over;
  plan.stop_first = was_running_ && !report_.handed_over && loses_writes_;
  if (plan.stop_first)
    host_.notice(
        fmt::format("the guest is paused while its memory is copied: QEMU {} without "
                    "KVM would lose what it writes meanwhile",
                    report_.old_version));
  plan.capabilities = old_facts_.capabilities;
  const auto [listens, flushed] = co_await both(settle(listen(candidate, plan.uri, throw_away)),
                                                settle(flush_images(*old_client_)));
  if (!listens) throw Error(listens.error());
  if (!flushed) throw Error(flushed.error());
  old_.held = true;
  old_.migration = candidate.migration;
  // Marked before, not after: nobody who finds it stopped later may let it run without evidence.
  if (ignore_shared_ && !throw_away) old_.stage = Stage::handed_over;
  host_.store().save(old_);
  step("ready", candidate);
  co_await with_deadline(host_.clock(), copy_limit(), "the end of the copy",
                         copy(candidate, std::move(plan)));
  step("copied", candidate);
}

Task<> Upgrade::listen(Candidate& candidate, const std::string& uri, bool throw_away) {
  Json there = candidate.facts.capabilities;
  // The old process needs the images again: the other one must not take their locks.
  if (throw_away) also(there, "late-block-activate", true);
  Json set = {{"capabilities", std::move(there)}};
  Json where = {{"uri", uri}};
  // QEMU takes them in this order; one whose capabilities were refused is not used.
  co_await both(candidate.client->execute("migrate-set-capabilities", std::move(set)),
                candidate.client->execute("migrate-incoming", std::move(where)));
}

Task<> Upgrade::copy(Candidate&, CopyPlan plan) {
  CopyOutcome copied;
  if (!options_.on_progress || plan.hand_over) {
    copied = co_await copy_guest(*old_client_, host_.clock(), plan);
  } else {
    std::optional<Result<CopyOutcome>> result;
    Task<> copying = vmferry::detail::keep(copy_guest(*old_client_, host_.clock(), plan), result);
    Task<> showing = show_progress();
    co_await first_of(std::move(copying), std::move(showing));
    if (!result) throw Error(ErrorId::internal, "progress ended before the copy");
    copied = value_or_throw(std::move(*result));
  }
  stopped_at_ = copied.stopped_at;
}

Task<> Upgrade::show_progress() {
  for (;;) {
    co_await host_.clock().sleep(kProgress);
    const Json info = co_await old_client_->execute("query-migrate");
    options_.on_progress(to_stats(info));
  }
}

// QEMU waits for ever for a new process that hangs; then that one is killed, which frees the old.
Micros Upgrade::copy_limit() const {
  if (report_.handed_over) return kHandOver;
  const auto ram = static_cast<std::int64_t>(ram_of(old_.argv).bytes);
  return std::chrono::seconds(30 + ram / (std::int64_t{10} << 20));
}

// The whole way but the last step, into a process whose memory is its own.
Task<> Upgrade::rehearse() {
  Candidate trial;
  co_await launch(trial, ".try", true);
  const Micros began = host_.clock().now();
  const auto same = co_await settle(compare(trial));
  Result<> moved = std::unexpected(Error(ErrorId::internal, "not moved"));
  if (same) moved = co_await settle(move(trial, true));
  if (moved) moved = co_await settle(arrived(*trial.client, host_.clock()));
  co_await shield();
  const bool stood = stopped_at_.count() != 0;
  Cursor before = old_client_->cursor();
  co_await back_to_old(trial);
  Error failure = !same ? same.error() : !moved ? moved.error() : Error(ErrorId::internal, "");
  if (!same || !moved) {
    failure.note("in the rehearsal: the guest goes on in the old process");
    throw failure;
  }
  if (was_running_ && stood) {
    const auto again = [](const Event& e) { return e.name == "RESUME"; };
    Task<Event> waiting = old_client_->wait_event(before, again);
    const std::optional<Event> resumed =
        co_await within(host_.clock(), std::chrono::seconds(1), std::move(waiting));
    report_.rehearsal_pause = resumed ? resumed->time - stopped_at_ : host_.clock().now() - began;
  }
  stopped_at_ = {};
  // What follows can be cancelled again.
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
}

}  // namespace vmferry::qmp

// Moving a running guest into another QEMU process on the same host.
//
// The order, and who owns the guest in each step:
//   launch, compare      the old process runs it; the new one waits
//   rehearse             the old one stands still for a moment, and goes on
//   move                 the old one stops it at the end; a failure lets it run on there
//   switch over          from here on the new one may have run it: the old one is never resumed,
//                        unless it is proved that the new one did not run the guest, by its own
//                        refusal or by a monitor that ended without RESUME
//   take over names      the new process has it; the old one ends
#include "core/drivers/qmp/upgrade.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "core/async/race.hpp"
#include "core/base/text.hpp"

namespace vmferry::qmp {

Upgrade::Upgrade(QmpHost& host, DomainRef domain, UpgradeOptions options)
    : host_(host),
      domain_(std::move(domain)),
      options_(std::move(options)),
      began_(host.clock().now()) {}

void Upgrade::step(const char* name, const Candidate& candidate) const {
  if (options_.on_step) options_.on_step(name, candidate.instance.process.pid);
}

Task<UpgradeReport> Upgrade::run() {
  const Fd lock = host_.store().lock_domain(domain_.uuid);
  co_await inspect();
  if (options_.rehearse) co_await rehearse();
  co_await launch(new_, ".new", false);
  auto same = co_await settle(compare(new_));
  if (same && by_cpr_) {
    const auto cpr = co_await settle(take_cpr());
    if (!cpr) same = std::unexpected(cpr.error());
  }
  if (!same || options_.dry_run) {
    co_await shield();
    co_await drop(new_);
    if (!same) throw Error(same.error());
    report_.total = host_.clock().now() - began_;
    co_return report_;
  }
  Task<> moving = by_cpr_ ? move_by_cpr() : move(new_, false);
  const auto moved = co_await settle(std::move(moving));
  co_await shield();
  if (!moved) {
    co_await back_to_old(new_);
    throw Error(moved.error());
  }
  co_await switch_over();
  co_await take_over_names();
  report_.domain = ref(new_.instance);
  report_.total = host_.clock().now() - began_;
  host_.drop_monitor(new_.instance);
  co_return report_;
}

Task<> Upgrade::drop(Candidate& candidate) {
  host_.store().not_started(candidate.migration);
  co_await host_.end(candidate.instance);
  host_.store().forget_migration(candidate.migration);
  for (const auto& [temporary, real] : candidate.beside.renames) ::unlink(temporary.c_str());
}

// The new process never ran the guest: whatever became of its memory, the old one's is whole.
Task<> Upgrade::back_to_old(Candidate& candidate) {
  co_await shield();
  co_await drop(candidate);
  if (was_running_) {
    Task<> running = run_again(*old_client_, host_.clock());
    co_await std::move(running);
  }
  if (by_cpr_) {
    Json mode = {{"mode", "normal"}};  // else the next way could not be another one
    co_await settle(old_client_->execute("migrate-set-parameters", std::move(mode)));
  }
  old_.stage = Stage::active;
  old_.held = false;
  old_.migration.clear();
  host_.store().save(old_);
}

Task<> Upgrade::switch_over() {
  step("starting", new_);
  if (!was_running_) {
    const auto there = co_await settle(arrived(*new_.client, host_.clock()));
    if (!there) {
      co_await back_to_old(new_);
      throw Error(there.error());
    }
    host_.store().starting(new_.migration, Outlives::program);
    new_.instance.stage = Stage::active;
    host_.store().save(new_.instance);
    co_return;
  }
  Task<Went> going = host_.let_run(new_.instance);
  const auto went = co_await settle(std::move(going));
  if (!went) {
    if (went.error().reply_lost) throw co_await unclear(went.error());
    co_await back_to_old(new_);
    throw Error(went.error());
  }
  if (stopped_at_.count() != 0) report_.pause = went->resumed - stopped_at_;
  step("running", new_);
  co_await watch(*went);
}

// An old process whose memory the new one has written to is of no use any more, so its end need not
// wait for the watch over the new one. A copied one is kept until that is over.
Task<> Upgrade::watch(const Went& went) {
  Result<> lives, ended;
  if (report_.handed_over) {
    std::tie(lives, ended) =
        co_await both(settle(host_.watch(new_.instance, went)), settle(host_.end(old_)));
    old_ended_ = ended.has_value();
  } else {
    lives = co_await settle(host_.watch(new_.instance, went));
  }
  if (!lives) throw co_await unclear(lives.error());
}

Task<Error> Upgrade::unclear(Error why) const {
  const ProcessId process = new_.instance.process;
  // One that has closed its monitor is about to end.
  const Micros patience = new_.client->lost() ? std::chrono::seconds(1) : Micros(1);
  const bool ended = co_await ended_within(process, host_.clock(), patience);
  Error error(
      ErrorId::undecided,
      fmt::format("{}. The new process {} {}; the old process {} {}", why.message, process.pid,
                  ended ? "has ended after it may have run" : "is there", old_.process.pid,
                  old_ended_ ? "was ended: its memory was handed over"
                  : report_.handed_over
                      ? "is stopped and kept. Its memory was handed over, so it must never "
                        "be resumed"
                      : "is stopped and kept. Its memory is as it was at the switch; its "
                        "disks may not be"));
  error.remedy = fmt::format(
      "Look at the log {}. If the new process does not run the guest, end both (`vmferry destroy "
      "{}`) and start the guest anew from its disks.",
      host_.store().log_of(old_.uuid), old_.name);
  for (const std::string& note : why.notes) error.note(note);
  error.at(Side::destination).in("finish");
  co_return error;
}

Task<> Upgrade::take_over_names() {
  // Not asked to quit: it would unlink the sockets that are renamed to its paths here.
  if (!old_ended_) co_await host_.end(old_);
  host_.store().forget_migration(new_.migration);
  std::vector<std::string> troubles = co_await host_.take_names(new_.instance);
  if (!new_.beside.pid_file.empty())
    write_atomically(new_.beside.pid_file, fmt::format("{}\n", new_.instance.process.pid),
                     Outlives::program);
  step("named", new_);
  if (!troubles.empty())
    throw Error(ErrorId::leftover,
                "the guest runs in the new QEMU, but: " + joined(troubles, "; "));
}

}  // namespace vmferry::qmp

namespace vmferry {

Task<UpgradeReport> upgrade(Host& host, DomainRef domain, UpgradeOptions options) {
  qmp::Upgrade one(qmp::as_qmp(host), std::move(domain), std::move(options));
  Task<UpgradeReport> running = one.run();
  UpgradeReport report = co_await std::move(running);
  co_return report;
}

}  // namespace vmferry

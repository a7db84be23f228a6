// upgrade: another QEMU under a running guest.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/async/race.hpp"
#include "core/base/units.hpp"
#include "core/drivers/qmp/qmp.hpp"

namespace vmferry::cli {

namespace {

struct Options {
  std::string domain, emulator;
  bool all = false, dry_run = false;
  Result<> check() const {
    if (all == !domain.empty()) return fail(ErrorId::usage, "name one domain, or say --all");
    return {};
  }
};
constexpr Option kPositionals[] = {
    option<&Options::domain>({.name = "domain",
                              .metavar = "DOMAIN",
                              .help = "name, id or UUID of a running domain",
                              .complete = Complete::active_domain})};
constexpr Option kOptions[] = {
    option<&Options::emulator>(
        {.name = "emulator",
         .metavar = "PATH",
         .help = "the new QEMU; default: the guest's own program, as it is on disk now",
         .complete = Complete::file}),
    option<&Options::all>({.name = "all", .help = "every running domain of the host"}),
    option<&Options::dry_run>(
        {.name = "dry-run", .help = "start the new process, compare it, and end it again"}),
};

struct Outcome {
  DomainRef domain;
  Result<UpgradeReport> report = fail(ErrorId::cancelled, "not begun");
};

// The domains that are left are taken one after the other by as many of these as run.
Task<bool> worker(Context& context, Host& host, const Options& o, std::vector<Outcome>& outcomes,
                  std::size_t& next) {
  while (next < outcomes.size() && !context.stop.requested()) {
    Outcome& mine = outcomes[next++];
    UpgradeOptions options;
    options.emulator = o.emulator;
    options.dry_run = o.dry_run;
    Task<UpgradeReport> upgrading = upgrade(host, mine.domain, std::move(options));
    mine.report = co_await settle(std::move(upgrading));
  }
  co_return true;
}

std::string what_happened(const UpgradeReport& r, bool dry_run) {
  const std::string memory =
      r.handed_over ? "memory handed over" : "memory copied: " + r.copied_because;
  if (dry_run)
    return fmt::format("could move from QEMU {} to {}, {} ({})", r.old_version, r.new_version,
                       r.machine,
                       r.handed_over ? "memory would be handed over"
                                     : "memory would be copied: " + r.copied_because);
  return fmt::format("moved from QEMU {} to {} ({}); stood still for {}, took {}", r.old_version,
                     r.new_version, memory, human_duration(r.pause), human_duration(r.total));
}

Json to_json(const Outcome& outcome) {
  Json json = {{"domain", outcome.domain.name}, {"uuid", to_string(outcome.domain.uuid)}};
  if (!outcome.report) {
    json["error"] = {{"id", entry(outcome.report.error().id).id},
                     {"message", outcome.report.error().message}};
    return json;
  }
  const UpgradeReport& r = *outcome.report;
  json.update({{"old", r.old_version},
               {"new", r.new_version},
               {"machine", r.machine},
               {"handed_over", r.handed_over},
               {"pause_us", r.pause.count()},
               {"total_us", r.total.count()}});
  return json;
}

// The worst of all: what is unknown matters most, then what failed.
Exit worst(const std::vector<Outcome>& outcomes) {
  Exit exit = Exit::done;
  for (const Outcome& o : outcomes) {
    if (o.report) continue;
    const Exit one = o.report.error().exit();
    if (exit != Exit::unknown && (exit == Exit::done || one == Exit::unknown)) exit = one;
  }
  return exit;
}

Task<Exit> run(Context& context, Options o) {
  const std::unique_ptr<Host> host = co_await connect(context);
  std::vector<Outcome> outcomes;
  if (o.all) {
    const std::vector<ListedDomain> running = co_await host->list(true, false);
    for (const ListedDomain& d : running) outcomes.push_back({d.domain});
  } else {
    const DomainRef domain = co_await host->find(o.domain);
    outcomes.push_back({domain});
  }
  std::size_t next = 0;
  Task<bool> one = worker(context, *host, o, outcomes, next);
  Task<bool> other = worker(context, *host, o, outcomes, next);
  co_await both(std::move(one), std::move(other));
  if (!o.all && !outcomes[0].report) throw std::move(outcomes[0].report).error();

  Table table({"Domain", "Result"});
  Json json = Json::array();
  for (const Outcome& outcome : outcomes) {
    table.add({printable(outcome.domain.name), outcome.report
                                                   ? what_happened(*outcome.report, o.dry_run)
                                                   : "FAILED: " + outcome.report.error().message});
    json.push_back(to_json(outcome));
  }
  const std::string text = o.all ? table.text()
                                 : fmt::format("{} {}\n", printable(outcomes[0].domain.name),
                                               what_happened(*outcomes[0].report, o.dry_run));
  print_result(context, text, o.all ? json : json[0]);
  co_await host->close();
  co_return worst(outcomes);
}

}  // namespace

extern constexpr Command kUpgrade = command<Options, run>(
    {.name = "upgrade",
     .group = "Moving",
     .summary = "put another QEMU under a running guest",
     .description =
         "Moves a running guest of bare QEMU into a new QEMU process on the same host. Its name "
         "and "
         "UUID stay. Memory that `vmferry start` made is handed over, so that neither the time nor "
         "the pause grows with it; other memory is copied, and it is said why.\n\n"
         "The new process is compared with the old one before the guest is touched: memory blocks, "
         "devices, CPU features. Until the new one was told to run, any failure leaves the guest "
         "running in the old one. After that the old one is never resumed; if it is not known "
         "whether the new one runs, the exit status is 7, and both are left as they are.",
     .examples =
         "vmferry -c qmp:///session upgrade web1 --emulator /opt/qemu/bin/qemu-system-x86_64"
         " # into another QEMU\n"
         "vmferry -c qmp:///system upgrade --all --dry-run # would it work?",
     .positionals = kPositionals,
     .options = kOptions});
static_assert(well_formed(kUpgrade));

}  // namespace vmferry::cli

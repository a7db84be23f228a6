// upgrade: another QEMU under a running guest.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/migrate_view.hpp"
#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/async/race.hpp"
#include "core/base/units.hpp"
#include "core/drivers/qmp/qmp.hpp"
#include "core/migrate/progress.hpp"

namespace vmferry::cli {

namespace {

struct Options {
  std::string domain, emulator;
  bool all = false, dry_run = false, rehearse = false;
  unsigned jobs = 2;
  Result<> check() const {
    if (all == !domain.empty()) return fail(ErrorId::usage, "name one domain, or say --all");
    if (jobs == 0 || jobs > 32) return fail(ErrorId::usage, "--jobs is a number from 1 to 32");
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
    option<&Options::jobs>({.name = "jobs",
                            .metavar = "N",
                            .help = "with --all: so many at the same time (default 2)"}),
    option<&Options::rehearse>(
        {.name = "rehearse",
         .help = "first load the guest's state into a new process that is thrown away; the guest "
                 "stands still for some milliseconds"}),
    option<&Options::dry_run>(
        {.name = "dry-run", .help = "start the new process, compare it, and end it again"}),
};

struct Outcome {
  DomainRef domain;
  Result<UpgradeReport> report = fail(ErrorId::cancelled, "not begun");
};

// One line on a terminal that is written over and over.
class ProgressLine {
 public:
  explicit ProgressLine(Context& context) : context_(context) {}
  void show(const JobStats& stats) {
    const ProgressView view = progress_.update(stats, context_.clock.now());
    print("\r" + progress_text(Phase::perform, view, context_.terminal.columns - 1));
  }
  void clear() {
    if (shown_ != 0) print("\r");
  }

 private:
  void print(const std::string& text) {
    const std::size_t now = text.size();
    context_.sink.err(text + std::string(shown_ > now ? shown_ - now : 0, ' ') +
                      (now == 1 ? "\r" : ""));
    shown_ = now == 1 ? 0 : now;
  }
  Context& context_;
  Progress progress_;
  std::size_t shown_ = 0;
};

std::string what_happened(const UpgradeReport& r, const Options& o) {
  const std::string memory =
      r.handed_over ? "memory handed over" : "memory copied: " + r.copied_because;
  std::string rehearsed;
  if (o.rehearse)
    rehearsed =
        fmt::format("; rehearsed, standing still for {}", human_duration(r.rehearsal_pause));
  std::string losses;
  for (const std::string& loss : r.losses) losses += "; " + loss;
  if (o.dry_run)
    return fmt::format("could move from QEMU {} to {}, {} ({}){}{}", r.old_version, r.new_version,
                       r.machine,
                       r.handed_over ? "memory would be handed over"
                                     : "memory would be copied: " + r.copied_because,
                       rehearsed, losses);
  return fmt::format("moved from QEMU {} to {} ({}); stood still for {}, took {}{}{}",
                     r.old_version, r.new_version, memory, human_duration(r.pause),
                     human_duration(r.total), rehearsed, losses);
}

// A stop cancels it; past the point where that is safe, it goes on to its end.
Task<Result<UpgradeReport>> stoppable(Context& context, Host& host, DomainRef domain,
                                      UpgradeOptions options) {
  std::optional<Result<UpgradeReport>> result;
  Task<UpgradeReport> upgrading = upgrade(host, std::move(domain), std::move(options));
  Task<> kept = vmferry::detail::keep(std::move(upgrading), result);
  Task<> stopped = context.stop.wait();
  co_await first_of(std::move(kept), std::move(stopped));
  if (!result) co_return fail(ErrorId::cancelled, "cancelled");
  if (!*result && result->error().id == ErrorId::cancelled)
    result->error().message =
        fmt::format("stopped by {}; the guest goes on in the old QEMU", context.stop.why());
  co_return *std::move(result);
}

void tell(Context& context, const Options& o, const Outcome& outcome, std::size_t number,
          std::size_t of) {
  if (!o.all || context.quiet || context.json()) return;
  context.sink.err(
      fmt::format("[{}/{}] {}: {}\n", number, of, printable(outcome.domain.name),
                  printable(outcome.report ? what_happened(*outcome.report, o)
                                           : "FAILED: " + outcome.report.error().message)));
}

struct Work {
  std::vector<Outcome> outcomes;
  std::size_t next = 0, done = 0;
};

// The domains that are left are taken one after the other by as many of these as run.
Task<> worker(Context& context, Host& host, const Options& o, Work& work) {
  while (work.next < work.outcomes.size() && !context.stop.requested()) {
    Outcome& mine = work.outcomes[work.next++];
    UpgradeOptions options;
    options.emulator = o.emulator;
    options.dry_run = o.dry_run;
    options.rehearse = o.rehearse;
    ProgressLine line(context);
    if (!o.all && context.terminal.err && !context.quiet)
      options.on_progress = [&line](const JobStats& stats) { line.show(stats); };
    Task<Result<UpgradeReport>> upgrading =
        stoppable(context, host, mine.domain, std::move(options));
    mine.report = co_await std::move(upgrading);
    line.clear();
    tell(context, o, mine, ++work.done, work.outcomes.size());
  }
}

Task<bool> workers(Context& context, Host& host, const Options& o, Work& work, std::size_t left) {
  if (left == 0) co_return true;
  auto mine = [](Context& c, Host& h, const Options& opts, Work& w) -> Task<bool> {
    co_await worker(c, h, opts, w);
    co_return true;
  };
  Task<bool> one = mine(context, host, o, work);
  Task<bool> others = workers(context, host, o, work, left - 1);
  co_await both(std::move(one), std::move(others));
  co_return true;
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
               {"copied_because", r.copied_because},
               {"losses", r.losses},
               {"rehearsal_pause_us", r.rehearsal_pause.count()},
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
  Work work;
  if (o.all) {
    const std::vector<ListedDomain> running = co_await host->list(true, false);
    for (const ListedDomain& d : running) work.outcomes.push_back({d.domain});
  } else {
    const DomainRef domain = co_await host->find(o.domain);
    work.outcomes.push_back({domain});
  }
  const std::size_t at_once = std::min<std::size_t>(o.jobs, work.outcomes.size());
  Task<bool> working = workers(context, *host, o, work, at_once);
  co_await std::move(working);
  std::vector<Outcome>& outcomes = work.outcomes;
  if (!o.all && !outcomes[0].report) throw std::move(outcomes[0].report).error();

  Table table({"Domain", "Result"});
  Json json = Json::array();
  for (const Outcome& outcome : outcomes) {
    table.add({printable(outcome.domain.name),
               printable(outcome.report ? what_happened(*outcome.report, o)
                                        : "FAILED: " + outcome.report.error().message)});
    json.push_back(to_json(outcome));
  }
  const std::string text = o.all ? table.text()
                                 : fmt::format("{} {}\n", printable(outcomes[0].domain.name),
                                               printable(what_happened(*outcomes[0].report, o)));
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
         "devices, CPU features. --rehearse also loads the guest's state into a process that is "
         "thrown "
         "away. Sockets, TAP devices and passed descriptors are handed over, forwarded ports are "
         "set up again; what belongs to one process only is refused beforehand. Until the new one "
         "was told to run, any failure leaves the guest running in the old one. After that the "
         "old one is never resumed; if it is not known whether the new one runs, the exit status "
         "is 7, and both are left as they are. The new one is watched for 10 ms before the old one "
         "ends. Ctrl-C before the switch is clean: the guest goes on where it was.",
     .examples =
         "vmferry -c qmp:///session upgrade web1 --emulator /opt/qemu/bin/qemu-system-x86_64"
         " # into another QEMU\n"
         "vmferry -c qmp:///system upgrade --all --dry-run # would it work?",
     .positionals = kPositionals,
     .options = kOptions,
     .page = true,
     .handles_stop = true});
static_assert(well_formed(kUpgrade));

}  // namespace vmferry::cli

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/migrate_options.hpp"
#include "cli/migrate_view.hpp"
#include "cli/output.hpp"
#include "cli/unless_stopped.hpp"
#include "core/async/race.hpp"
#include "core/explain/diagnose.hpp"
#include "core/migrate/render.hpp"
#include "core/migrate/survey.hpp"

namespace vmferry::cli {

namespace {

void announce(Context& context, const Resolution& resolution, const MigrateOptions& options) {
  if (options.events) {
    Json line = {{"event", "plan"}, {"plan", plan_json(resolution)}};
    context.sink.out(line.dump() + "\n");
  } else if (!context.quiet && !context.json()) {
    context.sink.err(printable(fmt::format("{}; {}", resolution.end_state, resolution.data.text)) +
                     "\n");
    for (const std::string& note : resolution.notes) context.sink.err(printable(note) + "\n");
  }
}

// Goodbyes are a courtesy: a host that does not answer one changes nothing any more.
Task<bool> say_goodbye(Endpoint& end) {
  if (!end.host || end.host->lost()) co_return false;
  const auto closed = co_await settle(end.host->close());
  co_return closed.has_value();
}

void print_report(Context& context, const Survey& survey, const Report& report,
                  const MigrateOptions& options) {
  if (options.events) {
    Json line = {{"event", "report"}, {"report", report_json(report)}};
    context.sink.out(line.dump() + "\n");
  } else if (context.json()) {
    print_json(context, report_json(report));
  } else if (!context.quiet && !report.error) {
    context.sink.out(
        report_text(report, survey.resolution.plan.domain.name, survey.destination.uri));
  }
}

Task<Exit> run(Context& context, MigrateOptions options) {
  if (options.chosen(Opt::dry_run)) {
    Task<Exit> showing = unless_stopped(context.stop, show_plan(context, std::move(options)));
    co_return co_await std::move(showing);
  }
  const Request request = request_of(context, options);
  auto asking = vmferry::survey(context.open, request);
  Survey survey = co_await unless_stopped(context.stop, std::move(asking));
  if (!survey.resolution.allowed()) throw survey.resolution.error();
  announce(context, survey.resolution, options);

  MigrateView view(context, options.events, options.chosen(Opt::verbose));
  const Engine engine{context.clock, context.stop, view};
  Report report =
      co_await migrate(engine, survey.resolution.plan, survey.source, survey.destination);
  view.done();
  // Who skipped the rules is not told that they had missed something.
  if (report.error && options.chosen(Opt::trust_host))
    std::ranges::replace(report.error->notes, std::string(kUnforeseen), std::string(kRulesSkipped));
  print_report(context, survey, report, options);
  co_await both(say_goodbye(survey.source), say_goodbye(survey.destination));
  if (report.error && !options.events && !context.json()) throw *report.error;
  co_return report.exit();
}

constexpr Option kOptions[] = {
    option<&MigrateOptions::events>(
        {.name = "events", .help = "print one JSON object per line as things happen"}),
};
}  // namespace

extern constexpr Command kMigrate = command<MigrateOptions, run>(
    {.name = "migrate",
     .group = "Moving",
     .summary = "move a domain to another host",
     .description =
         "Moves DOMAIN to the host at DESTINATION. What is not said is filled in as the driver and "
         "the domain's state suggest: a running domain moves live, a stopped one by its "
         "definition; a persistent one is persistent there and no longer defined here. --dry-run "
         "shows it. A bare host name as DESTINATION means the source's kind of URI on that host, "
         "over ssh.\n\n"
         "Every choice has three values: --x asks for it, --no-x against it, and neither leaves it "
         "to the driver's own way. Asking against what a driver always does, or for what it cannot "
         "do, is refused before anything is touched, with every reason; `vmferry rules` has them "
         "all.\n\n"
         "Normally vmferry itself drives both hosts. With --p2p the source's daemon drives the "
         "destination, and must be able to log in there; with --direct the hypervisors do it among "
         "themselves.\n\n"
         "Ctrl-C aborts cleanly: the domain goes on where it was. At the end both hosts are asked "
         "where the domain is, and the exit status says it.",
     .examples =
         "vmferry migrate web1 host2  # live, over ssh, everything else by default\n"
         "vmferry migrate --live --persistent --compressed web1 "
         "qemu+ssh://host2/system  # as with virsh\n"
         "vmferry migrate --timeout 60 --timeout-abort web1 host2  # at most a minute\n"
         "vmferry migrate web1 host2 --no-live --bandwidth 50  # paused, at 50 MiB/s at most\n"
         "vmferry migrate web1 host2 --p2p --tunnelled  # memory goes through the daemons\n"
         "vmferry migrate web1 host2 --postcopy --postcopy-after-precopy  # never too busy to "
         "move\n"
         "vmferry migrate web1 host2 --tls --dry-run  # what would happen\n",
     .positionals = kMigratePositionals,
     .options = kOptions,
     .more_options = migrate_table_options,
     .legacy_positionals = kMigrateLegacy,
     .page = true,
     .handles_stop = true});
static_assert(well_formed(kMigrate));

}  // namespace vmferry::cli

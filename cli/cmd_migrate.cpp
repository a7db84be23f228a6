#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/migrate_options.hpp"
#include "cli/migrate_view.hpp"
#include "cli/output.hpp"
#include "cli/unless_stopped.hpp"
#include "core/async/race.hpp"
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
  const Request request = request_of(context, options);
  auto asking = vmferry::survey(context.open, request);
  Survey survey = co_await unless_stopped(context.stop, std::move(asking));
  if (options.chosen(Opt::dry_run)) co_return print_plan(context, survey.resolution);
  if (!survey.resolution.allowed()) throw survey.resolution.error();
  announce(context, survey.resolution, options);

  MigrateView view(context, options.events, options.chosen(Opt::verbose));
  const Engine engine{context.clock, context.stop, view};
  Report report =
      co_await migrate(engine, survey.resolution.plan, survey.source, survey.destination);
  view.done();
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
         "definition; "
         "a persistent one is persistent there and no longer defined here. --dry-run shows it.\n\n"
         "Ctrl-C aborts cleanly: the domain goes on where it was. At the end both hosts are asked "
         "where the domain is, and the exit status says it.",
     .examples = "vmferry migrate web1 host2  # live, over ssh, everything else by default\n"
                 "vmferry migrate --live --persistent --compressed web1 "
                 "qemu+ssh://host2/system  # as with virsh\n"
                 "vmferry migrate --timeout 60 --timeout-abort web1 host2  # at most a minute\n",
     .positionals = kMigratePositionals,
     .options = kOptions,
     .more_options = migrate_table_options,
     .legacy_positionals = kMigrateLegacy,
     .handles_stop = true});
static_assert(well_formed(kMigrate));

}  // namespace vmferry::cli

// What a migration would do: plan. The way up to the first phase is that of migrate itself.
#include <array>

#include <nlohmann/json.hpp>

#include "cli/migrate_options.hpp"
#include "cli/output.hpp"
#include "core/migrate/render.hpp"
#include "core/migrate/survey.hpp"

namespace vmferry::cli {

Exit print_plan(Context& context, const Resolution& resolution) {
  print_result(context, plan_text(resolution), plan_json(resolution));
  return resolution.allowed() ? Exit::done : Exit::refused;
}

namespace {

Task<> say_goodbye(Endpoint& end) {
  if (!end.host || end.host->lost()) co_return;
  const auto closed = co_await settle(end.host->close());
  (void)closed;  // a courtesy: a host that does not answer it changes nothing any more
}

Task<Exit> plan(Context& context, MigrateOptions options) {
  const Request request = request_of(context, options);
  Survey survey = co_await vmferry::survey(context.open, request);
  const Exit exit = print_plan(context, survey.resolution);
  co_await say_goodbye(survey.source);
  co_await say_goodbye(survey.destination);
  co_return exit;
}

}  // namespace

extern constexpr Command kPlan = command<MigrateOptions, plan>(
    {.name = "plan",
     .group = "Moving",
     .summary = "show what migrate would do, and why it might not",
     .description =
         "Takes what migrate takes, asks both hosts, and prints what was filled in and by which "
         "rule, the final flags and parameters, the phases, how memory travels and who could read "
         "it, and where the domain will be afterwards. Every objection is listed. Nothing is "
         "changed. Exit status 0: it would run; 3: it is refused.",
     .examples = "vmferry plan web1 host2  # everything by default\n"
                 "vmferry --output json plan --tls web1 host2  # for programs\n",
     .positionals = kMigratePositionals,
     .more_options = migrate_table_options,
     .legacy_positionals = kMigrateLegacy});
static_assert(well_formed(kPlan));

}  // namespace vmferry::cli

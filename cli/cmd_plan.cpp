// What a migration would do: plan. The way up to the first phase is that of migrate itself.
#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cli/migrate_options.hpp"
#include "cli/output.hpp"
#include "core/migrate/render.hpp"
#include "core/migrate/survey.hpp"

namespace vmferry::cli {

namespace {

Exit print_plan(Context& context, const Resolution& resolution) {
  const std::size_t columns = context.terminal.out ? text_width(context) : std::string::npos;
  print_result(context, plan_text(resolution, columns), plan_json(resolution));
  return resolution.allowed() ? Exit::done : Exit::refused;
}

Task<> say_goodbye(Endpoint& end) {
  if (!end.host || end.host->lost()) co_return;
  const auto closed = co_await settle(end.host->close());
  (void)closed;  // a courtesy: a host that does not answer it changes nothing any more
}

// What the command line alone is refused for stands first; resolve() may have said it too.
void add_first(std::vector<Objection>& all, std::vector<Objection> first) {
  std::erase_if(all, [&](const Objection& o) {
    return std::ranges::any_of(first, [&](const Objection& f) { return f.reason == o.reason; });
  });
  all.insert(all.begin(), std::make_move_iterator(first.begin()),
             std::make_move_iterator(first.end()));
}

}  // namespace

Task<Exit> show_plan(Context& context, MigrateOptions options) {
  options.draft.source = connection_uri(context);
  const std::vector<Objection> typed = options.draft.objections();
  auto asking = vmferry::survey(context.open, options.draft.unchecked());
  auto survey = co_await settle(std::move(asking));
  if (!survey) {
    if (typed.empty()) throw std::move(survey).error();
    Error wrong = options.draft.request().error();
    throw std::move(wrong.note("the hosts were not asked: " + survey.error().message));
  }
  add_first(survey->resolution.objections, typed);
  const Exit exit = print_plan(context, survey->resolution);
  co_await say_goodbye(survey->source);
  co_await say_goodbye(survey->destination);
  co_return exit;
}

namespace {

// Nothing is wrong with it before the hosts were asked: every objection is shown at once.
struct PlanOptions : MigrateOptions {
  static Result<> check() { return {}; }
};

Task<Exit> plan(Context& context, PlanOptions options) {
  return show_plan(context, std::move(options));
}

}  // namespace

extern constexpr Command kPlan = command<PlanOptions, plan>(
    {.name = "plan",
     .group = "Moving",
     .summary = "show what migrate would do, and why it might not",
     .description =
         "Takes what migrate takes, asks both hosts, and prints what was filled in and by which "
         "rule, the final flags and parameters, the phases, how memory travels and who could read "
         "it, and where the domain will be afterwards. Every objection is listed. Nothing is "
         "changed. Exit status 0: it would run; 3: it is refused.",
     .examples = "vmferry plan web1 host2  # everything by default\n"
                 "vmferry plan --strict --live web1 host2  # nothing filled in\n"
                 "vmferry --output json plan --tls web1 host2  # for programs\n",
     .positionals = kMigratePositionals,
     .more_options = migrate_table_options,
     .legacy_positionals = kMigrateLegacy,
     .page = true});
static_assert(well_formed(kPlan));

}  // namespace vmferry::cli

// cleanup: what interrupted commands have left.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/drivers/qmp/qmp.hpp"

namespace vmferry::cli {

namespace {

struct Options {
  bool dry_run = false;
};
constexpr Option kOptions[] = {
    option<&Options::dry_run>({.name = "dry-run", .help = "only show what there is"})};

Task<Exit> run(Context& context, Options o) {
  const std::unique_ptr<Host> host = co_await connect(context);
  Task<std::vector<Leftover>> cleaning = clean_up(*host, o.dry_run);
  const std::vector<Leftover> found = co_await std::move(cleaning);
  std::string text = found.empty() ? "Nothing is left over.\n" : "";
  Json json = Json::array();
  bool all = true;
  for (const Leftover& l : found) {
    const std::string why = l.why_not.empty() ? "" : ": " + l.why_not;
    text += fmt::format("{}{}{}\n", printable(l.what), l.removed ? ": settled" : "", why);
    json.push_back({{"what", l.what}, {"settled", l.removed}, {"trouble", l.why_not}});
    all = all && l.why_not.empty();
  }
  print_result(context, text, json);
  co_await host->close();
  co_return all || o.dry_run ? Exit::done : Exit::unknown;
}

}  // namespace

extern constexpr Command kCleanup = command<Options, run>(
    {.name = "cleanup",
     .group = "Moving",
     .summary = "settle what interrupted commands have left (bare QEMU)",
     .description =
         "Looks for QEMU processes of migrations and upgrades whose vmferry is gone. An incoming "
         "one that provably never ran is ended, and the guest goes on where it was; one that runs "
         "the "
         "guest becomes the domain. What is not certain is left alone and told.",
     .options = kOptions});
static_assert(well_formed(kCleanup));

}  // namespace vmferry::cli

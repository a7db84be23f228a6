#pragma once
// What `migrate` and `plan` take on the command line: the options of core/flags/table.hpp.
#include <array>

#include "cli/spec.hpp"
#include "core/migrate/draft.hpp"
#include "core/migrate/resolve.hpp"

namespace vmferry::cli {

struct MigrateOptions {
  Draft draft;
  bool events = false;
  Result<> check() const;  ///< a plan is shown with all objections, so it passes
  bool chosen(Opt option) const { return draft.chosen().yes(option); }
};

/// Every row of the table as an option.
std::span<const Option> migrate_table_options();

inline constexpr Option kMigratePositionals[] = {
    {.name = "domain",
     .metavar = "DOMAIN",
     .help = "name, id or UUID of the domain",
     .complete = Complete::active_domain,
     .required = true,
     .store = [](void* options, const Option&, std::string_view text) -> Result<> {
       static_cast<MigrateOptions*>(options)->draft.domain = text;
       return {};
     }},
    {.name = "desturi",
     .metavar = "DESTINATION",
     .help = "connection URI of the destination, or a bare host name",
     .complete = Complete::destination,
     .required = true,
     .store = [](void* options, const Option&, std::string_view text) -> Result<> {
       static_cast<MigrateOptions*>(options)->draft.destination = text;
       return {};
     }},
};

/// Those that virsh also takes by position (legacy_positionals() of the table).
inline constexpr std::array<std::string_view, 8> kMigrateLegacy = {
    "migrateuri", "graphicsuri", "listen-address", "dname",
    "timeout",    "xml",         "migrate-disks",  "disks-port"};

/// `plan`, and `migrate --dry-run`: the plan as the command's result; done, or refused if there are
/// objections, those of the command line among them.
Task<Exit> show_plan(Context& context, MigrateOptions options);

/// The draft as a request, with the source's URI filled in. Throws what is wrong with it.
Request request_of(const Context& context, MigrateOptions options);

}  // namespace vmferry::cli

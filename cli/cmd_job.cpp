// A domain's job while it runs: domjobinfo, domjobabort, and the knobs of a migration.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/job_text.hpp"
#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/base/units.hpp"
#include "core/flags/rules.hpp"

namespace vmferry::cli {

namespace {

void ok(Context& context, const DomainRef& domain, std::string_view result) {
  if (context.json()) print_json(context, {{"domain", domain.name}, {"result", result}});
}
void number(Context& context, const DomainRef& domain, std::string_view field,
            std::uint64_t value) {
  print_result(context, fmt::format("{}\n", value),
               {{"domain", domain.name}, {std::string(field), value}});
}

struct Info {
  std::string domain;
  bool completed = false, keep = false, any = false, raw = false;
};
constexpr Option kInfoDomain[] = {option<&Info::domain>(kDomain)};
constexpr Option kInfoOptions[] = {
    option<&Info::completed>(
        {.name = "completed", .help = "of the job that completed last; reading forgets it"}),
    option<&Info::keep>({.name = "keep-completed", .help = "as --completed, and do not forget it"}),
    option<&Info::any>(
        {.name = "anystats", .help = "figures of any kind of job, also of a failed one"}),
    option<&Info::raw>({.name = "rawstats", .help = "every field by its name"}),
};

Task<Exit> domjobinfo(Context& context, Info options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(options.domain);
  const bool completed = options.completed || options.keep;
  const JobStats stats = co_await host->job_stats(domain, completed, options.keep);
  Json json = {{"domain", domain.name}, {"type", job_type_text(stats.type)}};
  for (const TypedParam& p : stats.fields.items)
    std::visit([&](const auto& v) { json[p.field] = v; }, p.value);
  print_result(context, options.raw ? raw_job_text(stats) : job_text(stats, options.any), json);
  co_await host->close();
  co_return Exit::done;
}

struct Abort {
  std::string domain;
  bool postcopy = false;
};
constexpr Option kAbortDomain[] = {option<&Abort::domain>(kActiveDomain)};
constexpr Option kAbortOptions[] = {option<&Abort::postcopy>(
    {.name = "postcopy", .help = "interrupt a post-copy migration; it can be resumed later"})};

Task<Exit> domjobabort(Context& context, Abort options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(options.domain);
  const HostNeeds nothing_more;
  const HostBrief brief = co_await host->brief(nothing_more);
  const std::string_view reason = rules_of(brief.identity.driver, "").departs.no_abort;
  if (!reason.empty())
    throw Error(ErrorId::unsupported, fmt::format("nothing was asked of the host: {}", reason));
  co_await host->abort_job(domain, options.postcopy);
  ok(context, domain, "aborted");
  co_await host->close();
  co_return Exit::done;
}

struct Downtime {
  std::string domain;
  std::uint64_t ms = 0;
  Result<> check() const {
    if (ms == 0) return fail(ErrorId::usage, "--downtime: it must be at least 1 ms");
    return {};
  }
};
constexpr Option kDowntime[] = {
    option<&Downtime::domain>(kActiveDomain),
    option<&Downtime::ms>({.name = "downtime",
                           .metavar = "MS",
                           .help = "longest standstill at the switch-over, in milliseconds",
                           .required = true})};

Task<Exit> set_downtime(Context& context, Downtime options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(options.domain);
  co_await host->set_max_downtime(domain, options.ms);
  ok(context, domain, "set");
  co_await host->close();
  co_return Exit::done;
}

struct Named {
  std::string domain;
};
constexpr Option kNamed[] = {option<&Named::domain>(kActiveDomain)};

Task<Exit> get_downtime(Context& context, Named options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(options.domain);
  const std::uint64_t ms = co_await host->max_downtime(domain);
  number(context, domain, "downtime_ms", ms);
  co_await host->close();
  co_return Exit::done;
}

struct Speed {
  std::string domain;
  std::uint64_t mib_per_s = 0;
  bool postcopy = false;
};
constexpr Option kSetSpeed[] = {
    option<&Speed::domain>(kDomain),
    option<&Speed::mib_per_s>({.name = "bandwidth",
                               .metavar = "MIB",
                               .help = "MiB per second; 0 is the hypervisor's default",
                               .required = true})};
constexpr Option kGetSpeed[] = {option<&Speed::domain>(kDomain)};
constexpr Option kSpeedOptions[] = {
    option<&Speed::postcopy>({.name = "postcopy", .help = "the limit of the post-copy phase"})};

Task<Exit> set_speed(Context& context, Speed options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(options.domain);
  co_await host->set_max_speed(domain, options.mib_per_s, options.postcopy);
  ok(context, domain, "set");
  co_await host->close();
  co_return Exit::done;
}

Task<Exit> get_speed(Context& context, Speed options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(options.domain);
  const std::uint64_t speed = co_await host->max_speed(domain, options.postcopy);
  number(context, domain, "mib_per_s", speed);
  co_await host->close();
  co_return Exit::done;
}

struct Cache {
  std::string domain;
  std::optional<std::string> size;
  Result<> check() const {
    if (!size) return {};
    const Result<std::uint64_t> bytes = parse_size(*size);
    return bytes ? Result<>() : fail(ErrorId::usage, "--size: " + bytes.error().message);
  }
};
constexpr Option kCache[] = {option<&Cache::domain>(kDomain)};
constexpr Option kCacheOptions[] = {option<&Cache::size>(
    {.name = "size", .metavar = "BYTES", .help = "set it to this first; 64MiB is understood"})};
constexpr std::string_view kCacheLegacy[] = {"size"};

Task<Exit> compression_cache(Context& context, Cache options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(options.domain);
  if (options.size) {
    const std::uint64_t wanted = value_or_throw(parse_size(*options.size));
    co_await host->set_compression_cache(domain, wanted);
  }
  const std::uint64_t bytes = co_await host->compression_cache(domain);
  const double mib = static_cast<double>(bytes) / static_cast<double>(kMiB);
  print_result(context, fmt::format("Compression cache: {:.3f} MiB\n", mib),
               {{"domain", domain.name}, {"bytes", bytes}});
  co_await host->close();
  co_return Exit::done;
}

Task<Exit> start_postcopy(Context& context, Named options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(options.domain);
  co_await host->start_postcopy(domain);
  ok(context, domain, "switching to post-copy");
  co_await host->close();
  co_return Exit::done;
}

}  // namespace

extern constexpr Command kDomjobinfo = command<Info, domjobinfo>(
    {.name = "domjobinfo",
     .group = "Migration jobs",
     .summary = "show the statistics of a domain's job",
     .description = "Shows what the hypervisor says of the job under way, or of the last one.",
     .positionals = kInfoDomain,
     .options = kInfoOptions});
static_assert(well_formed(kDomjobinfo));

extern constexpr Command kDomjobabort = command<Abort, domjobabort>(
    {.name = "domjobabort",
     .group = "Migration jobs",
     .summary = "abort a domain's job",
     .description = "Asks the hypervisor to abort the job under way, such as a migration that "
                    "another client started. The guest goes on where it was.",
     .positionals = kAbortDomain,
     .options = kAbortOptions});
static_assert(well_formed(kDomjobabort));

extern constexpr Command kSetMaxDowntime = command<Downtime, set_downtime>(
    {.name = "migrate-setmaxdowntime",
     .group = "Migration jobs",
     .summary = "set how long the guest may stand still",
     .description = "Sets the longest standstill at the switch-over of a live migration. A longer "
                    "one lets a guest that dirties much memory get through.",
     .examples = "vmferry migrate-setmaxdowntime web1 500 # half a second",
     .positionals = kDowntime});
static_assert(well_formed(kSetMaxDowntime));

extern constexpr Command kGetMaxDowntime = command<Named, get_downtime>(
    {.name = "migrate-getmaxdowntime",
     .group = "Migration jobs",
     .summary = "print how long the guest may stand still",
     .description = "Prints the longest standstill at the switch-over, in milliseconds.",
     .positionals = kNamed});
static_assert(well_formed(kGetMaxDowntime));

extern constexpr Command kMigrateSetspeed = command<Speed, set_speed>(
    {.name = "migrate-setspeed",
     .group = "Migration jobs",
     .summary = "limit the bandwidth of a migration",
     .description = "Sets the domain's bandwidth limit, also of a migration under way.",
     .positionals = kSetSpeed,
     .options = kSpeedOptions});
static_assert(well_formed(kMigrateSetspeed));

extern constexpr Command kMigrateGetspeed = command<Speed, get_speed>(
    {.name = "migrate-getspeed",
     .group = "Migration jobs",
     .summary = "print the bandwidth limit of a migration",
     .description = "Prints the domain's bandwidth limit in MiB per second.",
     .positionals = kGetSpeed,
     .options = kSpeedOptions});
static_assert(well_formed(kMigrateGetspeed));

extern constexpr Command kCompcache = command<Cache, compression_cache>(
    {.name = "migrate-compcache",
     .group = "Migration jobs",
     .summary = "show or set the size of the compression cache",
     .description = "Shows the size of the cache that XBZRLE compression uses; sets it first with "
                    "--size. The hypervisor rounds it.",
     .positionals = kCache,
     .options = kCacheOptions,
     .legacy_positionals = kCacheLegacy});
static_assert(well_formed(kCompcache));

extern constexpr Command kMigratePostcopy = command<Named, start_postcopy>(
    {.name = "migrate-postcopy",
     .group = "Migration jobs",
     .summary = "switch a migration to post-copy",
     .description = "Lets the guest go on at the destination at once and fetch the rest of its "
                    "memory as it needs it. The migration must have been started with --postcopy. "
                    "From then on the guest lives on both hosts: losing either loses it.",
     .positionals = kNamed});
static_assert(well_formed(kMigratePostcopy));

}  // namespace vmferry::cli

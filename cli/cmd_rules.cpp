// What drivers say of flags and parameters: rules.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/base/text.hpp"
#include "core/flags/rules_text.hpp"
#include "core/migrate/pairs.hpp"

namespace vmferry::cli {

namespace {

struct Options {
  std::string driver, explain, release;
  bool pairs = false, stopped = false;
  Result<> check() const;
};

Result<std::uint64_t> parse_release(std::string_view text) {
  const std::vector<std::string_view> parts = split(text, '.');
  std::uint64_t version = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const auto number =
        i < parts.size() ? parse_number<std::uint32_t>(parts[i]) : std::optional<std::uint32_t>(0);
    if (!number || *number > 999 || parts.size() > 3)
      return fail(ErrorId::usage, fmt::format("--release: '{}' is not like 9.0.0", text));
    version = version * 1000 + *number;
  }
  return version;
}

Result<> Options::check() const {
  if (!driver.empty() && find_rules(driver) == nullptr) {
    std::vector<std::string_view> names;
    for (const DriverRules* r : all_rules()) names.push_back(r->name);
    const auto near = closest(driver, names);
    return fail(ErrorId::usage,
                fmt::format("there is no driver '{}'{}; there are {}", driver,
                            near ? fmt::format(", did you mean {}?", *near) : std::string(),
                            fmt::join(names, ", ")));
  }
  if (!explain.empty() && find_opt(explain) == nullptr)
    return fail(ErrorId::usage,
                fmt::format("'{}' is no option, flag or parameter of a migration", explain));
  if (pairs && driver.empty()) return fail(ErrorId::usage, "--pairs needs a DRIVER");
  if (stopped && !pairs) return fail(ErrorId::usage, "--stopped needs --pairs");
  if (release.empty()) return {};
  const Result<std::uint64_t> version = parse_release(release);
  if (!version) return std::unexpected(version.error());
  return {};
}

Json overview_json() {
  Json out = Json::array();
  for (const DriverRules* r : all_rules()) out.push_back(rules_json(*r, 0));
  return out;
}

void print_pairs(Context& context, const Json& pairs) {
  std::string text;
  for (const Json& pair : pairs) {
    if (pair["objections"].empty()) continue;
    std::string flags;
    for (const Json& flag : pair["flags"]) flags += flag.get<std::string>() + " ";
    text += flags + "\n";
    for (const Json& o : pair["objections"])
      text += fmt::format("    {}\n", o["reason"].get<std::string>());
  }
  print_result(context, text, pairs);
}

Task<Exit> rules(Context& context, Options options) {
  if (!options.explain.empty()) {
    const Opt option = find_opt(options.explain)->id;
    print_result(context, option_rules_text(option, text_width(context)),
                 option_rules_json(option));
  } else if (options.driver.empty()) {
    print_result(context, rules_overview(text_width(context)), overview_json());
  } else {
    const DriverRules& driver = *find_rules(options.driver);
    const std::uint64_t release =
        options.release.empty() ? 0 : value_or_throw(parse_release(options.release));
    if (options.pairs)
      print_pairs(context, flag_pairs_json(driver, !options.stopped, release));
    else
      print_result(context, rules_text(driver, release, text_width(context)),
                   rules_json(driver, release));
  }
  co_return Exit::done;
}

constexpr Option kPositionals[] = {
    option<&Options::driver>({.name = "driver",
                              .metavar = "DRIVER",
                              .help = "qemu, xen, vz, vz-2015, openvz, esx, ch, qmp or test",
                              .complete = Complete::driver}),
};
constexpr Option kOptions[] = {
    option<&Options::explain>({.name = "explain",
                               .metavar = "FLAG",
                               .help = "all about one flag, parameter or option",
                               .complete = Complete::flag}),
    option<&Options::release>(
        {.name = "release", .metavar = "VERSION", .help = "as that release of libvirt would say"}),
    option<&Options::pairs>(
        {.name = "pairs", .help = "what is wrong with every flag and pair of flags, typed alone"}),
    option<&Options::stopped>({.name = "stopped", .help = "with --pairs: for a stopped domain"}),
};

}  // namespace

extern constexpr Command kRules = command<Options, rules>(
    {.name = "rules",
     .group = "Moving",
     .summary = "show what each driver accepts, demands and refuses",
     .description =
         "Without DRIVER, a table of all flags and drivers. With one, every flag and parameter of "
         "it, for running and for stopped domains, with the reasons. No host is contacted.",
     .examples = "vmferry rules  # all drivers at a glance\n"
                 "vmferry rules vz  # one of them, with reasons\n"
                 "vmferry rules --explain tunnelled  # one option and everybody's word on it\n"
                 "vmferry rules qemu --release 9.0.0  # as an older libvirt has it\n",
     .positionals = kPositionals,
     .options = kOptions,
     .page = true});
static_assert(well_formed(kRules));

}  // namespace vmferry::cli

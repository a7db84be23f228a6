#include "core/flags/rules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "core/flags/rules_data.hpp"

namespace vmferry {

namespace {

constexpr const DriverRules* kAll[] = {&data::qemu,   &data::xen,  &data::vz, &data::vz_2015,
                                       &data::openvz, &data::esx,  &data::ch, &data::qmp,
                                       &data::test,   &data::other};

/// Parameters that tune a flag, and the flag.
constexpr std::pair<Opt, Opt> kServes[] = {
    {Opt::migrate_disks, Opt::non_shared_disk},
    {Opt::migrate_disks_detect_zeroes, Opt::non_shared_disk},
    {Opt::disks_port, Opt::non_shared_disk},
    {Opt::disks_uri, Opt::non_shared_disk},
    {Opt::compression, Opt::compressed},
    {Opt::compression_mt_level, Opt::compressed},
    {Opt::compression_mt_threads, Opt::compressed},
    {Opt::compression_mt_dthreads, Opt::compressed},
    {Opt::compression_xbzrle_cache, Opt::compressed},
    {Opt::compression_zlib_level, Opt::compressed},
    {Opt::compression_zstd_level, Opt::compressed},
    {Opt::auto_converge_initial, Opt::auto_converge},
    {Opt::auto_converge_increment, Opt::auto_converge},
    {Opt::parallel_connections, Opt::parallel},
    {Opt::tls_destination, Opt::tls},
    {Opt::bandwidth_postcopy, Opt::postcopy},
    {Opt::postcopy_after_precopy, Opt::postcopy},
};

bool applies(const Rule& rule, bool active) {
  return rule.when == When::always || (rule.when == When::running) == active;
}

const Rule* find_rule(const DriverRules& rules, Opt option, bool active) {
  for (const Rule& r : rules.rules)
    if (r.option == option && applies(r, active)) return &r;
  return nullptr;
}

bool same_type(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b,
                            [](unsigned char x, unsigned char y) { return std::tolower(x) == y; });
}

Ruling refused(std::string reason, std::int32_t code) {
  return {Stance::refused, std::move(reason), code};
}

Objection object(const DriverRules& rules, Opt option, const Ruling& says) {
  Objection o{says.unknown ? Source::release : Source::driver, option};
  const std::string_view verb = says.stance == Stance::demanded ? "is demanded" : "is refused";
  o.reason = fmt::format("{} {}: {}", option_text(option), verb, says.reason);
  o.code = says.code;
  o.rule = rules.name;
  return o;
}

}  // namespace

std::string_view name(Stance stance) {
  static constexpr std::string_view names[] = {"accepted", "demanded", "inherent", "harmless",
                                               "refused"};
  return names[static_cast<std::size_t>(stance)];
}

std::span<const DriverRules* const> all_rules() { return kAll; }

const DriverRules* find_rules(std::string_view wanted) {
  for (const DriverRules* r : kAll)
    if (r->name == wanted) return r;
  return nullptr;
}

const DriverRules& rules_of(std::string_view type, std::string_view uri) {
  constexpr std::string_view key = "rules=";
  const std::size_t query = uri.find('?');
  if (same_type(type, "test") && query != std::string_view::npos) {
    for (std::size_t at = query; at != std::string_view::npos; at = uri.find('&', at + 1)) {
      const std::string_view rest = uri.substr(at + 1);
      if (!rest.starts_with(key)) continue;
      const std::string_view wanted = rest.substr(key.size(), rest.find('&') - key.size());
      if (const DriverRules* r = find_rules(wanted)) return *r;
    }
  }
  if (same_type(type, "parallels")) return data::vz;
  for (const DriverRules* r : kAll)
    if (!r->type.empty() && same_type(type, r->type)) return *r;
  return data::other;
}

std::optional<Opt> serves(Opt parameter) {
  for (const auto& [param, flag] : kServes)
    if (param == parameter) return flag;
  return std::nullopt;
}

Ruling ruling(const DriverRules& rules, Opt option, bool active, std::uint64_t library_version) {
  const OptRow& r = row(option);
  if (library_version != 0 && r.since > library_version) {
    Ruling out = refused(fmt::format("libvirt {} does not know it; it came with {}",
                                     version_text(library_version), version_text(r.since)),
                         is_param(option) ? kArgumentUnsupported : kInvalidArg);
    out.unknown = true;
    return out;
  }
  if (const Rule* rule = find_rule(rules, option, active))
    return {rule->stance, std::string(rule->reason), rule->code, rule->sent};
  if (!is_flag(option) && !is_param(option) && !serves(option)) return {Stance::accepted};
  if (std::ranges::find(rules.accepted, option) != rules.accepted.end()) return {Stance::accepted};
  const std::int32_t code = is_flag(option) ? kInvalidArg : kArgumentUnsupported;
  if (const std::optional<Opt> flag = serves(option)) {
    if (ruling(rules, *flag, true, 0).stance == Stance::refused)
      return refused(fmt::format("it serves {}, which is refused", option_text(*flag)),
                     is_param(option) ? code : 0);
    if (!is_param(option)) return {Stance::accepted};
  }
  if (!rules.cannot.empty()) return refused(std::string(rules.cannot), kNoSupport);
  return refused(std::string(rules.otherwise), code);
}

std::vector<Objection> check_literal(const DriverRules& rules, FlagSet flags, const Params& params,
                                     bool active, std::uint64_t library_version) {
  std::vector<Objection> out;
  if (!rules.cannot.empty()) {
    Objection o{Source::driver};
    o.reason = rules.cannot;
    o.code = kNoSupport;
    o.rule = rules.name;
    return {o};
  }
  for (const OptRow& r : opt_rows()) {
    const std::optional<Flag> flag = flag_of(r.id);
    if (!flag && !is_param(r.id)) continue;
    const bool given = flag ? flags.has(*flag) : params.has(r.name);
    const Ruling says = ruling(rules, r.id, active, library_version);
    const bool rejected =
        says.stance == Stance::refused || (says.stance == Stance::inherent && !says.sent);
    if (given ? rejected : says.stance == Stance::demanded)
      out.push_back(object(rules, r.id, says));
  }
  if (!active && !rules.inactive.empty()) {
    Objection o{Source::driver};
    o.reason = rules.inactive;
    o.code = kOperationInvalid;
    o.rule = rules.name;
    out.push_back(o);
  }
  if (const auto* uri = params.get<std::string>("migrate_uri"))
    for (Objection& o : check_uri(rules, *uri)) out.push_back(std::move(o));
  return out;
}

}  // namespace vmferry

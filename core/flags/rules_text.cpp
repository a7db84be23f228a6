#include "core/flags/rules_text.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace vmferry {

using Json = nlohmann::ordered_json;

namespace {

bool on_the_wire(const OptRow& r) { return is_flag(r.id) || is_param(r.id); }

std::string_view word(const Ruling& says) {
  switch (says.stance) {
    case Stance::accepted:
      return "yes";
    case Stance::demanded:
      return "must";
    case Stance::inherent:
      return "always";
    case Stance::harmless:
      return "no effect";
    case Stance::refused:
      return says.unknown ? "unknown" : "-";
  }
  return "";
}

/// What a driver says of running and of stopped guests; one word when that is the same.
std::string cell(const DriverRules& rules, Opt option, std::uint64_t release) {
  const std::string_view on = word(ruling(rules, option, true, release));
  const std::string_view off = word(ruling(rules, option, false, release));
  return on == off ? std::string(on) : fmt::format("{}/{}", on, off);
}

std::string name_of(const OptRow& r) {
  return is_flag(r.id) ? fmt::format("VIR_MIGRATE_{}", r.name) : std::string(r.name);
}

Json ruling_json(const Ruling& says) {
  Json out{{"stance", says.unknown ? "unknown" : name(says.stance)}};
  if (!says.reason.empty()) out["reason"] = says.reason;
  if (says.code != 0 && says.stance != Stance::inherent) out["libvirt_code"] = says.code;
  if (says.stance == Stance::inherent) out["sent"] = says.sent;
  return out;
}

std::string relation_text(const Relation& r, Opt seen_from) {
  const std::string a = option_text(r.option), b = option_text(r.other);
  if (r.kind == Relation::Kind::excludes)
    return fmt::format("excludes {}: {}", seen_from == r.option ? b : a, r.reason);
  if (seen_from != r.option) return fmt::format("is needed by {}: {}", a, r.reason);
  if (r.kind == Relation::Kind::needs_any)
    return fmt::format("needs {} or {}: {}", b, option_text(r.another), r.reason);
  return fmt::format("{} {}: {}", r.filled_in ? "implies" : "needs", b, r.reason);
}

bool concerns(const Relation& r, Opt option) {
  return r.option == option || r.other == option || r.another == option;
}

std::string reason_lines(const DriverRules& rules, Opt option, std::uint64_t release) {
  const Ruling on = ruling(rules, option, true, release);
  const Ruling off = ruling(rules, option, false, release);
  if (on.stance == off.stance && on.reason == off.reason) return on.reason;
  if (on.reason.empty()) return fmt::format("stopped: {}", off.reason);
  if (off.reason.empty()) return fmt::format("running: {}", on.reason);
  return fmt::format("running: {}; stopped: {}", on.reason, off.reason);
}

}  // namespace

std::string rules_overview() {
  std::string out = fmt::format("{:<33}", "option");
  std::vector<const DriverRules*> shown;
  for (const DriverRules* r : all_rules()) {
    if (!r->cannot.empty() || r->name == "test") continue;
    shown.push_back(r);
    out += fmt::format("{:<10}", r->name);
  }
  out.erase(out.find_last_not_of(' ') + 1);
  out += '\n';
  for (const OptRow& r : opt_rows()) {
    if (!is_flag(r.id)) continue;
    out += fmt::format("{:<33}", option_text(r.id));
    for (const DriverRules* rules : shown)
      out += fmt::format("{:<10}", word(ruling(*rules, r.id, true, 0)));
    out.erase(out.find_last_not_of(' ') + 1);
    out += '\n';
  }
  out +=
      "\nOf a running guest: yes: as you like; must: demanded, filled in unless --strict; always:\n"
      "done anyway; no effect: accepted; -: refused. `vmferry rules DRIVER` gives stopped guests,\n"
      "parameters and reasons; `vmferry rules --explain OPTION` one option.\nDrivers:";
  for (const DriverRules* r : all_rules()) out += fmt::format(" {}", r->name);
  return out + "\n";
}

std::string rules_text(const DriverRules& rules, std::uint64_t release) {
  std::string out = fmt::format("{}: {}\n\n{}\n\n", rules.name, rules.title, rules.about);
  if (release != 0) out += fmt::format("release:       libvirt {}\n", version_text(release));
  if (!rules.cannot.empty()) return out + fmt::format("cannot migrate: {}\n", rules.cannot);
  out += fmt::format("protocols:     {}\nmigration URI: {}\ndata ports:    {}\n", rules.protocols,
                     rules.uri.note, rules.default_ports);
  if (!rules.inactive.empty()) out += fmt::format("stopped guest: {}\n", rules.inactive);
  OptGroup group = OptGroup::checks;
  for (int g = 0; g < kOptGroups; ++g) {
    group = static_cast<OptGroup>(g);
    out += fmt::format("\n{} (running/stopped guest):\n", title(group));
    for (const OptRow& r : opt_rows()) {
      if (r.group != group || !on_the_wire(r)) continue;
      const std::string reason = reason_lines(rules, r.id, release);
      std::string line =
          fmt::format("  {:<33} {:<14} {}", option_text(r.id), cell(rules, r.id, release), reason);
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + '\n';
    }
  }
  return out;
}

Json rules_json(const DriverRules& rules, std::uint64_t release) {
  Json out{{"driver", rules.name}, {"title", rules.title}, {"about", rules.about}};
  out["migrates"] = rules.cannot.empty();
  if (!rules.cannot.empty()) out["cannot"] = rules.cannot;
  if (release != 0) out["release"] = version_text(release);
  out["protocols"] = rules.protocols;
  out["uri"] = {{"schemes", rules.uri.schemes}, {"form", rules.uri.note}};
  out["moves_stopped"] = rules.cannot.empty() && rules.inactive.empty();
  out["options"] = Json::array();
  for (const OptRow& r : opt_rows()) {
    if (!on_the_wire(r)) continue;
    Json o{{"option", option_text(r.id)}, {"name", name_of(r)}, {"since", version_text(r.since)}};
    if (const auto flag = flag_of(r.id)) o["value"] = FlagSet{*flag}.bits();
    o["running"] = ruling_json(ruling(rules, r.id, true, release));
    o["stopped"] = ruling_json(ruling(rules, r.id, false, release));
    out["options"].push_back(std::move(o));
  }
  return out;
}

std::string option_rules_text(Opt option) {
  const OptRow& r = row(option);
  std::string out = fmt::format("--{}{}{}: {}\n", r.three_valued ? "[no-]" : "", r.option,
                                r.metavar.empty() ? "" : fmt::format(" {}", r.metavar), r.help);
  if (!r.name.empty())
    out += fmt::format("{}, since libvirt {}", name_of(r), version_text(r.since));
  if (const auto flag = flag_of(option)) out += fmt::format(", {:#x}", FlagSet{*flag}.bits());
  out += r.name.empty() ? "done by vmferry itself\n" : "\n";
  bool first = true;
  for (const Relation& rel : relations()) {
    if (!concerns(rel, option)) continue;
    if (first) out += "\nwith any driver it\n";
    first = false;
    out += fmt::format("  {}\n", relation_text(rel, option));
  }
  if (!on_the_wire(r)) return out;
  out += "\ndrivers (running/stopped guest):\n";
  for (const DriverRules* rules : all_rules()) {
    std::string line = fmt::format("  {:<8} {:<14} {}", rules->name, cell(*rules, option, 0),
                                   reason_lines(*rules, option, 0));
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

Json option_rules_json(Opt option) {
  const OptRow& r = row(option);
  Json out{{"option", option_text(option)}, {"help", r.help}, {"three_valued", r.three_valued}};
  if (!r.name.empty()) out["name"] = name_of(r);
  if (r.since != 0) out["since"] = version_text(r.since);
  if (const auto flag = flag_of(option)) out["value"] = FlagSet{*flag}.bits();
  out["relations"] = Json::array();
  for (const Relation& rel : relations()) {
    if (!concerns(rel, option)) continue;
    Json o{{"text", relation_text(rel, option)}};
    if (rel.code != 0) o["libvirt_code"] = rel.code;
    out["relations"].push_back(std::move(o));
  }
  if (!on_the_wire(r)) return out;
  for (const DriverRules* rules : all_rules())
    out["drivers"][std::string(rules->name)] = {
        {"running", ruling_json(ruling(*rules, option, true, 0))},
        {"stopped", ruling_json(ruling(*rules, option, false, 0))}};
  return out;
}

}  // namespace vmferry

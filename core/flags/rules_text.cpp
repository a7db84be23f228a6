#include "core/flags/rules_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"

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
      return "(yes)";
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

namespace {

constexpr std::size_t kNameWidth = 33;  // of --copy-storage-synchronous-writes, with its dashes
constexpr std::size_t kCellWidth = 13;  // "always/(yes)", and a space

void end_line(std::string& text) {
  text.erase(text.find_last_not_of(' ') + 1);
  text += '\n';
}

/// "label:   text", the text wrapped under itself.
std::string labelled(std::string_view label, std::string_view text, std::size_t columns) {
  static constexpr std::size_t at = 15;
  return fmt::format("{:<15}{}\n", fmt::format("{}:", label), wrap(text, columns - at, at));
}

/// An option's line in a driver's table: the reason beside it where there is room, else below.
std::string option_line(std::string_view option, std::string_view cell, std::string_view reason,
                        std::size_t columns) {
  const std::size_t at = 2 + kNameWidth + 1 + kCellWidth;
  std::string out = fmt::format("  {:<33} {:<13}", option, cell);
  if (columns >= at + 40) {
    out += wrap(reason, columns - at, at);
  } else if (!reason.empty()) {
    end_line(out);
    out += fmt::format("      {}", wrap(reason, columns - 6, 6));
  }
  end_line(out);
  return out;
}

}  // namespace

std::string rules_overview(std::size_t columns) {
  std::string out = fmt::format("{:<34}", "option");
  std::vector<const DriverRules*> shown;
  const auto cell = [](const DriverRules& r, std::string_view text) {
    return fmt::format("{:<{}}", text, std::max<std::size_t>(r.name.size(), 6) + 1);
  };
  for (const DriverRules* r : all_rules()) {
    if (!r->cannot.empty() || r->name == "test") continue;
    shown.push_back(r);
    out += cell(*r, r->name);
  }
  end_line(out);
  for (const OptRow& r : opt_rows()) {
    if (!is_flag(r.id)) continue;
    out += fmt::format("{:<34}", option_text(r.id));
    for (const DriverRules* rules : shown) out += cell(*rules, word(ruling(*rules, r.id, true, 0)));
    end_line(out);
  }
  const std::string legend =
      "Of a running guest. yes: as you like; must: demanded, and filled in unless --strict; "
      "always: "
      "done anyway; (yes): accepted, and changes nothing for the guest; -: refused. `vmferry rules "
      "DRIVER` tells of "
      "stopped guests, parameters and reasons; `vmferry rules --explain OPTION` of one option.";
  out += "\n" + wrap(legend, columns, 0) + "\n";
  std::string names = "Drivers:";
  for (const DriverRules* r : all_rules()) names += fmt::format(" {}", r->name);
  return out + wrap(names, columns, 9) + "\n";
}

std::string rules_text(const DriverRules& rules, std::uint64_t release, std::size_t columns) {
  std::string out = wrap(fmt::format("{}: {}", rules.name, rules.title), columns, 2) + "\n\n" +
                    wrap(rules.about, columns, 0) + "\n\n";
  const auto line = [&](std::string_view label, std::string_view text) {
    if (!text.empty()) out += labelled(label, text, columns);
  };
  if (release != 0) line("release", fmt::format("libvirt {}", version_text(release)));
  if (!rules.cannot.empty()) {
    line("cannot migrate", rules.cannot);
    return out;
  }
  line("protocols", rules.protocols);
  line("migration URI", rules.uri.note);
  line("data ports", rules.default_ports);
  line("stopped guest", rules.inactive);
  line("paused guest", rules.paused);
  out += "\n" +
         wrap(
             "yes: as you like; must: demanded, and filled in unless --strict; always: done "
             "anyway; (yes): accepted, and changes nothing for the guest; -: refused. Two words: "
             "of a running and of "
             "a stopped guest.",
             columns, 0) +
         "\n";
  for (int g = 0; g < kOptGroups; ++g) {
    const auto group = static_cast<OptGroup>(g);
    out += fmt::format("\n{}:\n", title(group));
    for (const OptRow& r : opt_rows())
      if (r.group == group && on_the_wire(r))
        out += option_line(option_text(r.id), cell(rules, r.id, release),
                           reason_lines(rules, r.id, release), columns);
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

std::string option_rules_text(Opt option, std::size_t columns) {
  const OptRow& r = row(option);
  std::string out = fmt::format("--{}{}{}: {}\n", r.three_valued ? "[no-]" : "", r.option,
                                r.metavar.empty() ? "" : fmt::format(" {}", r.metavar), r.help);
  out = wrap(out.substr(0, out.size() - 1), columns, 2) + "\n";
  if (!r.name.empty())
    out += fmt::format("{}, since libvirt {}", name_of(r), version_text(r.since));
  if (const auto flag = flag_of(option)) out += fmt::format(", {:#x}", FlagSet{*flag}.bits());
  out += r.name.empty() ? "done by vmferry itself\n" : "\n";
  bool first = true;
  for (const Relation& rel : relations()) {
    if (!concerns(rel, option)) continue;
    if (first) out += "\nWith any driver it\n";
    first = false;
    out += fmt::format("  {}\n", wrap(relation_text(rel, option), columns - 2, 4));
  }
  if (!on_the_wire(r)) return out;
  out += "\nDrivers (running/stopped guest):\n";
  static constexpr std::size_t at = 2 + 8 + 1 + kCellWidth;
  for (const DriverRules* rules : all_rules()) {
    out += fmt::format("  {:<8} {:<13}{}", rules->name, cell(*rules, option, 0),
                       wrap(reason_lines(*rules, option, 0), columns - at, at));
    end_line(out);
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

#include "cli/help.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/parse.hpp"
#include "core/base/text.hpp"

namespace vmferry::cli {

namespace {

constexpr ExitRow kExits[] = {
    {Exit::done, "done"},
    {Exit::failed, "failed; the guest is safe where it was, or died (migrate.lost says so)"},
    {Exit::usage, "the command line is wrong, nothing was contacted"},
    {Exit::refused, "refused: rules, facts or policy forbid it, nothing was changed"},
    {Exit::connect, "could not connect or authenticate"},
    {Exit::cancelled, "cancelled or timed out; the guest is safe where it was"},
    {Exit::partly, "moved, but something after the switch failed"},
    {Exit::unknown, "unknown: both ends must be looked at"},
    {Exit::not_found, "no such domain, host object or file"},
    {Exit::internal, "internal error: a bug"},
};

// "  left    right", the right part wrapped; a long left part gets its own line.
std::string entry_line(std::string_view left, std::string_view right, std::size_t at,
                       std::size_t columns) {
  std::string out = fmt::format("  {}", left);
  if (out.size() + 2 > at)
    out += "\n" + std::string(at, ' ');
  else
    out += std::string(at - out.size(), ' ');
  return out + wrap(right, columns - at, at) + "\n";
}

std::string option_lines(std::span<const Option* const> options, std::size_t columns) {
  std::string out;
  std::string_view group;
  for (const Option* o : options) {
    if (o->hidden) continue;
    if (o->group != group) out += fmt::format("\n {}:\n", o->group);
    group = o->group;
    std::string help(o->help);
    if (!o->choices.empty()) help += fmt::format(" ({})", o->choices);
    out += entry_line(spelling(*o), help, 30, columns);
  }
  return out;
}

std::string paragraphs(std::string_view text, std::size_t columns) {
  std::string out;
  while (!text.empty()) {
    const auto end = text.find("\n\n");
    out += "\n" + wrap(text.substr(0, end), columns, 0) + "\n";
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 2);
  }
  return out;
}

}  // namespace

std::span<const ExitRow> exit_rows() { return kExits; }

std::string spelling(const Option& o) {
  std::string out = o.letter == 0 ? "" : fmt::format("-{}, ", o.letter);
  out += fmt::format("--{}{}", o.three_valued ? "[no-]" : "", o.name);
  if (!o.metavar.empty()) out += fmt::format(" {}", o.metavar);
  return out;
}

std::string synopsis(const Command& c) {
  std::string out(c.name);
  if (!all_options(c).empty()) out += " [OPTION]...";
  for (const Option& p : c.positionals)
    out += fmt::format("{}{}{}{}", p.required ? " " : " [", p.metavar, p.required ? "" : "]",
                       p.repeatable ? "..." : "");
  return out;
}

std::string command_help(const Command& c, std::size_t columns) {
  std::string out = wrap(fmt::format("Usage: vmferry {}", synopsis(c)), columns, 7) + "\n";
  out += paragraphs(c.description, columns);
  std::vector<const Option*> positionals;
  if (!c.positionals.empty()) {
    out += "\nArguments:\n";
    for (const Option& p : c.positionals) out += entry_line(p.metavar, p.help, 18, columns);
  }
  std::vector<const Option*> options;  // those without a heading come first
  for (const Option* o : all_options(c))
    if (!o->hidden && o->group.empty()) options.push_back(o);
  for (const Option* o : all_options(c))
    if (!o->hidden && !o->group.empty()) options.push_back(o);
  if (!options.empty()) {
    const bool three =
        std::ranges::any_of(options, [](const Option* o) { return o->three_valued; });
    if (options.front()->group.empty()) out += "\nOptions:\n";
    out += option_lines(options, columns);
    if (three)
      out += "\n" +
             wrap(
                 "--[no-]x: --x asks for it, --no-x against it; neither leaves it to the "
                 "driver's own way.",
                 columns, 0) +
             "\n";
  }
  out += "\n`vmferry help` shows the options that every command takes.\n";
  return out;
}

std::string overview(std::size_t columns) {
  std::string out =
      "Usage: vmferry [-c URI] COMMAND [ARGUMENT]...\n\n"
      "Moves virtual machines between hosts.\n";
  std::vector<std::string_view> groups;
  for (const Command* c : commands())
    if (!c->hidden && std::ranges::find(groups, c->group) == groups.end())
      groups.push_back(c->group);
  for (const std::string_view group : groups) {
    out += fmt::format("\n{}:\n", group);
    for (const Command* c : commands())
      if (!c->hidden && c->group == group) out += entry_line(c->name, c->summary, 26, columns);
  }
  out += "\nOptions of every command:\n";
  std::vector<const Option*> globals;
  for (const Option& o : global_options()) globals.push_back(&o);
  out += option_lines(globals, columns);
  out += "\nExit status:\n";
  for (const ExitRow& row : exit_rows())
    out += entry_line(fmt::format("{}", static_cast<int>(row.exit)), row.meaning, 6, columns);
  out += "\n`vmferry help COMMAND` explains a command.\n";
  return out;
}

}  // namespace vmferry::cli

#include "cli/docs.hpp"

#include <fmt/format.h>

#include "cli/help.hpp"
#include "cli/parse.hpp"
#include "cli/spec.hpp"
#include "core/base/text.hpp"

namespace vmferry::cli {

namespace {

constexpr std::string_view kDate = "2026-11-29";

// Text as roff prints it: nothing in it is markup.
std::string roff(std::string_view text) {
  std::string out;
  if (text.starts_with('.') || text.starts_with('\'')) out = "\\&";
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c == '`')
      out += "\\(ga";
    else if (c == '^')
      out += "\\(ha";
    else if (c == '~')
      out += "\\(ti";
    else
      out += c;
  }
  return out;
}

std::string upper(std::string_view text) {
  std::string out;
  for (const char c : text)
    out += c >= 'a' && c <= 'z' ? std::string(1, static_cast<char>(c - 32))
           : c == '-'           ? std::string("\\-")
                                : std::string(1, c);
  return out;
}

std::string utf8_free(std::string_view text) {
  std::string out(text);
  const auto replace = [&](std::string_view from, std::string_view to) {
    for (auto at = out.find(from); at != std::string::npos; at = out.find(from, at))
      out.replace(at, from.size(), to);
  };
  replace("…", "...");
  return out;
}

// Running text: lines of at most 78 bytes, none of which looks like a request.
std::string prose(std::string_view text) {
  std::string out;
  const std::string wrapped = wrap(roff(utf8_free(trimmed(text))), 78, 0);
  for (const std::string_view line : split(wrapped, '\n')) {
    if (!out.empty()) out += "\n";
    if (line.starts_with('.') || line.starts_with('\'')) out += "\\&";
    out += line;
  }
  return out;
}

std::string tagged(std::string_view tag, std::string_view text) {
  return fmt::format(".TP\n.B {}\n{}\n", roff(tag), prose(text));
}

std::string option_entry(const Option& o) {
  std::string text = fmt::format("{}.", o.help);
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 32);
  if (!o.choices.empty()) text += fmt::format(" One of {}.", o.choices);
  if (o.repeatable) text += " May be given more than once.";
  return tagged(spelling(o), text);
}

std::string paragraphs(std::string_view text) {
  std::string out;
  for (bool first = true; !text.empty(); first = false) {
    const auto end = text.find("\n\n");
    if (!first) out += ".PP\n";
    out += prose(text.substr(0, end)) + "\n";
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 2);
  }
  return out;
}

std::string examples(std::string_view text) {
  std::string out;
  for (const std::string_view line : split(text, '\n')) {
    const auto hash = line.find(" # ");
    if (trimmed(line).empty()) continue;
    if (hash != std::string_view::npos) {
      std::string what(line.substr(hash + 3));
      what[0] = what[0] >= 'a' && what[0] <= 'z' ? static_cast<char>(what[0] - 32) : what[0];
      out += fmt::format(".PP\n{}:\n", prose(what));
    }
    out += fmt::format(".PP\n.RS 4\n.B {}\n.RE\n", roff(trimmed(line.substr(0, hash))));
  }
  return out;
}

bool from_table(const Command& c, const Option& o) {
  const auto table = c.more_options ? c.more_options() : std::span<const Option>();
  return !table.empty() && &o >= &table.front() && &o <= &table.back();
}

// Two commands that take the same table: the first has it on its page, the other refers to it.
const Command* table_owner(const Command& c) {
  for (const Command* other : commands())
    if (c.more_options && other->more_options == c.more_options) return other;
  return nullptr;
}

std::string options_of(const Command& c) {
  const Command* const owner = table_owner(c);
  const bool elsewhere = owner != nullptr && owner != &c;
  std::string out;
  std::string_view group;
  for (const Option* o : all_options(c)) {
    if (o->hidden || (elsewhere && from_table(c, *o))) continue;
    if (o->group != group) out += fmt::format(".PP\n.I {}:\n", roff(o->group));
    group = o->group;
    out += option_entry(*o);
  }
  if (elsewhere)
    out += fmt::format(".PP\nIt takes what\n.BR vmferry\\-{} (1)\ntakes.\n", roff(owner->name));
  return out;
}

std::string refusals_of(const Command& c) {
  std::string out;
  for (const Option* o : all_options(c))
    if (!o->refused.empty()) out += tagged(spelling(*o), fmt::format("Not taken: {}.", o->refused));
  return out.empty() ? out : ".PP\nOf virsh's options these are refused:\n" + out;
}

std::string arguments_of(const Command& c) {
  std::string out;
  for (const Option& p : c.positionals) out += tagged(p.metavar, fmt::format("{}.", p.help));
  return out;
}

std::string command_section(const Command& c) {
  std::string out = fmt::format(".SS {}\n.B vmferry {}\n.PP\n", roff(c.name), roff(synopsis(c)));
  if (c.page) {
    const std::string_view first = c.description.substr(0, c.description.find("\n\n"));
    return out + paragraphs(first) + fmt::format(".PP\nSee\n.BR {} (1).\n", roff(page_name(c)));
  }
  out += paragraphs(c.description) + arguments_of(c) + options_of(c) + refusals_of(c);
  if (!c.examples.empty()) out += examples(c.examples);
  return out;
}

constexpr std::string_view kDescription =
    "Moves virtual machines between hosts. It is what virsh migrate would be if it were written "
    "today by people who had to operate it: it says beforehand what it will do and why it might "
    "fail, it tells the truth about progress, and afterwards it knows where the guest runs.\n\n"
    "It speaks the remote protocol of libvirt itself, so every host with a libvirt daemon can be "
    "source or destination. Hosts with bare QEMU processes are served by vmferry at the other end "
    "of ssh; simulated hosts (test:///default) are there to learn with.\n\n"
    "Choices of a migration have three values: --x asks for it, --no-x against it, and what is "
    "not said is left to the driver's own way. vmferry plan shows what that comes to.";

struct Named {
  std::string_view name, text;
};
constexpr Named kEnvironment[] = {
    {"VMFERRY_URI", "The host to work on when --connect is not given."},
    {"VIRSH_DEFAULT_CONNECT_URI, LIBVIRT_DEFAULT_URI",
     "The same, for those who have set them for virsh already; looked at in this order."},
    {"NO_COLOR", "Set to anything: no colour."},
};
constexpr Named kFiles[] = {
    {"/etc/libvirt/libvirt.conf, ~/.config/libvirt/libvirt.conf",
     "uri_default and uri_aliases of libvirt's client configuration."},
    {"~/.ssh/known_hosts, /etc/ssh/ssh_known_hosts",
     "Hosts that are trusted over ssh. An unknown or changed key is refused."},
};

std::string named(std::span<const Named> entries) {
  std::string out;
  for (const Named& n : entries) out += tagged(n.name, n.text);
  return out;
}

std::string errors() {
  std::string out =
      prose(
          "Every failure names an id, which does not change between releases. vmferry explain "
          "ID prints what stands here.") +
      "\n";
  for (const ErrorEntry& e : error_entries()) {
    std::string text = fmt::format("Exit status {}: {}.", static_cast<int>(e.exit), e.summary);
    if (!e.causes.empty()) text += fmt::format(" {}", e.causes);
    if (!e.remedy.empty()) text += fmt::format(" {}", e.remedy);
    out += tagged(e.id, text);
  }
  return out;
}

}  // namespace

namespace {

std::string head(std::string_view name, std::string_view summary) {
  return fmt::format(
      ".\\\" Made by `vmferry docs man` from the tables of commands and errors; do not edit.\n"
      ".TH {} 1 {} \"vmferry {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
      upper(name), kDate, VMFERRY_VERSION, roff(name), roff(summary));
}

std::string main_page() {
  std::string out = head("vmferry", "move virtual machines between hosts");
  out += ".B vmferry\n[\\fB\\-c\\fR \\fIURI\\fR]\n.I COMMAND\n[\\fIARGUMENT\\fR]...\n";
  out += ".SH DESCRIPTION\n" + paragraphs(kDescription);
  out += ".SH OPTIONS\n" + prose("They may stand before or after the command.") + "\n";
  for (const Option& o : global_options()) out += option_entry(o);
  out += ".SH COMMANDS\n" +
         prose(
             "Positional arguments may be given by name as well, as in "
             "virsh: --domain DOMAIN.") +
         "\n";
  for (const Command* c : commands())
    if (!c->hidden) out += command_section(*c);
  out += ".SH EXIT STATUS\n";
  for (const ExitRow& row : exit_rows())
    out += tagged(fmt::format("{}", static_cast<int>(row.exit)), fmt::format("{}.", row.meaning));
  out += ".SH ENVIRONMENT\n" + named(kEnvironment);
  out += ".SH FILES\n" + named(kFiles);
  out += ".SH DIAGNOSTICS\n" + errors();
  out += ".SH SEE ALSO\n";
  for (const Command* c : commands())
    if (c->page) out += fmt::format(".BR {} (1),\n", roff(page_name(*c)));
  return out + ".BR virsh (1),\n.BR libvirtd (8),\n.BR ssh_config (5)\n";
}

// A section's text; a paragraph does not begin right under its heading.
std::string section(std::string_view title, std::string_view text) {
  if (text.empty()) return {};
  if (text.starts_with(".PP\n")) text.remove_prefix(4);
  return fmt::format(".SH {}\n{}", title, text);
}

std::string command_page(const Command& c) {
  std::string out = head(page_name(c), c.summary);
  out += fmt::format(".B vmferry\n[\\fB\\-c\\fR \\fIURI\\fR]\n.B {}\n", roff(synopsis(c)));
  out += section("DESCRIPTION", paragraphs(c.description));
  out += section("ARGUMENTS", arguments_of(c));
  out += section("OPTIONS", options_of(c) + refusals_of(c));
  out += section("EXAMPLES", examples(c.examples));
  return out + ".SH SEE ALSO\n" +
         prose("The options of every command, exit statuses and errors are in") +
         "\n.BR vmferry (1).\n";
}

}  // namespace

std::string page_name(const Command& command) { return fmt::format("vmferry-{}", command.name); }

std::vector<ManPage> man_pages() {
  std::vector<ManPage> out = {{"vmferry", main_page()}};
  for (const Command* c : commands())
    if (c->page) out.push_back({page_name(*c), command_page(*c)});
  return out;
}

}  // namespace vmferry::cli

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

std::string command_section(const Command& c) {
  std::string out = fmt::format(".SS {}\n.B vmferry {}\n.PP\n", roff(c.name), roff(synopsis(c)));
  out += paragraphs(c.description);
  for (const Option& p : c.positionals) out += tagged(p.metavar, fmt::format("{}.", p.help));
  std::string_view group;
  for (const Option* o : all_options(c)) {
    if (o->hidden) continue;
    if (o->group != group) out += fmt::format(".PP\n.I {}:\n", roff(o->group));
    group = o->group;
    out += option_entry(*o);
  }
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

std::string man_page() {
  std::string out = fmt::format(
      ".\\\" Made by `vmferry docs man` from the tables of commands and errors; do not edit.\n"
      ".TH VMFERRY 1 {} \"vmferry {}\" \"User Commands\"\n.SH NAME\n"
      "vmferry \\- move virtual machines between hosts\n.SH SYNOPSIS\n"
      ".B vmferry\n[\\fB\\-c\\fR \\fIURI\\fR]\n.I COMMAND\n[\\fIARGUMENT\\fR]...\n",
      kDate, VMFERRY_VERSION);
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
  out += ".SH SEE ALSO\n.BR virsh (1),\n.BR libvirtd (8),\n.BR ssh_config (5)\n";
  return out;
}

}  // namespace vmferry::cli

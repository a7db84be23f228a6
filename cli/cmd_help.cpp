// help: what the tables say, for people.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/docs.hpp"
#include "cli/help.hpp"
#include "cli/man_viewer.hpp"
#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/base/text.hpp"

namespace vmferry::cli {

namespace {

struct Options {
  std::string command;
  Result<> check() const {
    if (command.empty() || find_command(command)) return {};
    std::vector<std::string_view> names;
    for (const Command* c : commands())
      if (!c->hidden) names.push_back(c->name);
    const auto near = closest(command, names);
    return std::unexpected(
        Error(ErrorId::usage, fmt::format("there is no command '{}'{}", command,
                                          near ? fmt::format("; did you mean {}?", *near) : ""))
            .advise("`vmferry help` lists the commands."));
  }
};
constexpr Option kCommandName[] = {option<&Options::command>({.name = "command",
                                                              .metavar = "COMMAND",
                                                              .help = "the command to explain",
                                                              .complete = Complete::command})};

Json option_json(const Option& o) {
  Json json = {{"name", o.name}, {"help", o.help}};
  if (!o.metavar.empty()) json["value"] = o.metavar;
  if (o.three_valued) json["three_valued"] = true;
  if (!o.choices.empty()) json["choices"] = o.choices;
  if (!o.refused.empty()) json["refused"] = o.refused;
  return json;
}

Json command_json(const Command& c) {
  Json json = {{"name", c.name},
               {"group", c.group},
               {"summary", c.summary},
               {"arguments", Json::array()},
               {"options", Json::array()}};
  for (const Option& p : c.positionals) json["arguments"].push_back(option_json(p));
  for (const Option* o : all_options(c))
    if (!o->hidden || !o->refused.empty()) json["options"].push_back(option_json(*o));
  return json;
}

Task<Exit> help(Context& context, Options options) {
  if (!options.command.empty()) {
    const Command& c = *find_command(options.command);
    const bool person = context.terminal.in && context.terminal.out && !context.json();
    if (person && c.page && show_man_page(page_name(c))) co_return Exit::done;
    print_result(context, command_help(c, text_width(context)), command_json(c));
    co_return Exit::done;
  }
  Json json = Json::array();
  for (const Command* c : commands())
    if (!c->hidden) json.push_back(command_json(*c));
  print_result(context, overview(text_width(context)), json);
  co_return Exit::done;
}

}  // namespace

extern constexpr Command kHelp = command<Options, help>(
    {.name = "help",
     .group = "Help",
     .summary = "explain vmferry or one of its commands",
     .description = "Lists the commands, or explains one: on a terminal by its "
                    "manual page, if it has one and that is installed.",
     .positionals = kCommandName});
static_assert(well_formed(kHelp));

}  // namespace vmferry::cli

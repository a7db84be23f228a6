// The parser: a loop over the tables of spec.hpp. Three values (--x, --no-x, neither), virsh's
// positionals by name and its legacy optional positionals are plain rows to it.
#include "cli/parse.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/text.hpp"

namespace vmferry::cli {

namespace {

Result<> parse_format(std::string_view text, Format& out) {
  out = text == "json" ? Format::json : Format::text;
  return {};
}
Result<> store_format(void* globals, const Option&, std::string_view text) {
  return parse_format(text, static_cast<Globals*>(globals)->format);
}

constexpr Option kGlobals[] = {
    option<&Globals::connect>({.name = "connect",
                               .letter = 'c',
                               .metavar = "URI",
                               .help = "the host to work on, or an alias of libvirt.conf",
                               .complete = Complete::uri}),
    {.name = "output",
     .letter = 'o',
     .metavar = "FORMAT",
     .help = "text for people, or one JSON document",
     .choices = "text|json",
     .store = store_format},
    option<&Globals::quiet>(
        {.name = "quiet", .letter = 'q', .help = "results and errors only, no progress"}),
    option<&Globals::help>(
        {.name = "help", .letter = 'h', .help = "help on the program or command"}),
    option<&Globals::version>({.name = "version", .letter = 'V', .help = "the program's version"}),
};

bool is_choice(std::string_view choices, std::string_view text) {
  while (!choices.empty()) {
    const auto bar = choices.find('|');
    if (choices.substr(0, bar) == text) return true;
    if (bar == std::string_view::npos) break;
    choices.remove_prefix(bar + 1);
  }
  return false;
}

// State of one pass over the words.
class Parser {
 public:
  Parser(std::span<const std::string> words, Format& format) : words_(words), format_(format) {}
  Result<Parsed> run();

 private:
  Result<> word(std::string_view text);
  Result<> long_option(std::string_view text);
  Result<> short_options(std::string_view text);
  Result<> positional(std::string_view text);
  Result<> take(const Option& option, std::string_view text, bool by_name);
  Result<> next_value(const Option& option, std::optional<std::string_view> attached);
  Result<> set_command(std::string_view name);
  Result<> complete() const;
  const Option* find(std::string_view name) const;
  const Option* find(char letter) const;
  Error unknown(std::string_view written) const;
  bool given(const Option& option) const;

  std::span<const std::string> words_;
  std::size_t at_ = 0;
  bool only_positionals_ = false;
  Format& format_;
  Parsed parsed_;
  std::vector<const Option*> options_;      // of the command
  std::vector<const Option*> positionals_;  // and then the legacy ones
};

bool Parser::given(const Option& option) const {
  return std::ranges::any_of(parsed_.values, [&](const auto& v) { return v.first == &option; });
}

const Option* Parser::find(std::string_view name) const {
  for (const Option* o : options_)
    if (o->name == name) return o;
  for (const Option* o : positionals_)
    if (o->name == name) return o;
  for (const Option& o : kGlobals)
    if (o.name == name) return &o;
  return nullptr;
}

const Option* Parser::find(char letter) const {
  for (const Option* o : options_)
    if (o->letter == letter) return o;
  for (const Option& o : kGlobals)
    if (o.letter == letter) return &o;
  return nullptr;
}

Error Parser::unknown(std::string_view written) const {
  std::vector<std::string> spellings;
  const auto add = [&](const Option& o) {
    if (o.hidden) return;
    spellings.push_back(fmt::format("--{}", o.name));
    if (o.three_valued) spellings.push_back(fmt::format("--no-{}", o.name));
  };
  for (const Option* o : options_) add(*o);
  for (const Option& o : kGlobals) add(o);
  const std::vector<std::string_view> names(spellings.begin(), spellings.end());
  const auto near = closest(written, names);
  std::string message = parsed_.command
                            ? fmt::format("{} has no option {}", parsed_.command->name, written)
                            : fmt::format("there is no option {}", written);
  if (near) message += fmt::format("; did you mean {}?", *near);
  Error error(ErrorId::usage, message);
  if (parsed_.command)
    error.remedy = fmt::format("`vmferry help {}` shows its options.", parsed_.command->name);
  return error;
}

Result<> Parser::take(const Option& option, std::string_view text, bool by_name) {
  if (!option.refused.empty())
    return fail(ErrorId::usage, fmt::format("--{}: {}", option.name, option.refused));
  if (!option.choices.empty() && !is_choice(option.choices, text))
    return fail(ErrorId::usage,
                fmt::format("--{} is one of {}, not '{}'", option.name, option.choices, text));
  const bool global = &option >= std::begin(kGlobals) && &option < std::end(kGlobals);
  if (global) {
    const Result<> stored = option.store(&parsed_.globals, option, text);
    format_ = parsed_.globals.format;
    return stored;
  }
  if (given(option) && !option.repeatable) {
    if (!option.metavar.empty())
      return fail(ErrorId::usage,
                  fmt::format("{}{} is given twice", by_name ? "--" : "", option.name));
    for (const auto& [seen, value] : parsed_.values)
      if (seen == &option && value != text)
        return std::unexpected(
            Error(ErrorId::usage, fmt::format("--{0} and --no-{0} exclude each other", option.name))
                .advise("Leave one of them out."));
    return {};
  }
  parsed_.values.emplace_back(&option, text);
  return {};
}

Result<> Parser::next_value(const Option& option, std::optional<std::string_view> attached) {
  if (attached) return take(option, *attached, true);
  if (at_ == words_.size())
    return fail(ErrorId::usage, fmt::format("--{} needs a value: {}", option.name, option.metavar));
  return take(option, words_[at_++], true);
}

Result<> Parser::long_option(std::string_view text) {
  const auto equals = text.find('=');
  const std::string_view written = text.substr(0, equals);
  std::optional<std::string_view> value;
  if (equals != std::string_view::npos) value = text.substr(equals + 1);
  const std::string_view name = written.substr(2);

  if (const Option* o = find(name)) {
    if (!o->metavar.empty()) return next_value(*o, value);
    if (value) return fail(ErrorId::usage, fmt::format("{} takes no value", written));
    return take(*o, "yes", true);
  }
  if (name.starts_with("no-")) {
    const Option* o = find(name.substr(3));
    if (o && o->three_valued && !value) return take(*o, "no", true);
  }
  return std::unexpected(unknown(written));
}

Result<> Parser::short_options(std::string_view text) {
  for (std::size_t i = 1; i < text.size(); ++i) {
    const Option* o = find(text[i]);
    if (!o) return std::unexpected(unknown(fmt::format("-{}", text[i])));
    if (!o->metavar.empty()) {
      std::optional<std::string_view> rest;
      if (i + 1 < text.size()) rest = text.substr(i + 1);
      return next_value(*o, rest);
    }
    const Result<> taken = take(*o, "yes", true);
    if (!taken) return taken;
  }
  return {};
}

Result<> Parser::set_command(std::string_view name) {
  parsed_.command = find_command(name);
  if (!parsed_.command) {
    std::vector<std::string_view> names;
    for (const Command* c : commands())
      if (!c->hidden) names.push_back(c->name);
    const auto near = closest(name, names);
    std::string message = fmt::format("there is no command '{}'", name);
    if (near) message += fmt::format("; did you mean {}?", *near);
    return std::unexpected(
        Error(ErrorId::usage, message).advise("`vmferry help` lists the commands."));
  }
  options_ = all_options(*parsed_.command);
  for (const Option& p : parsed_.command->positionals) positionals_.push_back(&p);
  for (const std::string_view legacy : parsed_.command->legacy_positionals)
    for (const Option* o : options_)
      if (o->name == legacy) positionals_.push_back(o);
  return {};
}

Result<> Parser::positional(std::string_view text) {
  if (!parsed_.command) return set_command(text);
  for (const Option* p : positionals_)
    if (p->repeatable || !given(*p)) return take(*p, text, false);
  std::string message = fmt::format("{}: unexpected '{}'", parsed_.command->name, text);
  return std::unexpected(
      Error(ErrorId::usage, message)
          .advise(fmt::format("`vmferry help {}` shows its arguments.", parsed_.command->name)));
}

Result<> Parser::word(std::string_view text) {
  if (only_positionals_ || text.size() < 2 || text[0] != '-') return positional(text);
  if (text == "--") {
    only_positionals_ = true;
    return {};
  }
  return text[1] == '-' ? long_option(text) : short_options(text);
}

Result<> Parser::complete() const {
  if (parsed_.globals.help || parsed_.globals.version) return {};
  if (!parsed_.command)
    return std::unexpected(
        Error(ErrorId::usage,
              "a command is missing, as in `vmferry list` or `vmferry migrate DOMAIN HOST`")
            .advise("`vmferry help` lists the commands."));
  for (const Option& p : parsed_.command->positionals) {
    if (!p.required || given(p)) continue;
    std::string message = fmt::format("{} needs {}: {}", parsed_.command->name, p.metavar, p.help);
    return std::unexpected(
        Error(ErrorId::usage, message)
            .advise(fmt::format("`vmferry help {}` shows its arguments.", parsed_.command->name)));
  }
  return parsed_.command->check ? parsed_.command->check(parsed_.values) : Result<>();
}

Result<Parsed> Parser::run() {
  Result<> sound;
  while (sound && at_ < words_.size()) sound = word(words_[at_++]);
  if (sound) sound = complete();
  if (sound) return std::move(parsed_);
  Error error = std::move(sound).error();
  if (error.remedy.empty() && error.id == ErrorId::usage && parsed_.command)
    error.remedy = fmt::format("See `vmferry help {}`.", parsed_.command->name);
  return std::unexpected(std::move(error));
}

}  // namespace

std::span<const Option> global_options() { return kGlobals; }

Result<Parsed> parse(std::span<const std::string> words, Format& format) {
  return Parser(words, format).run();
}

}  // namespace vmferry::cli

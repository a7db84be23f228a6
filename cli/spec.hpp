#pragma once
// Commands and options are declared once, as constexpr data. The parser, the help, the man page and
// the shell completion are all loops over these tables.
//
//   struct Options { std::string domain; bool all = false; Choice live = Choice::unset; };
//   Task<Exit> run(Context& context, Options options);
//   constexpr Option kPositionals[] = {option<&Options::domain>(kDomain)};
//   constexpr Option kOptions[] = {option<&Options::all>({.name = "all", .help = "…"})};
//   extern constexpr Command kList = command<Options, run>({.name = "list", …});
//   static_assert(well_formed(kList));
//
// and one line in commands.def. `Options` may have `Result<> check() const` for rules between its
// members; it runs before anything is contacted.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/async/task.hpp"
#include "core/base/error.hpp"
#include "core/migrate/request.hpp"

namespace vmferry::cli {

struct Context;

/// What a shell may offer for a value.
enum class Complete : std::uint8_t {
  nothing,
  domain,
  active_domain,
  inactive_domain,
  destination,  ///< a host that ssh knows, or a connection URI
  uri,
  file,
  command,
  error_id,
  driver,
  flag,  ///< a migration flag
};

struct Option {
  /// Puts a value into the command's options struct. `text` is "yes" or "no" where none is taken.
  using Store = Result<> (*)(void* options, const Option& option, std::string_view text);

  std::string_view name = {};     ///< "live"; positionals use the same struct
  char letter = 0;                ///< 'l' for -l, or none
  std::string_view metavar = {};  ///< "URI"; empty: takes no value
  std::string_view help = {};     ///< one phrase, no full stop
  std::string_view group = {};    ///< heading within the command's help, or none
  std::string_view choices = {};  ///< "text|json": the only values there are
  Complete complete = Complete::nothing;
  bool required = false;      ///< positionals only
  bool repeatable = false;    ///< each occurrence adds a value; a positional takes all that follow
  bool three_valued = false;  ///< --x, --no-x, or neither
  bool hidden = false;        ///< accepted, not shown
  std::string_view refused = {};  ///< not empty: virsh has it, and why it is not taken here
  std::uint32_t row = 0;          ///< for stores that serve a whole table
  Store store = nullptr;
};

/// What was given, in the order given: an option and its text. Valid as long as the tables.
using Values = std::vector<std::pair<const Option*, std::string>>;

struct Command {
  std::string_view name = {};
  std::string_view group = {};        ///< heading in the list of commands
  std::string_view summary = {};      ///< one phrase, no full stop
  std::string_view description = {};  ///< paragraphs, separated by an empty line
  /// Lines "command line # what it does", for the man page; tests parse every one of them.
  std::string_view examples = {};
  std::span<const Option> positionals = {};
  std::span<const Option> options = {};
  /// More options, made once from another table (the migration flags), or null.
  std::span<const Option> (*more_options)() = nullptr;
  /// Options that virsh also takes without their name, in this order, after the positionals.
  std::span<const std::string_view> legacy_positionals = {};
  bool hidden = false;
  bool page = false;  ///< it has a manual page of its own
  /// It looks at Context::stop by itself. All others are cancelled when a stop is requested.
  bool handles_stop = false;
  /// Everything that can be said of the values without contacting anyone.
  Result<> (*check)(const Values& values) = nullptr;
  /// Runs it. Failures are thrown; main prints them.
  Task<Exit> (*run)(Context& context, Values values) = nullptr;
};

// -- from text to values ------------------------------------------------------------------------

Result<> parse_value(std::string_view text, bool& out);
Result<> parse_value(std::string_view text, Choice& out);
Result<> parse_value(std::string_view text, std::string& out);
Result<> parse_value(std::string_view text, std::uint32_t& out);
Result<> parse_value(std::string_view text, std::uint64_t& out);
Result<> parse_value(std::string_view text, std::int64_t& out);
template <class T>
Result<> parse_value(std::string_view text, std::optional<T>& out) {
  return parse_value(text, out.emplace());
}
template <class T>
Result<> parse_value(std::string_view text, std::vector<T>& out) {
  return parse_value(text, out.emplace_back());
}

namespace detail {
template <class>
struct Member;
template <class O, class T>
struct Member<T O::*> {
  using Owner = O;
  using Type = T;
};
template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;

/// The refusal of a value, naming the option.
Error bad_value(const Option& option, const Error& why);

template <class Options>
Result<Options> read_options(const Values& values) {
  Options options;
  for (const auto& [option, text] : values) {
    const Result<> stored = option->store(&options, *option, text);
    if (!stored) return std::unexpected(bad_value(*option, stored.error()));
  }
  if constexpr (requires { options.check(); }) {
    const Result<> sound = options.check();
    if (!sound) return std::unexpected(sound.error());
  }
  return options;
}

template <class Options, auto Run>
Task<Exit> run_command(Context& context, Values values) {
  Options options = value_or_throw(read_options<Options>(values));
  Task<Exit> task = Run(context, std::move(options));
  const Exit exit = co_await std::move(task);
  co_return exit;
}
}  // namespace detail

/// Ties a member of an options struct to an option's spelling and help.
template <auto MemberPointer>
consteval Option option(Option o) {
  using M = detail::Member<decltype(MemberPointer)>;
  o.store = [](void* options, const Option&, std::string_view text) {
    return parse_value(text, static_cast<typename M::Owner*>(options)->*MemberPointer);
  };
  if (std::is_same_v<typename M::Type, Choice>) o.three_valued = true;
  if (detail::kIsVector<typename M::Type>) o.repeatable = true;
  return o;
}

/// An option of virsh's that is refused, with a clause that says why.
consteval Option refused(std::string_view name, std::string_view metavar, std::string_view why) {
  Option o;
  o.name = name;
  o.metavar = metavar;
  o.help = why;
  o.refused = why;
  o.hidden = true;
  o.store = [](void*, const Option& option, std::string_view) -> Result<> {
    return fail(ErrorId::usage, std::string(option.refused));
  };
  return o;
}

/// Ties a command to its options struct and its function: Task<Exit> run(Context&, Options).
template <class Options, auto Run>
consteval Command command(Command c) {
  c.check = [](const Values& values) -> Result<> {
    Result<Options> options = detail::read_options<Options>(values);
    if (!options) return std::unexpected(std::move(options).error());
    return {};
  };
  c.run = detail::run_command<Options, Run>;
  return c;
}

/// Checked while compiling, in the file of each command: everything documented, names unique.
consteval bool well_formed(const Command& c) {
  if (c.name.empty() || c.group.empty() || c.summary.empty() || c.summary.ends_with('.'))
    return false;
  for (std::size_t a = 0; a < c.options.size(); ++a) {
    if (c.options[a].help.empty() || c.options[a].help.ends_with('.')) return false;
    for (std::size_t b = 0; b < a; ++b) {
      if (c.options[a].name == c.options[b].name) return false;
      if (c.options[a].letter != 0 && c.options[a].letter == c.options[b].letter) return false;
    }
  }
  bool optional = false;
  for (const Option& p : c.positionals) {
    if (p.help.empty() || p.metavar.empty() || (optional && p.required)) return false;
    optional = optional || !p.required;
  }
  return true;
}

// -- the tables ---------------------------------------------------------------------------------

std::span<const Command* const> commands();  ///< every command, in the order of the help
const Command* find_command(std::string_view name);
/// Own options of the command, then those from another table.
std::vector<const Option*> all_options(const Command& command);

/// What most commands begin with; give it to option<&Options::domain>().
inline constexpr Option kDomain = {.name = "domain",
                                   .metavar = "DOMAIN",
                                   .help = "name, id or UUID of the domain",
                                   .complete = Complete::domain,
                                   .required = true};
inline constexpr Option kActiveDomain = {.name = "domain",
                                         .metavar = "DOMAIN",
                                         .help = "name, id or UUID of a running domain",
                                         .complete = Complete::active_domain,
                                         .required = true};

}  // namespace vmferry::cli

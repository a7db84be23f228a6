// What the ids of errors mean: explain.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/help.hpp"
#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/base/text.hpp"
#include "core/explain/diagnose.hpp"

namespace vmferry::cli {

namespace {

struct Options {
  std::string id;
  bool list = false;
  Result<> check() const;
};

Result<> Options::check() const {
  if (list && !id.empty()) return fail(ErrorId::usage, "--list and an ID exclude each other");
  if (list || (!id.empty() && find_error(id) != nullptr)) return {};
  if (id.empty()) return fail(ErrorId::usage, "give an error's ID, or --list");
  std::vector<std::string_view> ids;
  for (const ErrorEntry& e : error_entries()) ids.push_back(e.id);
  const auto near = closest(id, ids);
  Error error(ErrorId::usage, fmt::format("there is no error '{}'{}", id,
                                          near ? fmt::format("; did you mean {}?", *near) : ""));
  error.remedy = "`vmferry explain --list` shows them all.";
  return std::unexpected(std::move(error));
}

Json entry_json(const ErrorEntry& e) {
  return {{"id", e.id},
          {"exit", static_cast<int>(e.exit)},
          {"summary", e.summary},
          {"causes", e.causes},
          {"remedy", e.remedy}};
}

std::string_view meaning(Exit exit) {
  for (const ExitRow& row : exit_rows())
    if (row.exit == exit) return row.meaning;
  return "";
}

std::string entry_text(const ErrorEntry& e, std::size_t columns) {
  std::string out = fmt::format("{}: {}\n", e.id, e.summary);
  const auto add = [&](std::string_view label, std::string_view text) {
    if (!text.empty()) out += fmt::format("\n{}\n  {}\n", label, wrap(text, columns - 2, 2));
  };
  add("Causes", e.causes);
  add("What to do", e.remedy);
  add("Exit status", fmt::format("{}: {}", static_cast<int>(e.exit), meaning(e.exit)));
  return out;
}

Task<Exit> explain(Context& context, Options options) {
  if (!options.list) {
    const ErrorEntry& e = *find_error(options.id);
    print_result(context, entry_text(e, text_width(context)), entry_json(e));
    co_return Exit::done;
  }
  std::string text;
  Json all = Json::array();
  for (const ErrorEntry& e : error_entries()) {
    text += fmt::format("{:<20} {} {}\n", e.id, static_cast<int>(e.exit),
                        wrap(e.summary, text_width(context) - 23, 23));
    all.push_back(entry_json(e));
  }
  print_result(context, text, all);
  co_return Exit::done;
}

constexpr Option kPositionals[] = {
    option<&Options::id>({.name = "id",
                          .metavar = "ID",
                          .help = "an error's id, as disk.unsafe",
                          .complete = Complete::error_id}),
};
constexpr Option kOptions[] = {
    option<&Options::list>({.name = "list", .help = "every id with its exit status and summary"}),
};

}  // namespace

extern constexpr Command kExplain = command<Options, explain>(
    {.name = "explain",
     .group = "Help",
     .summary = "explain an error by its id",
     .description = "Every error has a stable id, printed with it. Prints what it means, what "
                    "causes it and what to do.",
     .examples = "vmferry explain disk.unsafe  # why a disk keeps a guest from moving\n"
                 "vmferry explain --list  # all of them\n",
     .positionals = kPositionals,
     .options = kOptions});
static_assert(well_formed(kExplain));

}  // namespace vmferry::cli

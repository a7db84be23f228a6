// docs: what is made from the tables for packages.
#include "cli/context.hpp"
#include "cli/docs.hpp"
#include "cli/spec.hpp"

namespace vmferry::cli {

namespace {

struct Options {
  std::string what, page = "vmferry";
};
constexpr Option kWhat[] = {
    option<&Options::what>({.name = "what",
                            .metavar = "WHAT",
                            .help = "man: a manual page",
                            .choices = "man",
                            .required = true}),
    option<&Options::page>(
        {.name = "page", .metavar = "PAGE", .help = "vmferry, vmferry-migrate, …"})};

Task<Exit> docs(Context& context, Options o) {
  for (const ManPage& page : man_pages()) {
    if (page.name != o.page) continue;
    context.sink.out(page.text);
    co_return Exit::done;
  }
  throw Error(ErrorId::usage, "there is no manual page '" + o.page + "'");
}

}  // namespace

extern constexpr Command kDocs =
    command<Options, docs>({.name = "docs",
                            .group = "Help",
                            .summary = "print documentation made from the tables",
                            .description = "Prints a manual page.",
                            .positionals = kWhat,
                            .hidden = true});
static_assert(well_formed(kDocs));

}  // namespace vmferry::cli

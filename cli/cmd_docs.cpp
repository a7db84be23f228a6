// docs: what is made from the tables for packages.
#include "cli/context.hpp"
#include "cli/docs.hpp"
#include "cli/spec.hpp"

namespace vmferry::cli {

namespace {

struct Options {
  std::string what;
};
constexpr Option kWhat[] = {option<&Options::what>({.name = "what",
                                                    .metavar = "WHAT",
                                                    .help = "man: the manual page",
                                                    .choices = "man",
                                                    .required = true})};

Task<Exit> docs(Context& context, Options) {
  context.sink.out(man_page());
  co_return Exit::done;
}

}  // namespace

extern constexpr Command kDocs =
    command<Options, docs>({.name = "docs",
                            .group = "Help",
                            .summary = "print documentation made from the tables",
                            .description = "Prints the manual page.",
                            .positionals = kWhat,
                            .hidden = true});
static_assert(well_formed(kDocs));

}  // namespace vmferry::cli

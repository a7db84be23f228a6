#include "cli/docs.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "cli/help.hpp"
#include "cli/parse.hpp"
#include "core/base/text.hpp"

using namespace vmferry;
using namespace vmferry::cli;

TEST_CASE("the manual pages are what the tables say") {
  for (const ManPage& page : man_pages()) {
    CAPTURE(page.name);
    const std::string path = VMFERRY_TESTS_DIR "/../man/" + page.name + ".1";
    if (std::getenv("VMFERRY_RECORD")) std::ofstream(path) << page.text;
    std::ifstream in(path);
    const std::string committed{std::istreambuf_iterator<char>(in), {}};
    const bool same = committed == page.text;
    CHECK_MESSAGE(same,
                  "record them anew: VMFERRY_RECORD=1 build/dev/tests/unit_tests -tc='the man*'");
  }
}

TEST_CASE("the manual pages name every command, option, error and exit status") {
  std::string all;
  for (const ManPage& page : man_pages()) all += page.text;
  std::erase(all, '\\');
  CHECK(all.contains(".SS migrate\n"));
  CHECK(all.contains("--[no-]live"));
  CHECK(all.contains("Not taken: vmferry has no console"));
  for (const ErrorEntry& e : error_entries()) CHECK(all.contains(e.id));
  for (const Command* c : commands()) {
    if (c->hidden) continue;
    CHECK(all.contains(std::string(c->name)));
    for (const Option* o : all_options(*c))
      if (!o->hidden) CHECK(all.contains(spelling(*o)));
  }
}

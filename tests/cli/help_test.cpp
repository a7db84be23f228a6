#include "cli/help.hpp"

#include <doctest/doctest.h>

#include <sstream>

#include "core/base/text.hpp"
#include "core/flags/rules_text.hpp"

using namespace vmferry;
using namespace vmferry::cli;

static std::size_t longest_line(const std::string& text) {
  std::istringstream in(text);
  std::size_t most = 0;
  for (std::string line; std::getline(in, line);) most = std::max(most, line.size());
  return most;
}

TEST_CASE("help: fits 80 columns and names every option") {
  CHECK(longest_line(overview()) <= 80);
  for (const Command* c : commands()) {
    INFO(c->name);
    const std::string text = command_help(*c);
    CHECK(longest_line(text) <= 80);
    for (const Option* o : all_options(*c))
      if (!o->hidden) CHECK(text.contains(spelling(*o)));
    if (!c->hidden) CHECK(overview().contains(c->name));
  }
}

TEST_CASE("help: three values are shown compactly") {
  const std::string text = command_help(*find_command("migrate"));
  CHECK(text.contains("--[no-]live"));
  CHECK(text.contains("neither leaves it"));
}

TEST_CASE("help: a wide terminal's width is used, a narrow one kept to") {
  const Command& migrate = *find_command("migrate");
  CHECK(longest_line(command_help(migrate, 132)) > 100);
  CHECK(longest_line(command_help(migrate, 132)) <= 132);
  CHECK(longest_line(overview(60)) <= 60);
}

TEST_CASE("help: rules fit 80 columns, and use more where there is more") {
  CHECK(longest_line(rules_overview()) <= 80);
  for (const DriverRules* rules : all_rules()) {
    CAPTURE(rules->name);
    CHECK(longest_line(rules_text(*rules, libvirt_version(9, 0, 0))) <= 80);
    CHECK(longest_line(rules_text(*rules, 0, 120)) <= 120);
  }
  for (const OptRow& r : opt_rows()) CHECK(longest_line(option_rules_text(r.id)) <= 80);
  CHECK(longest_line(rules_text(*find_rules("vz"), 0, 120)) > 100);
}

TEST_CASE("wrap") {
  CHECK(wrap("aa bb cc", 5, 2) == "aa bb\n  cc");
  CHECK(wrap("abcdefgh", 3, 1) == "abcdefgh");
  CHECK(wrap("", 3, 1).empty());
}

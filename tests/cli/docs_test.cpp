#include "cli/docs.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "cli/parse.hpp"
#include "core/base/text.hpp"

using namespace vmferry;
using namespace vmferry::cli;

TEST_CASE("the manual page is what the tables say") {
  const std::string path = VMFERRY_TESTS_DIR "/../man/vmferry.1";
  if (std::getenv("VMFERRY_RECORD")) std::ofstream(path) << man_page();
  std::ifstream in(path);
  const std::string committed{std::istreambuf_iterator<char>(in), {}};
  const bool same = committed == man_page();
  CHECK_MESSAGE(same, "record it anew: vmferry docs man > man/vmferry.1, or VMFERRY_RECORD=1");
}

TEST_CASE("the manual page names every command, option, error and exit status") {
  std::string page = man_page();
  std::erase(page, '\\');
  CHECK(page.contains(".SS migrate\n"));
  CHECK(page.contains("--[no-]live"));
  for (const ErrorEntry& e : error_entries()) CHECK(page.contains(e.id));
}

TEST_CASE("every example of the manual parses") {
  for (const Command* c : commands())
    for (const std::string_view line : split(c->examples, '\n')) {
      const std::string_view command = trimmed(line.substr(0, line.find(" # ")));
      if (command.empty()) continue;
      INFO(command);
      std::vector<std::string> words;
      for (const std::string_view word : split(command, ' ')) words.emplace_back(word);
      CHECK(words.front() == "vmferry");
      words.erase(words.begin());
      Format format = Format::text;
      const auto parsed = parse(words, format);
      if (!parsed) INFO(parsed.error().message);
      CHECK(parsed.has_value());
    }
}

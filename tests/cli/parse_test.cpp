#include "cli/parse.hpp"

#include <doctest/doctest.h>

using namespace vmferry;
using namespace vmferry::cli;

static Result<Parsed> parsed(std::vector<std::string> words) {
  Format format = Format::text;
  return parse(words, format);
}
static std::string refusal(std::vector<std::string> words) {
  const auto p = parsed(std::move(words));
  REQUIRE_FALSE(p);
  CHECK(p.error().id == ErrorId::usage);
  return p.error().message;
}
static std::string value(const Parsed& p, std::string_view name) {
  for (const auto& [option, text] : p.values)
    if (option->name == name) return text;
  return "(unset)";
}

TEST_CASE("parse: spellings of options and positionals") {
  const std::vector<std::vector<std::string>> same = {
      {"-c", "test:///x", "domstate", "web1", "--reason"},
      {"-ctest:///x", "domstate", "--reason", "--domain", "web1"},
      {"domstate", "--domain=web1", "--reason", "--connect=test:///x"},
      {"domstate", "--reason", "-c", "test:///x", "--", "web1"},
  };
  for (const auto& words : same) {
    const auto p = parsed(words);
    REQUIRE(p);
    CHECK(p->command->name == "domstate");
    CHECK(p->globals.connect == "test:///x");
    CHECK(value(*p, "domain") == "web1");
    CHECK(value(*p, "reason") == "yes");
  }
}

TEST_CASE("parse: three values, and virsh's legacy positionals") {
  const auto p = parsed({"migrate", "web1", "qemu+ssh://b/system", "tcp://b", "--no-compressed"});
  REQUIRE(p);
  CHECK(value(*p, "compressed") == "no");
  CHECK(value(*p, "live") == "(unset)");
  CHECK(value(*p, "migrateuri") == "tcp://b");
  CHECK(refusal({"migrate", "a", "b", "--live", "--no-live"}).contains("exclude each other"));
  CHECK(refusal({"list", "--no-all"}).contains("no option --no-all"));
}

TEST_CASE("parse: what is refused, and what is suggested") {
  CHECK(refusal({}).contains("a command is missing"));
  CHECK(refusal({"lits"}).contains("did you mean list?"));
  CHECK(refusal({"list", "--inactiv"}).contains("did you mean --inactive?"));
  CHECK(refusal({"list", "--all=yes"}).contains("takes no value"));
  CHECK(refusal({"list", "web1"}).contains("unexpected 'web1'"));
  CHECK(refusal({"list", "-x"}).contains("-x"));
  CHECK(refusal({"domstate"}).contains("needs DOMAIN"));
  CHECK(refusal({"domstate", "a", "--domain", "b"}).contains("given twice"));
  CHECK(refusal({"list", "--output", "xml"}).contains("text|json"));
  CHECK(refusal({"list", "--output"}).contains("needs a value"));
  CHECK(refusal({"migrate-setmaxdowntime", "a", "0"}).contains("at least 1"));
  CHECK(refusal({"migrate-setmaxdowntime", "a", "12x"}).contains("not a number"));
  CHECK(refusal({"migrate-setspeed", "a", "99999999999999999999"}).contains("out of range"));
}

TEST_CASE("parse: a refusal is printed in the format that was asked for") {
  Format format = Format::text;
  const std::vector<std::string> words = {"list", "-o", "json", "--nonsense"};
  CHECK_FALSE(parse(words, format));
  CHECK(format == Format::json);
}

TEST_CASE("commands: every one is documented, checks its options, and names are unique") {
  for (const Command* c : commands()) {
    INFO(c->name);
    CHECK_FALSE(c->description.empty());
    CHECK((c->check != nullptr));
    CHECK((c->run != nullptr));
    CHECK(find_command(c->name) == c);
    const auto options = all_options(*c);
    for (const Option* o : options) {
      INFO(o->name);
      CHECK((o->store != nullptr));
      CHECK_FALSE(o->help.empty());
      for (const Option* other : options) CHECK((o == other || o->name != other->name));
    }
  }
}

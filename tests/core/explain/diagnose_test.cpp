#include "core/explain/diagnose.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

using namespace vmferry;

TEST_CASE("explain: the corpus of real messages") {
  std::ifstream corpus(VMFERRY_TESTS_DIR "/corpus/messages.txt");
  REQUIRE(corpus.is_open());
  int count = 0;
  for (std::string line; std::getline(corpus, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    std::istringstream in(line);
    WireCode wire;
    std::string expected, message;
    in >> wire.code >> wire.domain >> expected >> std::ws;
    std::getline(in, message);
    CAPTURE(message);
    const std::optional<ErrorId> found = recognise(wire, message);
    CHECK((found ? entry(*found).id : "-") == expected);
    ++count;
  }
  CHECK(count > 60);
}

TEST_CASE("explain: every error has a stable id, a summary, and where it helps a remedy") {
  std::set<std::string_view> seen;
  for (const ErrorEntry& e : error_entries()) {
    CAPTURE(e.id);
    CHECK(seen.insert(e.id).second);
    CHECK(e.id.contains('.'));
    CHECK_FALSE(e.summary.empty());
    CHECK_FALSE(e.summary.ends_with('.'));
    CHECK((e.causes.empty() || e.causes.ends_with('.')));
    CHECK((e.remedy.empty() || e.remedy.ends_with('.')));
    CHECK(find_error(e.id) == &e);
  }
  CHECK(find_error("no.such") == nullptr);
}

TEST_CASE("explain: every signature can be met") {
  for (const Signature& s : signatures()) {
    std::string text(s.words);
    for (char& c : text)
      if (c == '*') c = ' ';
    CAPTURE(text);
    CAPTURE(s.code);
    CHECK(recognise({s.code, s.domain}, text).has_value());
    CHECK((s.code != 0 || !s.words.empty()));
  }
}

TEST_CASE("explain: vague ids give way, outcomes stay") {
  Error e(ErrorId::remote, "Unsafe migration: Migration without shared storage is unsafe");
  e.wire = {81, 10};
  e.at(Side::source).in("begin");
  const Error d = diagnose(e);
  CHECK(d.id == ErrorId::unsafe);
  CHECK(d.message == e.message);
  CHECK(d.side == Side::source);
  CHECK(d.exit() == Exit::refused);
  CHECK(d.remedy_text().contains("--unsafe"));
  CHECK(diagnose(d).notes.empty());

  Error lost(ErrorId::undecided, "nobody knows; Lost connection to destination host");
  const Error still = diagnose(diagnose(lost));
  CHECK(still.id == ErrorId::undecided);
  REQUIRE(still.notes.size() == 1);
  CHECK(still.notes.front().contains("network.lost"));
}

TEST_CASE("explain: a refusal that the rules had not foreseen is said to be one") {
  Error e(ErrorId::remote, "invalid argument: unsupported flags (0x2000000)");
  e.wire = {8, 10};
  e.in("begin");
  const Error d = diagnose(diagnose(e));
  CHECK(d.id == ErrorId::remote);
  REQUIRE(d.notes.size() == 1);
  CHECK(d.notes.front().contains("not predicted"));
  e.phase.clear();
  CHECK(diagnose(e).notes.empty());
}

#include "core/base/text.hpp"

#include <doctest/doctest.h>

#include <array>

using namespace vmferry;

TEST_CASE("text: what a peer said cannot move the cursor") {
  CHECK(escaped("plain, ünïcode ✓") == "plain, ünïcode ✓");
  CHECK(escaped("a\x1b[2Jb\r\n") == "a\\x1b[2Jb\\x0d\\x0a");
  CHECK(escaped("\xc2\x9b"
                "31m") == "\\xc2\\x9b31m");             // C1 CSI
  CHECK(escaped("\xe2\x80\xae") == "\\xe2\\x80\\xae");  // right-to-left override
  CHECK(escaped("\xff\xfe") == "\\xff\\xfe");           // never UTF-8
  CHECK(escaped("\xc0\xaf") == "\\xc0\\xaf");           // overlong
  CHECK(escaped("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // surrogate
  CHECK(escaped("x\xe2\x82") == "x\\xe2\\x82");         // cut short
  CHECK(escaped(std::string_view("a\0b", 3)) == "a\\x00b");
}

TEST_CASE("text: escaping is bounded and does not cut a character in two") {
  CHECK(escaped("abcdef", 3) == "abc…");
  CHECK(escaped("abcdef", 6) == "abcdef");
  CHECK(escaped("aé", 2) == "a…");
  CHECK(escaped_lines("  one\n\n\ttwo\x07 \n") == "one; two\\x07");
}

TEST_CASE("text: split, trim, numbers") {
  CHECK(split("", ',').size() == 1);
  CHECK(split("a,,b", ',') == std::vector<std::string_view>{"a", "", "b"});
  CHECK(trimmed(" \t x y \n") == "x y");
  CHECK(trimmed(" \n").empty());
  CHECK(parse_number<std::uint16_t>("65535") == 65535);
  CHECK_FALSE(parse_number<std::uint16_t>("65536"));
  CHECK_FALSE(parse_number<unsigned>("-1"));
  CHECK_FALSE(parse_number<int>("1 "));
  CHECK_FALSE(parse_number<int>(""));
  CHECK(parse_number<int>("ff", 16) == 255);
}

TEST_CASE("text: suggestions") {
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("migrate", "migrtae") == 1);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("same", "same") == 0);
  static constexpr std::array<std::string_view, 3> words{"migrate", "list", "dumpxml"};
  CHECK(closest("migarte", words) == "migrate");
  CHECK(closest("dumxml", words) == "dumpxml");
  CHECK_FALSE(closest("frobnicate", words));
}

TEST_CASE("text: one word of a shell") {
  CHECK(shell_quoted("/run/a-b_c.sock") == "/run/a-b_c.sock");
  CHECK(shell_quoted("") == "''");
  CHECK(shell_quoted("a b;$(x)") == "'a b;$(x)'");
  CHECK(shell_quoted("it's") == "'it'\\''s'");
}
